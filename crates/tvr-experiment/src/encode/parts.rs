//! The unfinished output: a folder beside it, with a file for each part that is done.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::Settings;
use crate::error::ExperimentError;
use crate::files;

/// Codes of a run of items.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub names: Names,
    /// Rows of each item: frames of a video, or their patches; 1 for a text.
    pub counts: Vec<usize>,
    /// `[Σ counts, width]`.
    pub rows: Vec<f32>,
    /// Tokens of each text; nothing if they were not asked for.
    pub token_counts: Vec<usize>,
    /// `[Σ token_counts, width]`.
    pub token_rows: Vec<f32>,
    pub width: usize,
}

impl Part {
    /// The same with a row for each patch, where a row is those of a frame.
    pub fn in_patches(self, patches: Option<usize>) -> Self {
        let Some(patches) = patches else { return self };
        let counts = self.counts.iter().map(|frames| frames * patches).collect();
        Self { counts, width: self.width / patches, ..self }
    }
}

/// What is known of a part's items beside their codes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Names {
    pub ids: Vec<String>,
    /// The video of each text, where the file of texts says it.
    pub videos: Vec<String>,
    /// What was left out, each with its reason.
    pub skipped: Vec<String>,
    /// Whether the first item, if it is of the same id, is the rest of the last one of the part before.
    #[serde(default)]
    pub goes_on: bool,
}

/// Two kinds of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Frames,
    Text,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Frames => "frames",
            Self::Text => "text",
        }
    }
}

/// The folder of finished parts.
#[derive(Debug)]
pub(super) struct Parts {
    folder: PathBuf,
}

impl Parts {
    /// A new folder, or that of an unfinished run with the same settings. What is bad may be left out from the place
    /// on where the run ended: up to there nothing was.
    pub fn open(out: &Path, settings: &Settings, resume: bool) -> Result<Self, ExperimentError> {
        let mut name = out.file_name().unwrap_or_default().to_os_string();
        name.push(".parts");
        let folder = out.with_file_name(name);
        let path = folder.join("settings.json");
        if path.is_file() {
            if !resume {
                return Err(ExperimentError::request(format!(
                    "{}: an unfinished run is there; go on with --resume, or delete the folder",
                    folder.display()
                )));
            }
            let found: Settings = serde_json::from_slice(&files::read(&path)?)
                .map_err(|cause| ExperimentError::work(format!("{}: {cause}", path.display())))?;
            let eased = Settings { skip_bad: found.skip_bad || settings.skip_bad, ..found };
            if eased != *settings {
                return Err(ExperimentError::request(format!(
                    "{}: the unfinished run has other {}; give its arguments again, or delete the folder",
                    folder.display(),
                    difference(&eased, settings)
                )));
            }
        } else {
            // Whose parts these are nothing says: their run was killed while it removed its folder.
            Self { folder: folder.clone() }.empty()?;
        }
        files::write_json(&path, settings)?;
        Ok(Self { folder })
    }

    /// Removes all parts.
    pub fn empty(&self) -> Result<(), ExperimentError> {
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let of_a_kind = [Kind::Frames, Kind::Text].iter().any(|kind| name.starts_with(kind.name()));
            if of_a_kind && name.ends_with(".safetensors") {
                let path = entry.path();
                std::fs::remove_file(&path).map_err(ExperimentError::file(&path, "remove"))?;
            }
        }
        Ok(())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn path(&self, kind: Kind, number: usize) -> PathBuf {
        self.folder.join(format!("{}-{number:06}.safetensors", kind.name()))
    }

    /// Whether a part is done.
    pub fn has(&self, kind: Kind, number: usize) -> bool {
        self.path(kind, number).is_file()
    }

