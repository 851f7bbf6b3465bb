//! Weights in safetensors files: one, or shards with an index; memory-mapped.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::ClipError;
use crate::loader::{Form, Origin};

/// Files that hold all weights, in the order in which they are looked for.
const FILES: [&str; 3] =
    ["model.safetensors", "open_clip_model.safetensors", "open_clip_pytorch_model.safetensors"];

/// The index of shards.
const INDEX: &str = "model.safetensors.index.json";

/// What stands in an index.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// Mapped weights.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    maps: Vec<Mmap>,
    entries: BTreeMap<String, Entry>,
}

/// Where a tensor lies.
#[derive(Clone, Debug)]
struct Entry {
    map: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
    end: usize,
}

/// What is wrong with a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It is not there.
    Missing,
    /// It is of another shape or type; both are told.
    Wrong(String),
}

impl Weights {
    /// Maps the weights of a folder and reads their headers.
    ///
    /// # Errors
    /// [`ClipError`] names the file that is missing, cut short or damaged.
    pub fn open(folder: &Path) -> Result<Self, ClipError> {
        let single = FILES.map(|name| folder.join(name)).into_iter().find(|path| path.exists());
        if let Some(path) = single {
            let mut weights = Self { path: path.clone(), maps: Vec::new(), entries: BTreeMap::new() };
            weights.map(&path)?;
            return Ok(weights);
        }
        let path = folder.join(INDEX);
        if !path.exists() {
            return Err(ClipError::NoCheckpoint {
                path: folder.into(),
                need: "model.safetensors, shards with model.safetensors.index.json, or open_clip_model.safetensors",
            });
        }
        let index: Index = super::layout::json(&path)?;
        let broken = |reason: String| ClipError::Format { path: path.clone(), reason };
        let mut weights = Self { path: path.clone(), maps: Vec::new(), entries: BTreeMap::new() };
        let mut shards: Vec<&String> = index.weight_map.values().collect();
        shards.sort();
        shards.dedup();
        for shard in shards {
            if Path::new(shard).file_name() != Some(shard.as_ref()) {
                return Err(broken(format!("shard {shard:?} is no plain file name")));
            }
            let file = folder.join(shard);
            if !file.exists() {
                return Err(broken(format!("the shard {shard} is missing; fetch it again")));
            }
            weights.map(&file)?;
        }
        let absent = index.weight_map.keys().find(|name| !weights.entries.contains_key(*name));
        match absent {
            Some(name) => Err(broken(format!("{name} is in none of the shards; fetch them again"))),
            None => Ok(weights),
        }
    }

    /// Adds a file.
    fn map(&mut self, path: &Path) -> Result<(), ClipError> {
        let file = |action| move |source| ClipError::File { path: path.into(), action, source };
        let broken = |reason: String| ClipError::Format { path: path.into(), reason };
        let opened = File::open(path).map_err(file("open"))?;
        if opened.metadata().map_err(file("open"))?.len() == 0 {
            return Err(broken("the file is empty; fetch it again".into()));
        }
        // SAFETY: the file is opened for reading; whoever changes it under a running program changes what is read.
        #[allow(unsafe_code, reason = "a memory map is what keeps a large file out of memory")]
        let map = unsafe { Mmap::map(&opened) }.map_err(file("map"))?;
        let tensors = SafeTensors::deserialize(&map).map_err(|cause| {
            broken(format!(
                "not a whole safetensors file ({cause}); it was cut short or damaged, fetch it again"
            ))
        })?;
        let base = map.as_ptr() as usize;
        for (name, view) in tensors.iter() {
            let start = view.data().as_ptr() as usize - base;
            let entry = Entry {
                map: self.maps.len(),
                dtype: view.dtype(),
                shape: view.shape().to_vec(),
                start,
                end: start + view.data().len(),
            };
            if self.entries.insert(name.to_owned(), entry).is_some() {
                return Err(broken(format!("{name} is in two shards")));
            }
        }
        self.maps.push(map);
        Ok(())
    }

    /// The file, or the index of shards.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(|entry| entry.shape.as_slice())
    }

    /// SHA-256 of all files.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        self.maps.iter().for_each(|map| hash.update(&map[..]));
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What keeps a tensor from being read as a parameter.
    pub(crate) fn problem(&self, origin: &Origin) -> Option<Problem> {
        let Some(entry) = self.entries.get(&origin.name) else { return Some(Problem::Missing) };
        if !matches!(entry.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            let how = format!("{} is {:?}, but it must be F32, F16 or BF16", origin.name, entry.dtype);
            return Some(Problem::Wrong(how));
        }
        let expected = origin.shape_in_file();
        let scalar = origin.form == Form::Scalar && entry.shape == [1];
        if entry.shape == expected || scalar {
            return None;
        }
        let how = format!("{} is {:?}, but the config asks for {expected:?}", origin.name, entry.shape);
        Some(Problem::Wrong(how))
    }

    /// The values of a parameter, in the parameter's own order.
    ///
    /// # Errors
    /// [`ClipError::Format`] names a tensor that is missing or holds a value that is not finite.
    pub(crate) fn read(&self, origin: &Origin) -> Result<Vec<f32>, ClipError> {
        let broken = |reason: String| ClipError::Format { path: self.path.clone(), reason };
        let Some(entry) = self.entries.get(&origin.name) else {
            return Err(broken(format!("{} is missing", origin.name)));
        };
        let mut bytes = &self.maps[entry.map][entry.start..entry.end];
        if let Some(third) = origin.third {
            let length = bytes.len() / 3;
            bytes = &bytes[third * length..(third + 1) * length];
        }
        let values = decode(entry.dtype, bytes);
        if let Some(place) = values.iter().position(|value| !value.is_finite()) {
            return Err(broken(format!("{}: value {place} is {}", origin.name, values[place])));
        }
        Ok(match (origin.form, origin.shape.as_slice()) {
            (Form::Linear | Form::Patches, &[rows, columns]) => transposed(&values, columns, rows),
            _ => values,
        })
    }
}

impl Origin {
    /// The shape that the tensor has in the file.
    pub(crate) fn shape_in_file(&self) -> Vec<usize> {
        let mut shape = match (self.form, self.shape.as_slice()) {
            (Form::Scalar, _) => Vec::new(),
            (Form::Linear, &[rows, columns]) => vec![columns, rows],
            (Form::Patches, &[values, width]) => {
                let side = (values / crate::image_tower::CHANNELS).isqrt();
                vec![width, crate::image_tower::CHANNELS, side, side]
            }
            (_, shape) => shape.to_vec(),
        };
        if self.third.is_some()
            && let Some(first) = shape.first_mut()
        {
            *first *= 3;
        }
        shape
    }
}

/// Little-endian values as f32; a type that [`Weights::problem`] refuses gives none.
fn decode(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let pair = |b: &[u8]| [b[0], b[1]];
    match dtype {
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes(pair(b)).to_f32()).collect(),
        Dtype::BF16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes(pair(b)).to_f32()).collect(),
        _ => Vec::new(),
    }
}

/// `[rows, columns]` to `[columns, rows]`, tile by tile, so that neither side runs through memory in long strides.
pub(crate) fn transposed(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    const TILE: usize = 32;
    let mut turned = vec![0.0; values.len()];
    for row in (0..rows).step_by(TILE) {
        for column in (0..columns).step_by(TILE) {
            for i in row..(row + TILE).min(rows) {
                for j in column..(column + TILE).min(columns) {
                    turned[j * rows + i] = values[i * columns + j];
                }
            }
        }
    }
    turned
}
