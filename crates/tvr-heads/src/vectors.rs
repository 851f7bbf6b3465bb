//! The two vectors whose cosine a similarity is: what a layer between a head and its cosine (EMCL) works on.

use burn::prelude::*;
use burn::tensor::assert_shape;
use tvr_nn::unit_rows;

/// Squared lengths below this count as this, so that a zero vector has cosine 0 and a finite gradient. The root is
/// the shortest row that [`unit_rows`] divides by.
const SHORTEST_SQUARED: f64 = 1e-12;

/// Two vectors for each pair of some texts and videos, of any length.
#[derive(Clone, Debug)]
pub struct Vectors {
    /// `[texts, width]`
    pub texts: Tensor<2>,
    /// `[videos, 1, width]`, or `[videos, texts, width]` where a video's vector depends on the text.
    pub videos: Tensor<3>,
}

impl Vectors {
    /// One vector per text and one per video. `[texts, width]`, `[videos, width]`
    pub fn of_items(texts: Tensor<2>, videos: Tensor<2>) -> Self {
        Self { texts, videos: videos.unsqueeze_dim(1) }
    }

    /// One vector per text, and one of each video for each text.
    ///
    /// - `texts`: `[texts, width]`
    /// - `videos`: `[videos, texts, width]`
    pub fn of_pairs(texts: Tensor<2>, videos: Tensor<3>) -> Self {
        let [n_texts, width] = texts.dims();
        assert_shape!(videos, [_, n_texts, width]);
        Self { texts, videos }
    }

    /// The cosine of every pair. `[texts, videos]`
    pub fn cosine(self) -> Tensor<2> {
        let [n_texts, width] = self.texts.dims();
        let [n_videos, copies, _] = self.videos.dims();
        let texts = unit_rows(self.texts);
        let lengths = self.videos.clone().square().sum_dim(2).clamp_min(SHORTEST_SQUARED).sqrt();
        let lengths = lengths.reshape([n_videos, copies]).transpose();
        let products = if copies == 1 {
            texts.matmul(self.videos.reshape([n_videos, width]).transpose())
        } else {
            (self.videos * texts.unsqueeze_dim::<3>(0)).sum_dim(2).reshape([n_videos, n_texts]).transpose()
        };
        products / lengths
    }

    /// The product of every pair of vectors that do not depend on the other side. `[texts, videos]`
    pub(crate) fn product(self) -> Tensor<2> {
        let [n_videos, copies, width] = self.videos.dims();
        assert_shape!(self.videos, [n_videos, 1, width]);
        self.texts.matmul(self.videos.reshape([n_videos * copies, width]).transpose())
    }

    /// Every vector as a row: those of the videos, video after video, then those of the texts. `[rows, width]`
    pub fn rows(&self) -> Tensor<2> {
        let [n_videos, copies, width] = self.videos.dims();
        Tensor::cat(vec![self.videos.clone().reshape([n_videos * copies, width]), self.texts.clone()], 0)
    }

    /// The same pairs with other vectors, ordered as [`Vectors::rows`] does. `rows`: `[rows, width]`
    pub fn with_rows(&self, rows: Tensor<2>) -> Self {
        let [n_texts, width] = self.texts.dims();
        let [n_videos, copies, _] = self.videos.dims();
        let cut = n_videos * copies;
        assert_shape!(rows, [cut + n_texts, width]);
        Self {
            texts: rows.clone().slice_dim(0, cut..cut + n_texts),
            videos: rows.slice_dim(0, 0..cut).reshape([n_videos, copies, width]),
        }
    }
}
