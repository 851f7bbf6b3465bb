//! Annotation files: found under the names they circulate with, packed or not, and read with errors that name them.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::DataError;
use crate::files;

/// A folder of annotation files.
#[derive(Clone, Debug)]
pub struct Folder {
    path: PathBuf,
}

/// A file that was read.
#[derive(Clone, Debug)]
pub struct File {
    /// Where it lies.
    pub path: PathBuf,
    /// What is in it, unpacked, without the mark that editors put in front of UTF-8.
    pub bytes: Vec<u8>,
}

impl Folder {
    /// A folder.
    ///
    /// # Errors
    /// A path that is no folder.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        if path.is_dir() {
            Ok(Self { path: path.to_path_buf() })
        } else {
            Err(DataError::format(path, "is no folder; name the folder that holds the annotation files"))
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The first of these files that is there, unpacked; `None` if none is.
    ///
    /// # Errors
    /// A file that is there and cannot be read.
    pub fn find(&self, names: &[&str]) -> Result<Option<File>, DataError> {
        for name in names {
            for (name, packed) in [((*name).to_string(), false), (format!("{name}.gz"), true)] {
                let path = self.path.join(name);
                if !path.is_file() {
                    continue;
                }
                let bytes = files::read(&path, packed)?;
                return Ok(Some(File { path, bytes }));
            }
        }
        Ok(None)
    }
}

impl File {
    /// As JSON.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, DataError> {
        serde_json::from_slice(&self.bytes).map_err(|cause| {
            let cut = if cause.is_eof() { "; the file may be cut off" } else { "" };
            DataError::format(&self.path, format!("is not the JSON that was expected: {cause}{cut}"))
        })
    }

    /// As text.
    ///
    /// # Errors
    /// Bytes that are no UTF-8.
    pub fn text(&self) -> Result<&str, DataError> {
        std::str::from_utf8(&self.bytes)
            .map_err(|cause| DataError::format(&self.path, format!("is not UTF-8 text: {cause}")))
    }

    /// One id a line; blank lines are left out.
    ///
    /// # Errors
    /// Bytes that are no UTF-8; an id that stands twice.
    pub fn ids(&self) -> Result<Vec<String>, DataError> {
        let ids = self.text()?.lines().map(str::trim).filter(|line| !line.is_empty());
        self.distinct(ids.map(str::to_string).collect())
    }

    /// The cells of some columns of a comma-separated table with titles, row by row.
    ///
    /// # Errors
    /// A column that is not there; a row that is broken.
    pub fn columns<const N: usize>(&self, names: [&str; N]) -> Result<Vec<[String; N]>, DataError> {
        let broken = |row: usize, cause: csv::Error| {
            DataError::item(&self.path, &format!("row {row}"), cause.to_string())
        };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(self.bytes.as_slice());
        let titles = reader.headers().map_err(|cause| broken(1, cause))?.clone();
        let mut places = [0; N];
        for (place, name) in places.iter_mut().zip(names) {
            *place = titles.iter().position(|title| title.trim() == name).ok_or_else(|| {
                let found: Vec<&str> = titles.iter().collect();
                DataError::format(&self.path, format!("has no column {name:?}, only {found:?}"))
            })?;
        }
        let mut rows = Vec::new();
        for (index, record) in reader.records().enumerate() {
            let record = record.map_err(|cause| broken(index + 2, cause))?;
            let mut cells = std::array::from_fn(|_| String::new());
            for (cell, &place) in cells.iter_mut().zip(&places) {
                *cell = record.get(place).map(str::to_string).ok_or_else(|| {
                    DataError::item(&self.path, &format!("row {}", index + 2), "is too short")
                })?;
            }
            rows.push(cells);
        }
        Ok(rows)
    }

    /// The ids of a table's column `video_id`.
    ///
    /// # Errors
    /// As [`File::columns`]; an id that stands twice.
    pub fn video_ids(&self) -> Result<Vec<String>, DataError> {
        let rows = self.columns(["video_id"])?;
        self.distinct(rows.into_iter().map(|[id]| id.trim().to_string()).collect())
    }

    /// The same ids, if none stands twice.
    ///
    /// # Errors
    /// The first id that stands twice.
    pub fn distinct(&self, ids: Vec<String>) -> Result<Vec<String>, DataError> {
        let mut seen = HashSet::new();
        match ids.iter().find(|id| !seen.insert(id.as_str())) {
            Some(twice) => {
                Err(DataError::item(&self.path, twice, "is listed twice; a split names a video once"))
            }
            None => Ok(ids),
        }
    }
}

/// A paragraph: sentences joined by a blank, each trimmed; empty ones are left out.
pub fn paragraph<'a>(sentences: impl IntoIterator<Item = &'a str>) -> String {
    let sentences = sentences.into_iter().map(str::trim).filter(|sentence| !sentence.is_empty());
    sentences.collect::<Vec<_>>().join(" ")
}
