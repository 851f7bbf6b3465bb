//! One's own videos: a table with a row for each video, or for each caption.
//!
//! | column | JSON lines, Parquet | CSV, TSV | if absent |
//! |---|---|---|---|
//! | `path` | text: a video, an image, or a folder of frames; relative to the table's folder | same | an error |
//! | `id` | text | same | the path as it is written |
//! | `captions` | a list of texts | a JSON list | no caption |
//! | `caption` | one text | same | no caption |
//! | `split` | text, such as `train`, `val`, `test` | same | in no split |
//!
//! Other columns are not read. Rows of one id are one video; their captions are those of all rows, in order. The
//! ending says the form: `.jsonl`, `.csv`, `.tsv`, each also with `.gz`, or `.parquet`, not compressed or with snappy.

use std::collections::HashMap;
use std::fs::File;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use parquet::basic::CompressionCodec;
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde::Deserialize;

use crate::error::DataError;
use crate::files;

/// A video of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, not empty and no other video's. It may hold anything else, and names no file.
    pub id: String,
    /// Where its pictures are.
    pub path: PathBuf,
    /// What is said of it, none of it blank.
    pub captions: Vec<String>,
    /// The split it is in.
    pub split: Option<String>,
}

/// A table of one's own videos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// Its file.
    pub path: PathBuf,
    /// The videos, in the order of their first rows.
    pub entries: Vec<Entry>,
    /// Captions that are blank, and so left out; each with the id of its video.
    pub blank: Vec<String>,
}

/// A row of any form.
#[derive(Debug, Default, Deserialize)]
#[serde(expecting = "an object with path, id, captions and split")]
struct Raw {
    id: Option<String>,
    path: Option<String>,
    captions: Option<Vec<String>>,
    caption: Option<String>,
    split: Option<String>,
}

impl Manifest {
    /// Reads a table.
    ///
    /// # Errors
    /// The table, the row, and what is wrong in it. A video that is not there is no error here.
    pub fn read(path: &Path) -> Result<Self, DataError> {
        let name = path.to_string_lossy().to_lowercase();
        let (plain, packed) = name.strip_suffix(".gz").map_or((name.as_str(), false), |plain| (plain, true));
        let text = || text(path, packed);
        let rows = match plain.rsplit_once('.').map(|(_, ending)| ending) {
            Some("jsonl" | "ndjson") => json_lines(path, &text()?)?,
            Some("csv") => table(path, b',', &text()?)?,
            Some("tsv") => table(path, b'\t', &text()?)?,
            Some("parquet") if !packed => parquet(path)?,
            _ => {
                let reason = "ends in none of .jsonl, .csv, .tsv (each also with .gz) and .parquet";
                return Err(DataError::format(path, reason));
            }
        };
        Self::from_rows(path, rows)
    }

