//! A share of the scores in a file, and the shares of all joined to one that `score` judges.
//!
//! ```text
//! score --texts T --videos V --shard I/N  ─┐
//! eval RUN --shard I/N                    ─┴─▶ shard I: some columns ─merge─▶ all columns ─score─▶ ranks
//! ```
//!
//! A shard has some neighbouring columns of each matrix, and all rows:
//!
//! | tensor | shape | columns of a shard |
//! |---|---|---|
//! | `similarity` | `[texts, videos]` | its videos: they alone are encoded, and videos are what costs |
//! | `text_bank` | `[bank texts, videos]` | its videos |
//! | `video_bank` | `[texts, bank videos]` | its bank videos |
//! | `gallery_bank` | `[bank videos, videos]` | its videos |
//! | `gallery_bank_texts` | `[bank texts, texts]` | its texts |
//! | `bank_similarity` | `[bank texts, bank videos]` | its bank videos |
//!
//! Where all captions look for videos, `groups` `[texts]` has the video of each, the same in every shard.
//!
//! Nothing is normalised or ranked before the joining: both look at whole rows and columns, and the matrices of N shards
//! are those of one, to the rounding of f32: a product of few columns may be summed in another order. Scores that depend on other items than their pair (EMCL, a head that
//! mixes items) are not shared out, since the items of a share would be others. The file is a safetensors file of f32
//! whose metadata has one key, `tvr-scores/1`: JSON of the shard, of what the scores are made of, of the normalisers that
//! were asked for, and of the columns in all.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use ndarray::{Array2, s};
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};
use tvr_heads::{TextCodes, VideoCodes};

use super::{Given, Input, matrix};
use crate::banks;
use crate::error::ExperimentError;
use crate::files::{self, FileTensor};
use crate::shard::{Shard, ShardFile, in_order};

/// The key of the metadata, which names the form of the file.
const FORMAT: &str = "tvr-scores/1";

// `score` takes each tensor by the option of its name.
const SIMILARITY: &str = "similarity";
const TEXT_BANK: &str = "text_bank";
const VIDEO_BANK: &str = "video_bank";
const GALLERY_BANK: &str = "gallery_bank";
const GALLERY_BANK_TEXTS: &str = "gallery_bank_texts";
const BANK_SIMILARITY: &str = "bank_similarity";

const GROUPS: &str = "groups";

/// The matrices that a file may have, the judged one first.
const NAMES: [&str; 6] =
    [SIMILARITY, TEXT_BANK, VIDEO_BANK, GALLERY_BANK, GALLERY_BANK_TEXTS, BANK_SIMILARITY];

/// Some columns of a matrix.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Block {
    name: &'static str,
    /// `[rows, columns of the share]`
    values: Array2<f32>,
    /// Columns of all shares.
    columns: usize,
}

