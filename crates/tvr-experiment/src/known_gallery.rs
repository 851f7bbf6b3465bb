//! What the doctor calls the gallery of a run: read from `gallery.json` beside the data, for the evaluation card.

use std::path::Path;

use tvr_data::doctor::{GalleryFile, PresentGallery};

use crate::recipe::DataRecipe;

/// Ids of a list that are named; of more, the number alone.
const NAMED: usize = 20;

/// What is known of the gallery of these videos; `None` where no doctor has looked at the data.
///
/// A `gallery.json` that is damaged, or of other videos, says nothing of this gallery.
pub fn sentence(data: &DataRecipe, videos: &[String]) -> Option<String> {
    let folder = match data {
        DataRecipe::World { .. } => return None,
        DataRecipe::Features { path } => path.as_path(),
        DataRecipe::Videos { manifest, .. } => manifest.parent().unwrap_or(Path::new("")),
    };
    let file = GalleryFile::read(&folder.join("gallery.json")).ok()?;
    let PresentGallery { listing, listed, known_as, quarantined, .. } = file.find(videos)?;
    let mut text = format!("{} of {listed} videos of {} {listing}: {known_as}", videos.len(), file.benchmark);
    match quarantined.len() {
        0 => {}
        count if count <= NAMED => {
            text.push_str(&format!("; left out by a list: {}", quarantined.join(", ")));
        }
        count => text.push_str(&format!("; {count} left out by a list")),
    }
    Some(text)
}
