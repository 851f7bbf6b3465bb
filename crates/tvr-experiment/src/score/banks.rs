//! Banks of training items: which blocks each direction normalises with.

use ndarray::{Array2, ArrayView2};

use super::{Input, Request, matrix};
use crate::error::ExperimentError;

/// The blocks of one direction, rows first as its normalisers want them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Banks<'a> {
    /// `[bank queries, gallery]`
    pub queries: Option<ArrayView2<'a, f32>>,
    /// `[bank items, gallery]`
    pub items: Option<ArrayView2<'a, f32>>,
    /// `[bank queries, bank items]`
    pub own: Option<ArrayView2<'a, f32>>,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct BankFiles {
    text: Option<Array2<f32>>,             // [bank texts, videos]
    video_transposed: Option<Array2<f32>>, // [bank videos, texts]
    gallery: Option<Array2<f32>>,          // [bank videos, videos]
    gallery_texts: Option<Array2<f32>>,    // [bank texts, texts]
    similarity: Option<Array2<f32>>,       // [bank texts, bank videos]
}

impl BankFiles {
    /// Reads the banks that a request names, for scores of this shape.
    pub(super) fn read(
        request: &Request,
        [texts, videos]: [usize; 2],
        inputs: &mut Vec<Input>,
    ) -> Result<Self, ExperimentError> {
        let mut read = |name: &Option<String>, role: &Role, wanted: [Option<usize>; 2]| match name {
            Some(name) => role.read(name, wanted, inputs).map(Some),
            None => Ok(None),
        };
        let text = read(&request.text_bank, &TEXT, [None, Some(videos)])?;
        let video = read(&request.video_bank, &VIDEO, [Some(texts), None])?;
        let gallery = read(&request.gallery_bank, &GALLERY, [None, Some(videos)])?;
        let gallery_texts = read(&request.gallery_bank_texts, &GALLERY_TEXTS, [None, Some(texts)])?;
        let similarity = read(&request.bank_similarity, &SIMILARITY, [None, None])?;
        if let (Some(similarity), Some(name)) = (&similarity, &request.bank_similarity) {
            let both = [
                ("text", "texts", text.as_ref().map(|bank| bank.nrows()), similarity.nrows()),
                ("video", "videos", video.as_ref().map(|bank| bank.ncols()), similarity.ncols()),
            ];
            for (kind, items, bank, found) in both {
                if let Some(bank) = bank.filter(|bank| *bank != found) {
                    return Err(ExperimentError::work(format!(
                        "{name}: the bank similarity has {found} bank {items}, the {kind} bank has {bank}; both must \
                         hold the same training {items}"
                    )));
                }
            }
        }
        let video_transposed = video.map(|bank| bank.t().as_standard_layout().into_owned());
        Ok(Self { text, video_transposed, gallery, gallery_texts, similarity })
    }

    /// Texts look for videos.
    pub(super) fn text_to_video(&self) -> Banks<'_> {
        Banks {
            queries: self.text.as_ref().map(|bank| bank.view()),
            items: self.gallery.as_ref().map(|bank| bank.view()),
            own: self.similarity.as_ref().map(|bank| bank.view()),
        }
    }

    /// Videos look for texts.
    pub(super) fn video_to_text(&self) -> Banks<'_> {
        Banks {
            queries: self.video_transposed.as_ref().map(|bank| bank.view()),
            items: self.gallery_texts.as_ref().map(|bank| bank.view()),
            own: self.similarity.as_ref().map(|bank| bank.t()),
        }
    }
}

/// What a bank file must be.
struct Role {
    role: &'static str,
    shape: &'static str,
    title: &'static str,
    mend: &'static str,
}

const TEXT: Role = Role {
    role: "text-bank",
    shape: "[bank texts, videos]",
    title: "text bank",
    mend: "its columns must be the same test videos",
};
const VIDEO: Role = Role {
    role: "video-bank",
    shape: "[texts, bank videos]",
    title: "video bank",
    mend: "its rows must be the same test texts",
};
const GALLERY: Role = Role {
    role: "gallery-bank",
    shape: "[bank videos, videos]",
    title: "gallery bank",
    mend: "its columns must be the same test videos",
};
const GALLERY_TEXTS: Role = Role {
    role: "gallery-bank-texts",
    shape: "[bank texts, texts]",
    title: "gallery bank of texts",
    mend: "its columns must be the same test texts",
};
const SIMILARITY: Role = Role {
    role: "bank-similarity",
    shape: "[bank texts, bank videos]",
    title: "bank similarity",
    mend: "give training texts against training videos",
};

impl Role {
    fn read(
        &self,
        name: &str,
        wanted: [Option<usize>; 2],
        inputs: &mut Vec<Input>,
    ) -> Result<Array2<f32>, ExperimentError> {
        let bank = matrix::read(self.role, self.shape, name, inputs)?;
        for (axis, (wanted, found)) in wanted.into_iter().zip([bank.nrows(), bank.ncols()]).enumerate() {
            let Some(wanted) = wanted.filter(|wanted| *wanted != found) else { continue };
            // A gallery of texts is a column, and texts of the video bank are rows.
            let items = if self.shape.ends_with("texts]") || axis == 0 { "texts" } else { "videos" };
            return Err(ExperimentError::work(format!(
                "{name}: the {} is {:?}, but the similarity has {wanted} {items}; {}",
                self.title,
                bank.shape(),
                self.mend
            )));
        }
        matrix::refuse_unusable(name, &bank)?;
        Ok(bank)
    }
}