/// What is the same in all shards of one work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(expecting = "an object with shard, made_of, normalize and columns")]
struct About {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shard: Option<Shard>,
    made_of: BTreeMap<String, String>,
    normalize: Vec<String>,
    columns: BTreeMap<String, usize>,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Names and shapes of the matrices, the judged one first.
    pub matrices: Vec<(&'static str, [usize; 2])>,
    /// The tensor of each text's video; `None` where the diagonal is true.
    pub groups: Option<&'static str>,
    /// The normalisers that were asked for, with what they left open chosen on val.
    pub normalize: Vec<String>,
}

/// Writes one share of the scores.
///
/// # Errors
/// Files that are not what their role asks for; more shards than there are videos; a file that cannot be written.
pub fn share(given: &Given, shard: Shard, out: &Path) -> Result<Written, ExperimentError> {
    files::refuse_npy(out)?;
    let mut inputs = Vec::new();
    let blocks = match given {
        Given::Similarity(name) => {
            let scores = matrix::read(SIMILARITY, "[texts, videos]", name, &mut inputs)?;
            let (_, columns) = scores.dim();
            let own = shard.of_items(columns, "videos")?;
            vec![Block { name: SIMILARITY, values: scores.slice_move(s![.., own]), columns }]
        }
        Given::Vectors(vectors) => vectors.share(shard, &mut inputs)?,
    };
    // Two tensors of one file are two inputs.
    let hashed = |input: Input| {
        let key = matrix::file_and_key(&input.path).1.map_or(String::new(), |key| format!(", tensor {key}"));
        (input.role.to_owned(), format!("sha256 {}{key}", input.sha256))
    };
    write(out, Some(shard), inputs.into_iter().map(hashed).collect(), Vec::new(), &blocks, None)
}

/// A share of the scores of codes, and of a bank's.
///
/// - `videos`: of this share, of `n_videos` in all
/// - `scale`: what makes logits of the products of vectors of one side; `None` where the similarity is no such product
/// - `score`: the logits of texts and videos
///
/// # Errors
/// More shards than there are items of some kind; what `score` says.
pub(crate) fn blocks(
    shard: Shard,
    (texts, videos): (&TextCodes, &VideoCodes),
    n_videos: usize,
    bank: Option<&(TextCodes, VideoCodes)>,
    scale: Option<f32>,
    score: impl Fn(&TextCodes, &VideoCodes) -> Result<Array2<f32>, ExperimentError>,
) -> Result<Vec<Block>, ExperimentError> {
    let block = |name, values, columns| Block { name, values, columns };
    let mut blocks = vec![block(SIMILARITY, score(texts, videos)?, n_videos)];
    let Some((bank_texts, bank_videos)) = bank else { return Ok(blocks) };
    let (n_texts, n_bank) = (texts.n_items(), bank_videos.n_items());
    let own_bank = bank_videos.rows(shard.of_items(n_bank, "bank videos")?);
    blocks.push(block(TEXT_BANK, score(bank_texts, videos)?, n_videos));
    blocks.push(block(VIDEO_BANK, score(texts, &own_bank)?, n_bank));
    if let Some(scale) = scale {
        let own_texts = texts.rows(shard.of_items(n_texts, "texts")?);
        let videos = banks::products(&bank_videos.pooled, &videos.pooled, scale)?;
        blocks.push(block(GALLERY_BANK, videos, n_videos));
        let texts = banks::products(&bank_texts.pooled, &own_texts.pooled, scale)?;
        blocks.push(block(GALLERY_BANK_TEXTS, texts, n_texts));
    }
    blocks.push(block(BANK_SIMILARITY, score(bank_texts, &own_bank)?, n_bank));
    Ok(blocks)
}

/// Writes matrices, whole or not at all, with the video of each text where that is not the diagonal.
pub(crate) fn write(
    out: &Path,
    shard: Option<Shard>,
    made_of: BTreeMap<String, String>,
    normalize: Vec<String>,
    blocks: &[Block],
    video_of: Option<&[usize]>,
) -> Result<Written, ExperimentError> {
    let columns = blocks.iter().map(|block| (block.name.to_owned(), block.columns)).collect();
    let about = About { shard, made_of, normalize, columns };
    let words = serde_json::to_string(&about)
        .map_err(|cause| ExperimentError::work(format!("{}: cannot be JSON: {cause}", out.display())))?;
    let matrices = blocks.iter().map(|Block { name, values, .. }| FileTensor {
        name: (*name).to_owned(),
        dtype: Dtype::F32,
        shape: values.shape().to_vec(),
        bytes: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    });
    let groups = video_of.map(|video_of| FileTensor::groups(GROUPS, video_of));
    let tensors: Vec<FileTensor> = matrices.chain(groups).collect();
    files::write_tensors_with(out, &tensors, Some(HashMap::from([(FORMAT.to_owned(), words)])))?;
    let shapes = blocks.iter().map(|Block { name, values, .. }| (*name, [values.nrows(), values.ncols()]));
    Ok(Written { matrices: shapes.collect(), groups: video_of.map(|_| GROUPS), normalize: about.normalize })
}

/// Whether a file holds scores, as shards of them do.
///
/// # Errors
/// A file that cannot be read, or of which a part is missing.
pub fn holds_scores(path: &Path) -> Result<bool, ExperimentError> {
    let bytes = files::map(path)?;
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|cause| {
        ExperimentError::work(format!("{}: is no whole shard: {cause}; make it again", path.display()))
    })?;
    Ok(header.metadata().as_ref().is_some_and(|metadata| metadata.contains_key(FORMAT)))
}

/// Refuses a share where the whole is judged; other safetensors files pass.
pub(super) fn refuse_share(name: &str, bytes: &[u8]) -> Result<(), ExperimentError> {
    match about(Path::new(name), bytes).ok().and_then(|about| about.shard).filter(|shard| shard.of > 1) {
        Some(shard) => Err(ExperimentError::request(format!(
            "{name}: is shard {shard}; join all shards with merge, and judge what it writes"
        ))),
        None => Ok(()),
    }
}