    /// Writes a part, whole or not at all.
    pub fn write(&self, kind: Kind, number: usize, part: &Part) -> Result<(), ExperimentError> {
        let path = self.path(kind, number);
        let broken = |cause: &dyn std::fmt::Display| {
            ExperimentError::work(format!("{}: cannot be written: {cause}", path.display()))
        };
        let names = serde_json::to_string(&part.names).map_err(|cause| broken(&cause))?;
        let whole = |counts: &[usize]| -> Vec<u8> {
            counts.iter().flat_map(|&count| (count as i64).to_le_bytes()).collect()
        };
        let float = |rows: &[f32]| -> Vec<u8> { rows.iter().flat_map(|value| value.to_le_bytes()).collect() };
        let bytes = [
            ("counts", Dtype::I64, vec![part.counts.len()], whole(&part.counts)),
            ("rows", Dtype::F32, vec![part.rows.len() / part.width.max(1), part.width], float(&part.rows)),
            ("token_counts", Dtype::I64, vec![part.token_counts.len()], whole(&part.token_counts)),
            (
                "token_rows",
                Dtype::F32,
                vec![part.token_rows.len() / part.width.max(1), part.width],
                float(&part.token_rows),
            ),
        ];
        let views = bytes
            .iter()
            .map(|(name, dtype, shape, bytes)| Ok((*name, TensorView::new(*dtype, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|cause| broken(&cause))?;
        let metadata = HashMap::from([("names".to_owned(), names)]);
        let file = safetensors::serialize(views, Some(metadata)).map_err(|cause| broken(&cause))?;
        files::write_whole(&path, &file)
    }

    /// Reads a part back.
    pub fn read(&self, kind: Kind, number: usize) -> Result<Part, ExperimentError> {
        let path = self.path(kind, number);
        let file = files::read(&path)?;
        parse(&file).ok_or_else(|| {
            ExperimentError::work(format!(
                "{}: is no whole part; delete it and go on with --resume",
                path.display()
            ))
        })
    }

    /// Numbers of parts that are there, from 0 without a hole.
    pub fn count(&self, kind: Kind) -> usize {
        (0..).take_while(|&number| self.has(kind, number)).count()
    }

    /// Removes the folder.
    pub fn remove(self) -> Result<(), ExperimentError> {
        std::fs::remove_dir_all(&self.folder).map_err(ExperimentError::file(&self.folder, "remove"))
    }
}

fn parse(file: &[u8]) -> Option<Part> {
    let (_, header) = SafeTensors::read_metadata(file).ok()?;
    let names = serde_json::from_str(header.metadata().as_ref()?.get("names")?).ok()?;
    let tensors = SafeTensors::deserialize(file).ok()?;
    let whole = |name: &str| -> Option<Vec<usize>> {
        let tensor = tensors.tensor(name).ok()?;
        tensor
            .data()
            .chunks_exact(8)
            .map(|b| usize::try_from(i64::from_le_bytes(b.try_into().ok()?)).ok())
            .collect()
    };
    let float = |name: &str| -> Option<Vec<f32>> {
        let tensor = tensors.tensor(name).ok()?;
        Some(tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
    };
    Some(Part {
        names,
        counts: whole("counts")?,
        rows: float("rows")?,
        token_counts: whole("token_counts")?,
        token_rows: float("token_rows")?,
        width: *tensors.tensor("rows").ok()?.shape().last()?,
    })
}

/// The first setting that differs, by its name.
fn difference(found: &Settings, wanted: &Settings) -> &'static str {
    [
        (found.encoder != wanted.encoder, "weights"),
        (found.wiring != wanted.wiring, "config or tokenizer"),
        (found.pixels != wanted.pixels, "pixels"),
        (found.precision != wanted.precision, "--dtype"),
        (found.tokens != wanted.tokens, "--tokens"),
        (found.patches != wanted.patches, "--patches"),
        (found.skip_bad != wanted.skip_bad, "--skip-bad"),
        (found.shard != wanted.shard, "--shard"),
        (found.collection != wanted.collection, "pictures or texts"),
        (found.pictures != wanted.pictures, "pictures"),
        (found.texts != wanted.texts, "texts"),
    ]
    .into_iter()
    .find_map(|(differs, name)| differs.then_some(name))
    .unwrap_or("settings")
}
