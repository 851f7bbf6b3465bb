//! What other networks saw of each video: tensors `experts.NAME` with `experts.NAME.mask`.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use super::{FeatureFile, Place, expect, place, shape};
use crate::error::DataError;

const PREFIX: &str = "experts.";
const MASK: &str = ".mask";

/// One expert of a feature file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpertEntry {
    /// Its name: what follows `experts.`.
    pub name: String,
    /// Steps of a video, padding included.
    pub steps: usize,
    /// Values of a step.
    pub width: usize,
    pub(super) place: Place,
    /// `[videos, steps]`.
    pub(super) mask: Vec<bool>,
}

/// The experts of a file, by name.
///
/// # Errors
/// An expert without a mask, a mask without an expert, a type or a shape.
pub(super) fn read(
    path: &Path,
    map: &memmap2::Mmap,
    tensors: &SafeTensors<'_>,
    videos: usize,
) -> Result<Vec<ExpertEntry>, DataError> {
    let mut names: Vec<&str> = tensors
        .names()
        .into_iter()
        .filter_map(|name| name.strip_prefix(PREFIX))
        .map(|name| name.strip_suffix(MASK).unwrap_or(name))
        .collect();
    names.sort_unstable();
    names.dedup();
    let view = |name: &str| tensors.tensor(name).map_err(|_| DataError::tensor(path, name, "is missing"));
    let mut experts = Vec::with_capacity(names.len());
    for name in names {
        let tensor = format!("{PREFIX}{name}");
        let features = view(&tensor)?;
        let [found, steps, width] = shape::<3>(path, &tensor, features.shape())?;
        if found != videos {
            let problem = format!("has {found} videos, but frames has {videos}");
            return Err(DataError::tensor(path, &tensor, problem));
        }
        let mask_tensor = format!("{tensor}{MASK}");
        let mask = view(&mask_tensor)?;
        expect(path, &mask_tensor, &mask, Dtype::U8, &[videos, steps])?;
        experts.push(ExpertEntry {
            name: name.to_string(),
            steps,
            width,
            place: place(path, map, &tensor, &features, width)?,
            mask: mask.data().iter().map(|&byte| byte != 0).collect(),
        });
    }
    Ok(experts)
}

impl FeatureFile {
    /// The experts, in the order of their names; empty where the file has none.
    pub fn experts(&self) -> &[ExpertEntry] {
        &self.experts
    }

    /// Which steps of a video an expert has seen, `[steps]`; none where it is silent about the video.
    pub fn expert_mask<'a>(&self, expert: &'a ExpertEntry, video: usize) -> &'a [bool] {
        &expert.mask[video * expert.steps..(video + 1) * expert.steps]
    }

    /// What an expert saw of a video, `[steps, width]`; padding is zero.
    ///
    /// # Errors
    /// A value of a real step that is not finite, with the video's name.
    pub fn expert(&self, expert: &ExpertEntry, video: usize) -> Result<Vec<f32>, DataError> {
        let mut values = self.values(expert.place, video * expert.steps, expert.steps);
        for (step, real) in self.expert_mask(expert, video).iter().enumerate() {
            let of_step = &mut values[step * expert.width..(step + 1) * expert.width];
            if !real {
                of_step.fill(0.0);
            } else if !of_step.iter().all(|value| value.is_finite()) {
                let problem = format!(
                    "step {step} of expert {:?} holds a value that is not finite; encode the video again",
                    expert.name
                );
                return Err(DataError::item(&self.path, &self.video_ids[video], problem));
            }
        }
        Ok(values)
    }
}