    fn from_rows(path: &Path, rows: Vec<(usize, Raw)>) -> Result<Self, DataError> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut entries: Vec<Entry> = Vec::new();
        let mut blank = Vec::new();
        let mut places: HashMap<String, usize> = HashMap::new();
        for (number, raw) in rows {
            let wrong = |problem: String| DataError::item(path, &format!("row {number}"), problem);
            let written = raw.path.filter(|path| !path.trim().is_empty());
            let written = written.ok_or_else(|| wrong("has no path".into()))?;
            let id = raw.id.unwrap_or_else(|| written.clone());
            if id.trim().is_empty() {
                return Err(wrong("has an empty id".into()));
            }
            let split = raw.split.filter(|split| !split.trim().is_empty());
            let place = match places.get(&id) {
                Some(&place) => {
                    if entries[place].path != folder.join(&written) {
                        let known = entries[place].path.display().to_string();
                        return Err(wrong(format!("gives {id:?} another path than {known:?}")));
                    }
                    if split.is_some() && entries[place].split != split {
                        return Err(wrong(format!("gives {id:?} another split")));
                    }
                    place
                }
                None => {
                    places.insert(id.clone(), entries.len());
                    entries.push(Entry { id, path: folder.join(&written), captions: Vec::new(), split });
                    entries.len() - 1
                }
            };
            for caption in raw.captions.into_iter().flatten().chain(raw.caption) {
                if caption.trim().is_empty() {
                    blank.push(entries[place].id.clone());
                } else {
                    entries[place].captions.push(caption);
                }
            }
        }
        if entries.is_empty() {
            return Err(DataError::format(path, "has no row"));
        }
        Ok(Self { path: path.to_path_buf(), entries, blank })
    }

    /// Writes videos as JSON lines, which [`Manifest::read`] reads; whole or not at all. Paths are written as they are.
    ///
    /// # Errors
    /// A path that is no text; a file that cannot be written.
    pub fn write(path: &Path, entries: &[Entry]) -> Result<(), DataError> {
        let mut text = String::new();
        for entry in entries {
            let file = entry.path.to_str().ok_or_else(|| {
                DataError::item(
                    path,
                    &entry.id,
                    "has a path that is no UTF-8; rename it, a table cannot hold it",
                )
            })?;
            let Entry { id, captions, split, .. } = entry;
            let line = serde_json::json!({ "id": id, "path": file, "split": split, "captions": captions });
            text.push_str(&format!("{line}\n"));
        }
        files::write_whole(path, text.as_bytes())
    }

    /// Captions of all videos.
    pub fn captions(&self) -> usize {
        self.entries.iter().map(|entry| entry.captions.len()).sum()
    }
}

fn text(path: &Path, packed: bool) -> Result<String, DataError> {
    let bytes = files::read(path, packed)?;
    String::from_utf8(bytes).map_err(|cause| {
        let sound = &cause.as_bytes()[..cause.utf8_error().valid_up_to()];
        let line = 1 + sound.iter().filter(|&&byte| byte == b'\n').count();
        DataError::item(path, &format!("line {line}"), "is not UTF-8; save the table as UTF-8")
    })
}

fn json_lines(path: &Path, text: &str) -> Result<Vec<(usize, Raw)>, DataError> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(index, line)| {
            let raw = serde_json::from_str(line).map_err(|cause| {
                let cut = if cause.is_eof() { "; the file may be cut off" } else { "" };
                DataError::item(path, &format!("row {}", index + 1), format!("is no such JSON: {cause}{cut}"))
            })?;
            Ok((index + 1, raw))
        })
        .collect()
}

fn table(path: &Path, delimiter: u8, text: &str) -> Result<Vec<(usize, Raw)>, DataError> {
    let wrong = |row: usize, problem: String| DataError::item(path, &format!("row {row}"), problem);
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).from_reader(text.as_bytes());
    let names = reader.headers().map_err(|cause| wrong(1, cause.to_string()))?.clone();
    let column = |name: &str| names.iter().position(|known| known.trim() == name);
    let (id, written, caption, captions, split) =
        (column("id"), column("path"), column("caption"), column("captions"), column("split"));
    if written.is_none() {
        let found: Vec<&str> = names.iter().collect();
        return Err(DataError::format(path, format!("has no column \"path\", only {found:?}")));
    }
    let (mut rows, mut breaks) = (Vec::new(), false);
    for (index, record) in reader.records().enumerate() {
        let number = index + 2; // the titles are row 1
        let record = record.map_err(|cause| wrong(number, cause.to_string()))?;
        breaks = record.iter().any(|cell| cell.contains('\n'));
        let cell = |column: Option<usize>| column.and_then(|column| record.get(column)).map(str::to_owned);
        let listed = cell(captions).filter(|list| !list.trim().is_empty());
        let listed: Option<Vec<String>> = listed
            .map(|list| {
                let why = |cause| {
                    format!("captions are no JSON list: {cause}; name the column \"caption\" for one a row")
                };
                serde_json::from_str(&list).map_err(|cause| wrong(number, why(cause)))
            })
            .transpose()?;
        let (id, path, caption, split) = (cell(id), cell(written), cell(caption), cell(split));
        rows.push((number, Raw { id, path, captions: listed, caption, split }));
    }
    // A quote that is opened and never closed has swallowed all rows behind it.
    match rows.last() {
        Some((number, _)) if breaks && !text.matches('"').count().is_multiple_of(2) => {
            let problem = "opens a quote that nothing closes; within quotes, a quote is written twice";
            Err(wrong(*number, problem.into()))
        }
        _ => Ok(rows),
    }
}

