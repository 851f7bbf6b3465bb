//! `--weights`: where a checkpoint lies, downloads included.

use std::path::PathBuf;
use std::sync::{Arc, mpsc};

use tvr_clip::hub::{Fetched, Hub};

use crate::error::ExperimentError;
use crate::progress::{Event, Events};
use crate::recipe::{EncoderRecipe, Recipe};

/// Files below this many bytes come without a bar.
const SHOWN: u64 = 1 << 20;

/// Downloads the checkpoint of a recipe, where it names one on the hub and nothing of it is there.
///
/// # Errors
/// As [`folder`].
pub fn fetch(recipe: &Recipe, events: Events<'_>) -> Result<(), ExperimentError> {
    match &recipe.encoder {
        EncoderRecipe::Clip { weights, .. } => folder(weights, events).map(drop),
        _ => Ok(()),
    }
}

/// The folder of a checkpoint: `weights` itself, or where a repository of that name on the Hugging Face hub was put.
///
/// # Errors
/// A name that is neither (a wrong request), or a download that failed.
pub fn folder(weights: &str, events: Events<'_>) -> Result<PathBuf, ExperimentError> {
    let (tell, told) = mpsc::channel();
    let name = weights.to_owned();
    let fetch = std::thread::spawn(move || {
        let progress = move |at: &Fetched<'_>| {
            // The reader is gone only where nobody looks any more.
            let _ = tell.send((at.file.to_owned(), at.done, at.total));
        };
        Hub::from_environment().folder(&name, Arc::new(progress))
    });
    let mut current = None;
    for (file, done, total) in told {
        if total < SHOWN {
            continue;
        }
        let kibibytes = |bytes: u64| (bytes / 1024) as usize;
        if current.as_ref() != Some(&file) {
            if current.replace(file.clone()).is_some() {
                events(Event::End);
            }
            events(Event::Begin {
                label: format!("{file}, KiB"),
                total: kibibytes(total),
                done: kibibytes(done),
            });
        }
        events(Event::Item { done: kibibytes(done), word: String::new() });
    }
    if current.is_some() {
        events(Event::End);
    }
    let fetched =
        fetch.join().map_err(|_| ExperimentError::work(format!("{weights}: the download broke off")))?;
    fetched.map_err(|error| ExperimentError::request(error.to_string()))
}
