//! Pickles read as plain data: containers, texts and numbers. A pickle can name code that Python would run on loading;
//! here such a name is an error, and nothing is ever run.

mod depth;

use std::collections::HashMap;

use serde_pickle::{DeOptions, HashableValue, Value};

use super::source::File;
use crate::error::DataError;

/// A dictionary from id to captions, each a text or a list of words, which are joined by blanks.
///
/// # Errors
/// A pickle that is broken, holds anything but plain data, nests it without end, or has another form.
pub fn word_lists(file: &File) -> Result<HashMap<String, Vec<String>>, DataError> {
    let wrong = |problem: String| DataError::format(&file.path, problem);
    if !depth::is_shallow(&file.bytes) {
        return Err(wrong("nests containers deeper than captions are, or has one in two places".into()));
    }
    let value: Value = serde_pickle::value_from_slice(&file.bytes, DeOptions::new().decode_strings())
        .map_err(|cause| {
            wrong(format!("is no pickle of plain containers and texts (nothing in it is run): {cause}"))
        })?;
    let Value::Dict(entries) = value else {
        return Err(wrong("holds no dictionary from video to captions".into()));
    };
    let mut captions = HashMap::new();
    for (id, list) in entries {
        let HashableValue::String(id) = id else {
            return Err(wrong(format!("has a key that is no text: {id}")));
        };
        let Value::List(list) = list else {
            return Err(wrong(format!("has no list of captions for {id:?}")));
        };
        let texts = list.into_iter().map(sentence).collect::<Option<Vec<_>>>();
        let texts = texts.ok_or_else(|| wrong(format!("has a caption of {id:?} that is no text")))?;
        captions.insert(id, texts);
    }
    Ok(captions)
}

fn sentence(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::List(words) => {
            let words = words.into_iter().map(|word| match word {
                Value::String(word) => Some(word),
                _ => None,
            });
            words.collect::<Option<Vec<_>>>().map(|words| words.join(" "))
        }
        _ => None,
    }
}