/// Joins the shards of one `score` or `eval` to the matrices that they would have written without shards.
///
/// # Errors
/// A name that does not end in `.safetensors`; a file that is no shard of scores, a shard that is missing or there twice, shards
/// of different scores; a file that cannot be written.
pub fn merge(shards: &[PathBuf], out: &Path) -> Result<Written, ExperimentError> {
    if out.extension().is_none_or(|ending| ending != "safetensors") {
        return Err(ExperimentError::request(format!(
            "--out {}: joined scores must end in .safetensors, by which score knows them",
            out.display()
        )));
    }
    let mut files = Vec::new();
    for path in shards {
        let mut common = about(path, &files::map(path)?)?;
        let Some(shard) = common.shard.take() else {
            return Err(ExperimentError::request(format!(
                "{}: holds all scores already; there is nothing to join it with",
                path.display()
            )));
        };
        files.push(ShardFile { path, shard, common });
    }
    let order = in_order(files, difference)?;
    let Some(common) = order.first().map(|file| file.common.clone()) else {
        return Ok(Written { matrices: Vec::new(), groups: None, normalize: Vec::new() });
    };
    let named = |name: &&'static str| Some((*name, *common.columns.get(*name)?));
    let mut blocks: Vec<Block> = NAMES.iter().filter_map(named).map(Block::empty).collect();
    let mut video_of = None;
    for ShardFile { path, shard, .. } in order {
        let bytes = files::map(path)?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|cause| broken(path, cause))?;
        // What the scores are made of names the gallery, so that every shard has the same captions.
        video_of = groups(path, &tensors)?;
        for block in &mut blocks {
            block.take(path, shard, &tensors)?;
        }
    }
    write(out, None, common.made_of, common.normalize, &blocks, video_of.as_deref())
}

/// The video of each text, where a shard has it.
fn groups(path: &Path, tensors: &SafeTensors<'_>) -> Result<Option<Vec<usize>>, ExperimentError> {
    let Ok(tensor) = tensors.tensor(GROUPS) else { return Ok(None) };
    let (numbers, _) = tensor.data().as_chunks::<8>();
    let read = |&number: &[u8; 8]| usize::try_from(i64::from_le_bytes(number));
    let video_of = numbers.iter().map(read).collect::<Result<_, _>>().map_err(|cause| broken(path, cause))?;
    Ok(Some(video_of))
}

/// In what two shards are not of one work.
fn difference(one: &About, other: &About) -> Option<String> {
    let keys = one.made_of.keys().chain(other.made_of.keys());
    let value = |about: &About, key: &String| about.made_of.get(key).cloned().unwrap_or("none".into());
    for key in keys {
        let (one, other) = (value(one, key), value(other, key));
        if one != other {
            return Some(format!("are shards of different scores: their {key} is {one} and {other}"));
        }
    }
    (one != other).then(|| "are shards of different scores: normalisers or sizes differ".to_owned())
}

fn broken(path: &Path, cause: impl std::fmt::Display) -> ExperimentError {
    ExperimentError::work(format!("{}: is no shard of scores: {cause}; make it again", path.display()))
}

fn about(path: &Path, bytes: &[u8]) -> Result<About, ExperimentError> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|cause| broken(path, cause))?;
    match header.metadata().as_ref().and_then(|metadata| metadata.get(FORMAT)) {
        Some(text) => serde_json::from_str(text).map_err(|cause| broken(path, cause)),
        None => Err(broken(path, "score --shard or eval --shard did not write it")),
    }
}

impl Block {
    fn empty((name, columns): (&'static str, usize)) -> Self {
        Self { name, values: Array2::zeros((0, 0)), columns }
    }

    /// The columns of one more shard; the first comes first.
    fn take(&mut self, path: &Path, shard: Shard, tensors: &SafeTensors<'_>) -> Result<(), ExperimentError> {
        let tensor = tensors.tensor(self.name).map_err(|cause| broken(path, cause))?;
        let width = shard.range(self.columns).len();
        let &[rows, columns] = tensor.shape() else { return Err(broken(path, "a matrix has two axes")) };
        let first = shard.index == 0;
        if tensor.dtype() != Dtype::F32 || columns != width || (!first && rows != self.values.nrows()) {
            return Err(broken(path, format!("{} is {} {:?}", self.name, tensor.dtype(), tensor.shape())));
        }
        let (numbers, _) = tensor.data().as_chunks::<4>();
        let values = numbers.iter().map(|&number| f32::from_le_bytes(number)).collect();
        let values = Array2::from_shape_vec((rows, columns), values).map_err(|cause| broken(path, cause))?;
        if first {
            self.values = Array2::zeros((rows, self.columns));
        }
        self.values.slice_mut(s![.., shard.range(self.columns)]).assign(&values);
        Ok(())
    }
}
