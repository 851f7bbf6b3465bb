//! The reference's tensors, texts and pictures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn::prelude::*;
use safetensors::{Dtype, SafeTensors};
use tvr_picture::Picture;

use crate::{ClipError, TextConfig};

/// A golden folder, see [`parity`](crate::parity).
#[derive(Debug)]
pub struct Golden {
    folder: PathBuf,
    path: PathBuf,
    bytes: Vec<u8>,
    made_by: BTreeMap<String, String>,
}

impl Golden {
    /// Opens a folder with `expected.safetensors`.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged.
    pub fn open(folder: &Path) -> Result<Self, ClipError> {
        let path = folder.join("expected.safetensors");
        let bytes = std::fs::read(&path).map_err(|source| ClipError::File {
            path: path.clone(),
            action: "read",
            source,
        })?;
        let broken = |cause: safetensors::SafeTensorError| ClipError::Format {
            path: path.clone(),
            reason: format!("not a whole safetensors file: {cause}"),
        };
        SafeTensors::deserialize(&bytes).map_err(broken)?;
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
        let made_by = header.metadata().clone().unwrap_or_default().into_iter().collect();
        Ok(Self { folder: folder.to_owned(), path, bytes, made_by })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Programs and versions that made the tensors.
    pub fn made_by(&self) -> &BTreeMap<String, String> {
        &self.made_by
    }

    /// Whether a tensor is there.
    pub fn has(&self, name: &str) -> bool {
        self.read(name).is_ok()
    }

    /// A float tensor of rank `D`: at least one row, each of the shape `row`.
    ///
    /// # Errors
    /// [`ClipError::Format`] if it is missing, of another type or shape.
    pub fn rows<const D: usize>(
        &self,
        name: &str,
        row: &[usize],
        device: &Device,
    ) -> Result<Tensor<D>, ClipError> {
        let (_, shape, _) = self.read(name)?;
        match shape.split_first() {
            Some((1.., rest)) if rest == row => {
                Ok(Tensor::from_data(TensorData::new(self.floats(name)?, shape), device))
            }
            _ => Err(self.wrong(format!(
                "{name} has the shape {shape:?}, but it must be at least one row of {row:?}"
            ))),
        }
    }

    /// Which tokens of [`ids`](Self::ids) are real, `[texts, tokens]`.
    ///
    /// # Errors
    /// As [`rows`](Self::rows), or another shape than that of the ids.
    pub(crate) fn real(&self) -> Result<Vec<i64>, ClipError> {
        let [(_, ids, _), (_, shape, _)] = [self.read("input_ids")?, self.read("attention_mask")?];
        if ids != shape {
            return Err(self.wrong(format!(
                "attention_mask has the shape {shape:?}, but input_ids has {ids:?}; both must be alike"
            )));
        }
        self.integers("attention_mask")
    }

    /// The ids of the texts, `[texts, tokens]`.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn ids(&self, device: &Device) -> Result<Tensor<2, Int>, ClipError> {
        let (_, shape, _) = self.read("input_ids")?;
        if shape.len() != 2 {
            return Err(self.wrong(format!("input_ids has the shape {shape:?}, but it must be of rank 2")));
        }
        Ok(Tensor::from_data(TensorData::new(self.integers("input_ids")?, shape), device))
    }

    /// Refuses ids of places or tokens that a text tower has no row for.
    pub(crate) fn check_ids(&self, tower: &TextConfig) -> Result<(), ClipError> {
        let &TextConfig { context, vocabulary, .. } = tower;
        let (_, shape, _) = self.read("input_ids")?;
        let mend = "name the golden folder of this checkpoint";
        if shape.last().is_some_and(|&tokens| tokens > context) {
            return Err(self.wrong(format!(
                "input_ids has the shape {shape:?}, but the checkpoint takes {context} tokens; {mend}"
            )));
        }
        let known = |id: &i64| usize::try_from(*id).is_ok_and(|id| id < vocabulary);
        match self.integers("input_ids")?.iter().find(|id| !known(id)) {
            Some(id) => Err(self.wrong(format!(
                "input_ids has the id {id}, but the checkpoint knows {vocabulary} tokens; {mend}"
            ))),
            None => Ok(()),
        }
    }

