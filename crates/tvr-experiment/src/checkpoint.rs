//! Checkpoints: a folder that appears whole or not at all.
//!
//! `checkpoints/step-000120/` holds `model.bpk`, `optimizer.bpk` and `state.json` with the step, the recipe's hash,
//! the selection so far and the SHA-256 of both files and of the selected weights, `best-000120.bpk`. Loader position and
//! random numbers are functions of the step, so they need no file. A damaged checkpoint is passed over for the one before
//! it, with a word, and removed when the next one is written. One whose selected weights are lost or changed is damaged too; but
//! where it is the best that is left, the run stops before its first step, since its own weights are whole.

use std::path::{Path, PathBuf};

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{ModuleOptimizer, OptimizerRecord};
use burn::prelude::*;
use burn::store::ModuleRecord;
use burn::tensor::Bytes;
use safetensors::Dtype;
use serde::{Deserialize, Serialize};

use crate::error::ExperimentError;
use crate::files::{self, FileTensor};

/// What a checkpoint says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// `tvr-checkpoint/1`.
    pub schema: String,
    /// Steps done.
    pub step: usize,
    /// The recipe's hash.
    pub recipe: String,
    /// The run's seed.
    pub seed: u64,
    /// Hash of the features that it learns from and chooses on; `None` for other data, and where an earlier version wrote it.
    #[serde(default)]
    pub features_sha256: Option<String>,
    /// The best look at val so far: step and score.
    pub best: Option<(usize, f64)>,
    /// SHA-256 of its weights; `None` before the first look, and where an earlier version wrote the checkpoint.
    #[serde(default)]
    pub best_sha256: Option<String>,
    /// Who took its steps, each once: devices as they were named; none where an earlier version wrote the checkpoint.
    #[serde(default)]
    pub devices: Vec<String>,
    /// Parameters with optimiser state.
    pub optimized: usize,
    /// SHA-256 of `model.bpk`.
    pub model_sha256: String,
    /// SHA-256 of `optimizer.bpk`.
    pub optimizer_sha256: String,
}

/// The checkpoints of one run.
#[derive(Clone, Debug)]
pub struct Checkpoints {
    folder: PathBuf,
}

/// How many step checkpoints stay: the newest, and one to fall back to.
const KEPT: usize = 2;

impl Checkpoints {
    /// The checkpoints of the run in `run`, to be read: whoever trains it may be at work.
    pub fn of(run: &Path) -> Self {
        Self { folder: run.join("checkpoints") }
    }

    /// The checkpoints of the run in `run`, to be written by whoever holds its lock; removes what a killed writer left.
    ///
    /// # Errors
    /// A folder that cannot be made or read.
    pub fn open(run: &Path) -> Result<Self, ExperimentError> {
        let Self { folder } = Self::of(run);
        std::fs::create_dir_all(&folder).map_err(ExperimentError::file(&folder, "create the folder"))?;
        for entry in std::fs::read_dir(&folder).map_err(ExperimentError::file(&folder, "list"))?.flatten() {
            if entry.file_name().to_string_lossy().ends_with(".tmp") {
                // A step's checkpoint is a folder, the selected weights are a file.
                let path = entry.path();
                let _ =
                    if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
            }
        }
        Ok(Self { folder })
    }

    /// Writes a checkpoint: a fresh folder, every file synced, one rename.
    ///
    /// # Errors
    /// The file and the system's word; a half-written folder is removed.
    pub fn save<M: Module>(
        &self,
        model: &M,
        optimizer: &ModuleOptimizer,
        mut state: State,
    ) -> Result<(), ExperimentError> {
        files::write_folder(&self.folder.join(format!("step-{:06}", state.step)), |fresh| {
            // One after the other: packed, either is as large as what it holds.
            let write = |name: &str, bytes: Bytes| {
                files::write_whole(&fresh.join(name), &bytes).map(|()| files::sha256(&bytes))
            };
            let model = packed(model.clone().into_record().into_bytes(), fresh)?;
            state.model_sha256 = write("model.bpk", model)?;
            let record = optimizer.to_record();
            state.optimized = record.len();
            state.optimizer_sha256 = write("optimizer.bpk", packed(record.into_bytes(), fresh)?)?;
            files::write_json(&fresh.join("state.json"), &state)
        })?;
        // A later step's was passed over when this run began: in a place of the kept it would push out what is whole.
        let (later, so_far): (Vec<_>, Vec<_>) =
            self.steps()?.into_iter().partition(|(step, _)| *step > state.step);
        for (_, old) in later.into_iter().chain(so_far.into_iter().skip(KEPT)) {
            let _ = std::fs::remove_dir_all(old);
        }
        Ok(())
    }

