//! Texts to features: a text tower, trained word vectors, or a linear map of embeddings.

use burn::module::Module;
use burn::nn;
use burn::prelude::*;
use tvr_clip::TextTower;
use tvr_heads::{Needs, TextFeatures, TextStream, Tokens};

use crate::corpus::streams::Parts;
use crate::corpus::{Corpus, StreamTexts, Texts, rows_of};

/// Texts to features.
#[derive(Module, Debug)]
pub struct TextEncoder {
    /// A text tower, for tokens of its tokenizer.
    pub tower: Option<TextTower>,
    /// A vector for each word, for tokens of a vocabulary.
    pub words: Option<nn::Embedding>,
    /// A linear map, for embeddings and word vectors.
    pub projection: Option<nn::Linear>,
    /// Dropout before the linear map.
    pub dropout: nn::Dropout,
}

/// Some texts, encoded.
struct Encoded {
    /// `[texts, width]`
    pooled: Tensor<2>,
    tokens: Option<Tokens>,
}

impl TextEncoder {
    /// Features of some captions of a corpus, with the tokens and streams that a head needs.
    pub fn encode(&self, corpus: &Corpus, texts: &[usize], needs: &Needs, device: &Device) -> TextFeatures {
        let streams: Vec<&StreamTexts> =
            corpus.streams.iter().filter(|stream| needs.streams.contains(&stream.name)).collect();
        let masked = streams.iter().any(|stream| matches!(stream.parts, Parts::Places(_)));
        let encoded = match &corpus.texts {
            Texts::Tokens(tokens) => {
                let rows: Vec<&[u32]> = texts.iter().map(|&text| tokens[text].as_slice()).collect();
                self.encode_ids(&rows, needs.tokens || masked, device)
            }
            Texts::Features { values, width } => {
                let rows = rows_of(values, *width, texts);
                let rows = Tensor::from_data(TensorData::new(rows, [texts.len(), *width]), device);
                Encoded { pooled: self.project(rows), tokens: None }
            }
        };
        let streams = streams.iter().map(|stream| self.stream(stream, corpus, texts, &encoded, device));
        TextFeatures {
            pooled: encoded.pooled.clone(),
            streams: streams.collect(),
            tokens: encoded.tokens.filter(|_| needs.tokens),
        }
    }

    /// One part of every text. Where a text has no such part, its own feature stands in.
    fn stream(
        &self,
        stream: &StreamTexts,
        corpus: &Corpus,
        texts: &[usize],
        whole: &Encoded,
        device: &Device,
    ) -> TextStream {
        let flags =
            |parts: &[Vec<u32>]| -> Vec<bool> { texts.iter().map(|&text| !parts[text].is_empty()).collect() };
        let (pooled, available) = match (&stream.parts, &whole.tokens) {
            (Parts::Places(places), Some(tokens)) => {
                let available = flags(places);
                let [_, longest] = tokens.mask.dims();
                let mut shares = vec![0f32; texts.len() * longest];
                for (row, &text) in texts.iter().enumerate() {
                    for &place in &places[text] {
                        shares[row * longest + place as usize] = 1.0 / places[text].len() as f32;
                    }
                }
                let shares = TensorData::new(shares, [texts.len(), 1, longest]);
                let shares = Tensor::<3>::from_data(shares, device);
                let mean = shares.matmul(tokens.features.clone()).squeeze_dim::<2>(1);
                let absent: Vec<bool> = available.iter().map(|real| !real).collect();
                let absent = Tensor::<1, Bool>::from_data(TensorData::new(absent, [texts.len()]), device);
                let absent = absent.unsqueeze_dim::<2>(1).expand(mean.dims());
                (mean.mask_where(absent, whole.pooled.clone()), available)
            }
            (Parts::Tokens(parts), _) => {
                let captions = corpus.tokens().unwrap_or_default();
                let rows: Vec<&[u32]> = texts
                    .iter()
                    .map(|&text| if parts[text].is_empty() { &captions[text] } else { &parts[text] })
                    .map(Vec::as_slice)
                    .collect();
                (self.encode_ids(&rows, false, device).pooled, flags(parts))
            }
            _ => (whole.pooled.clone(), vec![true; texts.len()]),
        };
        let available = Tensor::from_data(TensorData::new(available, [texts.len()]), device);
        TextStream { name: stream.name, pooled, available }
    }