/// Compressions of Parquet that this build reads; each other one is a feature of the library that is left out.
const READ: [CompressionCodec; 2] = [CompressionCodec::UNCOMPRESSED, CompressionCodec::SNAPPY];

fn parquet(path: &Path) -> Result<Vec<(usize, Raw)>, DataError> {
    let file = File::open(path).map_err(DataError::file(path, "open"))?;
    // The library asserts what a damaged file breaks; that is a bad file here, and no end of the program.
    let read = std::panic::catch_unwind(AssertUnwindSafe(|| parquet_rows(path, file)));
    match read {
        Ok(rows) => rows,
        Err(_) => Err(DataError::format(path, "cannot be read as Parquet: the file is damaged")),
    }
}

fn parquet_rows(path: &Path, file: File) -> Result<Vec<(usize, Raw)>, DataError> {
    let broken = |cause: parquet::errors::ParquetError| {
        DataError::format(path, format!("cannot be read as Parquet: {cause}"))
    };
    let reader = SerializedFileReader::new(file).map_err(broken)?;
    let groups = reader.metadata().row_groups();
    let columns: Vec<&ColumnChunkMetaData> = groups.iter().flat_map(|group| group.columns()).collect();
    let placed = |column: &ColumnChunkMetaData| {
        column.compressed_size() >= 0
            && column.data_page_offset() >= 0
            && column.dictionary_page_offset().is_none_or(|offset| offset >= 0)
    };
    if !columns.iter().copied().all(placed) {
        return Err(DataError::format(path, "cannot be read as Parquet: a column lies outside of the file"));
    }
    let unread = |codec: &CompressionCodec| !READ.contains(codec);
    if let Some(codec) = columns.iter().map(|column| column.compression_codec()).find(unread) {
        let codec = codec.to_string().to_lowercase();
        return Err(DataError::format(
            path,
            format!(
                "its columns are compressed with {codec}, which this build cannot read; write it with compression snappy or none"
            ),
        ));
    }
    let rows = reader.get_row_iter(None).map_err(broken)?;
    rows.enumerate()
        .map(|(index, row)| Ok((index + 1, raw(path, index + 1, &row.map_err(broken)?)?)))
        .collect()
}

/// A row of a Parquet file.
fn raw(path: &Path, number: usize, row: &Row) -> Result<Raw, DataError> {
    let mut raw = Raw::default();
    for (name, field) in row.get_column_iter() {
        let wrong = |form: &str| {
            DataError::item(path, &format!("row {number}"), format!("has a {name} that is no {form}"))
        };
        let one = || match field {
            Field::Null => Ok(None),
            Field::Str(text) => Ok(Some(text.clone())),
            _ => Err(wrong("text")),
        };
        match name.as_str() {
            "id" => raw.id = one()?,
            "path" => raw.path = one()?,
            "caption" => raw.caption = one()?,
            "split" => raw.split = one()?,
            "captions" => {
                raw.captions = match field {
                    Field::Null => None,
                    Field::ListInternal(list) => {
                        let texts = list.elements().iter().map(|element| match element {
                            Field::Str(text) => Ok(text.clone()),
                            _ => Err(wrong("list of texts")),
                        });
                        Some(texts.collect::<Result<_, _>>()?)
                    }
                    _ => return Err(wrong("list of texts")),
                }
            }
            _ => {}
        }
    }
    Ok(raw)
}