    /// Writes the weights selected at `step`, `best-000120.bpk`, and removes those that no checkpoint names. Gives
    /// their SHA-256.
    ///
    /// # Errors
    /// The file and the system's word.
    pub fn save_best<M: Module>(&self, model: &M, step: usize) -> Result<String, ExperimentError> {
        let path = self.best_path(step);
        let bytes = packed(model.clone().into_record().into_bytes(), &path)?;
        files::write_whole(&path, &bytes)?;
        for entry in
            std::fs::read_dir(&self.folder).map_err(ExperimentError::file(&self.folder, "list"))?.flatten()
        {
            let name = entry.file_name().to_string_lossy().to_string();
            let older = name
                .strip_prefix("best-")
                .and_then(|rest| rest.strip_suffix(".bpk"))
                .and_then(|n| n.parse().ok());
            // The one before stays until the next checkpoint knows the new one: a kill between the two must not
            // leave a checkpoint that names a file that is gone.
            if older.is_some_and(|older: usize| older != step && !self.referred(older)) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
        Ok(files::sha256(&bytes))
    }

    fn referred(&self, step: usize) -> bool {
        self.steps().unwrap_or_default().iter().any(|(_, folder)| {
            read_state(folder).is_ok_and(|state| state.best.is_some_and(|(best, _)| best == step))
        })
    }

    fn best_path(&self, step: usize) -> PathBuf {
        self.folder.join(format!("best-{step:06}.bpk"))
    }

    /// SHA-256 of the weights selected at `step`.
    ///
    /// # Errors
    /// The file and the system's word.
    pub fn best_hash(&self, step: usize) -> Result<String, ExperimentError> {
        files::sha256_of_file(&self.best_path(step))
    }

    /// Loads the weights selected at `step` into `model`; `sha256` is what they had when they were written, where that is
    /// known.
    ///
    /// # Errors
    /// The file, and what is wrong with it.
    pub fn load_best<M: Module>(
        &self,
        model: M,
        step: usize,
        sha256: Option<&str>,
    ) -> Result<M, ExperimentError> {
        let path = self.best_path(step);
        let bytes = files::read(&path).map_err(|error| self.train_again(error))?;
        let loaded = match sha256 {
            Some(expected) if files::sha256(&bytes) != expected => Err(not_as_written(&path)),
            _ => load_weights(model, &path, bytes),
        };
        loaded.map_err(|error| self.train_again(error))
    }

    /// Whether the weights that a checkpoint names as the best are there, as they were written.
    fn check_best(&self, state: &State) -> Result<(), ExperimentError> {
        let Some((step, _)) = state.best else { return Ok(()) };
        let found = self.best_hash(step)?;
        match &state.best_sha256 {
            Some(expected) if found != *expected => Err(not_as_written(&self.best_path(step))),
            _ => Ok(()),
        }
    }

    /// Loads the newest whole checkpoint of this recipe, seed and features. `None` where there is none.
    ///
    /// # Errors
    /// A checkpoint of another recipe or seed, or of other features, or none that is whole in a finished run: a wrong request,
    /// which overwrites nothing. None that is whole, but one that lacks the selected weights alone.
    pub fn load_newest<M: Module>(
        &self,
        model: M,
        optimizer: ModuleOptimizer,
        recipe: &str,
        seed: u64,
        features: Option<&str>,
        note: &mut dyn FnMut(String),
    ) -> Result<(M, ModuleOptimizer, Option<State>), ExperimentError> {
        let steps = self.steps()?;
        let oldest = steps.last().map(|(step, _)| *step);
        let finished = is_finished(self.run());
        let mut damaged = |step: usize, error: &ExperimentError, goes_on: bool| {
            let then = match oldest == Some(step) {
                false => "trying the one before",
                true if goes_on && !finished => "none is left, so the run starts anew",
                true => "none is left",
            };
            note(format!("checkpoint at step {step} is damaged ({error}); {then}"));
        };
        let mut without_best = None;
        for (step, folder) in steps {
            let state = match read_state(&folder) {
                Ok(state) => state,
                Err(error) => {
                    damaged(step, &error, without_best.is_none());
                    continue;
                }
            };
            if state.recipe != recipe || state.seed != seed {
                return Err(ExperimentError::request(format!(
                    "{}: a checkpoint of another recipe or seed lies there; give the recipe another name or remove the folder",
                    folder.display()
                )));
            }
            if others(state.features_sha256.as_deref(), features) {
                return Err(ExperimentError::request(format!(
                    "{}: a checkpoint of other data lies there: features, captions or the frozen towers have changed since; put them back, give the recipe another name or remove the folder",
                    folder.display()
                )));
            }
            match load(&folder, &state, model.clone(), optimizer.clone()) {
                Ok((model, optimizer)) => match self.check_best(&state) {
                    Ok(()) => return Ok((model, optimizer, Some(state))),
                    Err(error) => {
                        damaged(step, &error, false);
                        without_best.get_or_insert(error);
                    }
                },
                Err(error) => damaged(step, &error, without_best.is_none()),
            }
        }
        match without_best {
            Some(error) => Err(self.train_again(error)),
            None if finished => Err(nothing_to_go_on_with(self.run())),
            None => Ok((model, optimizer, None)),
        }
    }

    /// What is left to do where the selected weights are not what they were.
    fn train_again(&self, error: ExperimentError) -> ExperimentError {
        ExperimentError::work(format!("{error}; remove {} and train the run again", self.run().display()))
    }

    fn run(&self) -> &Path {
        self.folder.parent().unwrap_or(&self.folder)
    }

    /// Step checkpoints, newest first.
    fn steps(&self) -> Result<Vec<(usize, PathBuf)>, ExperimentError> {
        let mut steps: Vec<(usize, PathBuf)> = std::fs::read_dir(&self.folder)
            .map_err(ExperimentError::file(&self.folder, "list"))?
            .flatten()
            .filter_map(|entry| {
                let step = entry.file_name().to_string_lossy().strip_prefix("step-")?.parse().ok()?;
                Some((step, entry.path()))
            })
            .collect();
        steps.sort_by_key(|(step, _)| std::cmp::Reverse(*step));
        Ok(steps)
    }
}

/// Whether a run was judged: its record is written last.
pub(crate) fn is_finished(run: &Path) -> bool {
    run.join("record.json").exists()
}

/// A finished run that could only be trained anew, over what is there.
pub(crate) fn nothing_to_go_on_with(run: &Path) -> ExperimentError {
    ExperimentError::request(format!(
        "{}: holds a finished run without a whole checkpoint of its steps, so --resume would train it anew, over \
         what is there; to do so, remove the folder or give the recipe another name",
        run.display()
    ))
}

/// Whether two hashes of features are known and differ.
pub(crate) fn others(one: Option<&str>, other: Option<&str>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one != other)
}