    fn encode_ids(&self, rows: &[&[u32]], with_tokens: bool, device: &Device) -> Encoded {
        if let Some(tower) = &self.tower {
            return encode_ids(tower, rows, with_tokens, device);
        }
        let Some(words) = &self.words else {
            return Encoded { pooled: Tensor::zeros([rows.len(), 1], device), tokens: None };
        };
        // Without the marks: they say nothing.
        let inner = |row: &[u32]| row.get(1..row.len().saturating_sub(1)).unwrap_or_default().to_vec();
        let bare: Vec<Vec<u32>> = rows.iter().map(|row| inner(row)).collect();
        let bare: Vec<&[u32]> = bare.iter().map(Vec::as_slice).collect();
        let (ids, mask) = padded(&bare, device);
        let vectors = words.forward(ids);
        let pooled = self.project(tvr_nn::masked_mean(vectors.clone(), mask.clone()));
        let tokens = with_tokens.then(|| {
            let [texts, count] = mask.dims();
            let start = Tensor::<2, Int>::zeros([texts, 1], device).bool();
            let projected = self.project(vectors);
            let [_, _, width] = projected.dims();
            let hidden = mask.clone().bool_not().unsqueeze_dim::<3>(2).expand([texts, count, width]);
            let none = Tensor::<3>::zeros([texts, 1, width], device);
            Tokens {
                // Places count from the start mark, as in a tower's tokens.
                features: Tensor::cat(vec![none, projected.mask_fill(hidden, 0.0)], 1),
                mask: tvr_nn::cat_masks(vec![start, mask], 1),
            }
        });
        Encoded { pooled, tokens }
    }

    fn project<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        match &self.projection {
            Some(projection) => tvr_nn::linear(projection, self.dropout.forward(input)),
            None => input,
        }
    }
}

/// Codes of texts by a tower, `[texts, joint]`.
pub(crate) fn encode_pooled(tower: &TextTower, rows: &[&[u32]], device: &Device) -> Tensor<2> {
    encode_ids(tower, rows, false, device).pooled
}

/// The tower over two length groups: the shorter five eighths, and the rest, so that less is padding. A caption's
/// feature does not depend on its group.
fn encode_ids(tower: &TextTower, rows: &[&[u32]], with_tokens: bool, device: &Device) -> Encoded {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&place| rows[place].len());
    let cut = if rows.len() < 16 { rows.len() } else { rows.len() * 5 / 8 };
    let (mut pooled, mut states, mut masks) = (Vec::new(), Vec::new(), Vec::new());
    let longest = rows.iter().map(|row| row.len()).max().unwrap_or(1);
    for group in [&order[..cut], &order[cut..]] {
        if group.is_empty() {
            continue;
        }
        let group: Vec<&[u32]> = group.iter().map(|&place| rows[place]).collect();
        let lengths: Vec<i32> = group.iter().map(|row| row.len() as i32).collect();
        let lengths = Tensor::<1, Int>::from_data(TensorData::new(lengths, [group.len()]), device);
        let (ids, _) = padded(&group, device);
        // A caption that spells out the end of text ends there, as in `encode`.
        let lengths = tower.lengths(ids.clone()).min_pair(lengths);
        if !with_tokens {
            pooled.push(tower.encode(ids, lengths));
            continue;
        }
        let found = tower.encode_tokens(ids, lengths);
        pooled.push(found.pooled);
        let [texts, count, width] = found.states.dims();
        let missing = longest - count;
        states.push(match missing {
            0 => found.states,
            _ => Tensor::cat(vec![found.states, Tensor::zeros([texts, missing, width], device)], 1),
        });
        masks.push(match missing {
            0 => found.mask,
            _ => tvr_nn::cat_masks(
                vec![found.mask, Tensor::<2, Int>::zeros([texts, missing], device).bool()],
                1,
            ),
        });
    }
    let mut back = vec![0i32; rows.len()];
    for (row, &place) in order.iter().enumerate() {
        back[place] = row as i32;
    }
    let back = Tensor::<1, Int>::from_data(TensorData::new(back, [rows.len()]), device);
    let tokens = with_tokens.then(|| Tokens {
        features: Tensor::cat(states, 0).select(0, back.clone()),
        mask: tvr_nn::cat_masks(masks, 0).select(0, back.clone()),
    });
    Encoded { pooled: Tensor::cat(pooled, 0).select(0, back), tokens }
}

/// Rows of ids as a tensor, padded with 0, and which are real. Both `[texts, tokens]`
pub(crate) fn padded(rows: &[&[u32]], device: &Device) -> (Tensor<2, Int>, Tensor<2, Bool>) {
    let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let (mut ids, mut mask) =
        (Vec::with_capacity(rows.len() * longest), Vec::with_capacity(rows.len() * longest));
    for row in rows {
        ids.extend((0..longest).map(|place| row.get(place).map_or(0, |&id| id as i32)));
        mask.extend((0..longest).map(|place| place < row.len()));
    }
    let shape = [rows.len(), longest];
    (
        Tensor::from_data(TensorData::new(ids, shape), device),
        Tensor::from_data(TensorData::new(mask, shape), device),
    )
}