    /// Values of an f32 tensor.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn floats(&self, name: &str) -> Result<Vec<f32>, ClipError> {
        let bytes = self.typed(name, Dtype::F32)?;
        Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    }

    /// Values of an i64 tensor.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn integers(&self, name: &str) -> Result<Vec<i64>, ClipError> {
        let bytes = self.typed(name, Dtype::I64)?;
        let number = |b: &[u8]| {
            let mut number = [0; 8];
            number.copy_from_slice(b);
            i64::from_le_bytes(number)
        };
        Ok(bytes.chunks_exact(8).map(number).collect())
    }

    /// Values of a u8 tensor.
    ///
    /// # Errors
    /// As [`rows`](Self::rows).
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>, ClipError> {
        Ok(self.typed(name, Dtype::U8)?.to_vec())
    }

    /// The texts, one for each row of `input_ids`.
    ///
    /// # Errors
    /// [`ClipError::File`]; [`ClipError::Format`] for another number of texts.
    pub fn texts(&self) -> Result<Vec<String>, ClipError> {
        let path = self.folder.join("texts.txt");
        let text = std::fs::read_to_string(&path).map_err(|source| ClipError::File {
            path,
            action: "read",
            source,
        })?;
        // Not `lines()`: a carriage return belongs to its text.
        let texts: Vec<String> =
            text.split('\n').filter(|line| !line.is_empty()).map(str::to_owned).collect();
        let (_, shape, _) = self.read("input_ids")?;
        if shape.first() != Some(&texts.len()) {
            let found = texts.len();
            return Err(
                self.wrong(format!("input_ids has the shape {shape:?}, but texts.txt has {found} texts"))
            );
        }
        Ok(texts)
    }

    /// The pictures of a folder inside, in the order of their names.
    ///
    /// # Errors
    /// A folder or a picture that cannot be read, or a folder without one.
    pub fn pictures(&self, inside: &str) -> Result<Vec<Picture>, ClipError> {
        let folder = self.folder.join(inside);
        let failed = |source| ClipError::File { path: folder.clone(), action: "read", source };
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(failed)? {
            paths.push(entry.map_err(failed)?.path());
        }
        if paths.is_empty() {
            let reason = format!("the folder {inside} holds no picture; scripts/reference/clip.py fills it");
            return Err(self.wrong(reason));
        }
        paths.sort();
        paths.iter().map(|path| Ok(Picture::read(path)?)).collect()
    }

    /// Names of all tensors, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let file = SafeTensors::deserialize(&self.bytes);
        let mut names: Vec<String> =
            file.map(|file| file.names().into_iter().map(str::to_owned).collect()).unwrap_or_default();
        names.sort_unstable();
        names
    }

    /// The crops of a u8 tensor, `[images, 3, side, side]`.
    pub(crate) fn crops(&self, name: &str) -> Result<Vec<Picture>, ClipError> {
        let (_, shape, _) = self.read(name)?;
        let &[_, 3, height, width] = shape.as_slice() else {
            return Err(
                self.wrong(format!("{name} has the shape {shape:?}, but it must be [images, 3, side, side]"))
            );
        };
        let count = height * width;
        let bytes = self.bytes(name)?;
        let crops = bytes.chunks_exact((3 * count).max(1)).map(|bands| {
            let pixels = (0..count).flat_map(|place| [0, 1, 2].map(|band| bands[band * count + place]));
            Ok(Picture::from_rgb(width, height, pixels.collect())?)
        });
        crops.collect()
    }

    fn typed(&self, name: &str, expected: Dtype) -> Result<&[u8], ClipError> {
        let (dtype, _, bytes) = self.read(name)?;
        if dtype != expected {
            return Err(self.wrong(format!("{name} is {dtype:?}, but it must be {expected:?}")));
        }
        Ok(bytes)
    }

    fn read(&self, name: &str) -> Result<(Dtype, Vec<usize>, &[u8]), ClipError> {
        let missing = || self.wrong(format!("{name} is missing; scripts/reference/clip.py makes it"));
        let file = SafeTensors::deserialize(&self.bytes).map_err(|_| missing())?;
        let view = file.tensor(name).map_err(|_| missing())?;
        Ok((view.dtype(), view.shape().to_vec(), view.data()))
    }

    fn wrong(&self, reason: String) -> ClipError {
        ClipError::Format { path: self.path.clone(), reason }
    }
}

/// The largest difference; infinite where the counts differ or a value is not a number.
pub(crate) fn largest(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let difference = |(a, b): (&f32, &f32)| {
        let difference = (f64::from(*a) - f64::from(*b)).abs();
        if difference.is_nan() { f64::INFINITY } else { difference }
    };
    found.iter().zip(expected).map(difference).fold(0.0, f64::max)
}
