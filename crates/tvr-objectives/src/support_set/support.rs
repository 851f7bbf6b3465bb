//! Whose videos tell a caption: the weights of the support.
//!
//! ```text
//! w[t, j] = exp(⟨c[t], v[j]⟩ / T) / Σ_{k ∈ S(t)} exp(⟨c[t], v[k]⟩ / T)      for j ∈ S(t), else 0
//! ```
//!
//! A weight outside the support is zero exactly, so that what stands there never reaches the code.

use burn::prelude::*;
use burn::tensor::assert_shape;
use serde::{Deserialize, Serialize};
use tvr_nn::{masked_softmax, unit_rows};

/// Which columns a text may be told from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Support {
    /// Its own video: plain captioning, the text plays no part.
    Identity,
    /// All columns.
    Full,
    /// Half of each of the two above.
    Hybrid,
    /// All columns that do not show its own video.
    #[default]
    Cross,
}

/// Videos that a caption may be told from: those of the batch, then those of the bank.
#[derive(Clone, Debug)]
pub struct Columns {
    /// The videos' vectors. `[columns, width]`
    pub vectors: Tensor<2>,
    /// For every text the column of its own video. `[texts]`
    pub own: Tensor<1, Int>,
    /// True where a column shows the text's own video, in the batch or in the bank. `[texts, columns]`
    pub related: Tensor<2, Bool>,
}

impl Support {
    /// The weights of every text; a row sums to 1, or to 0 where the support is empty.
    ///
    /// - `texts`: `[texts, width]`, any length
    /// - `temperature`: above 0, cosine
    /// - returns `[texts, columns]`
    pub fn weights(self, texts: Tensor<2>, columns: &Columns, temperature: f32) -> Tensor<2> {
        let [n_texts, _] = texts.dims();
        let [n_columns, _] = columns.vectors.dims();
        assert_shape!(columns.own, [n_texts]);
        assert_shape!(columns.related, [n_texts, n_columns]);
        let identity = || {
            let place = columns.own.clone().unsqueeze_dim::<2>(1).expand([n_texts, n_columns]);
            let range = 0..n_columns as i64;
            let range = Tensor::<1, Int>::arange(range, (&columns.own.device(), columns.own.dtype()));
            let own = place.equal(range.unsqueeze_dim::<2>(0).expand([n_texts, n_columns]));
            own.float().cast(texts.dtype())
        };
        let attention = |real: Tensor<2, Bool>| {
            let cosine = unit_rows(texts.clone()).matmul(unit_rows(columns.vectors.clone()).transpose());
            masked_softmax(cosine / f64::from(temperature), real)
        };
        let all = || columns.related.ones_like();
        match self {
            Self::Identity => identity(),
            Self::Full => attention(all()),
            Self::Hybrid => (identity() + attention(all())) / 2.0,
            Self::Cross => attention(columns.related.clone().bool_not()),
        }
    }
}