fn read_state(folder: &Path) -> Result<State, ExperimentError> {
    let path = folder.join("state.json");
    serde_json::from_slice(&files::read(&path)?)
        .map_err(|cause| ExperimentError::work(format!("{}: {cause}", path.display())))
}

fn load<M: Module>(
    folder: &Path,
    state: &State,
    model: M,
    optimizer: ModuleOptimizer,
) -> Result<(M, ModuleOptimizer), ExperimentError> {
    let model_path = folder.join("model.bpk");
    let weights = files::read(&model_path)?;
    let optimizer_path = folder.join("optimizer.bpk");
    let moments = files::read(&optimizer_path)?;
    for (path, bytes, expected) in
        [(&model_path, &weights, &state.model_sha256), (&optimizer_path, &moments, &state.optimizer_sha256)]
    {
        if files::sha256(bytes) != *expected {
            return Err(not_as_written(path));
        }
    }
    let model = load_weights(model, &model_path, weights)?;
    let optimizer = load_moments(optimizer, &optimizer_path, moments, state.optimized)?;
    Ok((model, optimizer))
}

fn not_as_written(path: &Path) -> ExperimentError {
    ExperimentError::work(format!("{}: not the bytes that were written", path.display()))
}

/// An optimiser with the state that a record holds; `expected`: how many parameters have one. `path` is for messages.
pub(crate) fn load_moments(
    optimizer: ModuleOptimizer,
    path: &Path,
    moments: Vec<u8>,
    expected: usize,
) -> Result<ModuleOptimizer, ExperimentError> {
    let record = OptimizerRecord::from_bytes(Bytes::from_bytes_vec(moments))
        .map_err(|cause| ExperimentError::work(format!("{}: {cause}", path.display())))?;
    let optimizer = optimizer.load_record(record);
    // burn drops what it cannot rebuild and starts it afresh, silently; a resumed run would then differ.
    let restored = optimizer.to_record().len();
    if restored != expected {
        return Err(ExperimentError::work(format!(
            "{}: {restored} of {expected} optimiser states could be restored",
            path.display(),
        )));
    }
    Ok(optimizer)
}

/// A model with the weights that a record holds. `path` is for messages.
pub(crate) fn load_weights<M: Module>(model: M, path: &Path, bytes: Vec<u8>) -> Result<M, ExperimentError> {
    let wrong = |cause: String| ExperimentError::work(format!("{}: {cause}", path.display()));
    let record =
        ModuleRecord::from_bytes(Bytes::from_bytes_vec(bytes)).map_err(|cause| wrong(cause.to_string()))?;
    model.try_load_record(record).map_err(|cause| wrong(cause.to_string()))
}

/// The bytes of a record. `path` is for messages.
pub(crate) fn packed<E: std::fmt::Display>(
    bytes: Result<Bytes, E>,
    path: &Path,
) -> Result<Bytes, ExperimentError> {
    bytes.map_err(|cause| ExperimentError::work(format!("{}: cannot be packed: {cause}", path.display())))
}

/// The weights of a module by path, f32, as one safetensors file that any tool reads: what two runs are compared by.
///
/// # Errors
/// The file and the system's word.
pub fn export<M: Module>(model: &M, path: &Path) -> Result<(), ExperimentError> {
    let mut weights = Weights { path: Vec::new(), tensors: Vec::new() };
    model.visit(&mut weights);
    files::write_tensors(path, &weights.tensors)
}

struct Weights {
    path: Vec<String>,
    tensors: Vec<FileTensor>,
}

impl ModuleVisitor for Weights {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let data = parameter.val().into_data().convert::<f32>();
        let bytes = data.iter::<f32>().flat_map(f32::to_le_bytes).collect();
        let (name, shape) = (self.path.join("."), data.shape().to_vec());
        self.tensors.push(FileTensor { name, dtype: Dtype::F32, shape, bytes });
    }
}
