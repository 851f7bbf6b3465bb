//! A measured row beside published ones: inside the band that the gallery's size leaves open, or outside.

use serde::Serialize;

use crate::record::{FIGURES, RowRecord};
use crate::reproduce::published::{Direction, Published, acceptance};

/// A row of a run.
#[derive(Clone, Debug, Serialize)]
pub struct Beside {
    /// The recipe.
    pub recipe: &'static str,
    /// The normaliser.
    pub normalize: String,
    /// What it sees: raw, bank, transductive.
    pub regime: String,
    /// Texts look for videos.
    pub text_to_video: Direction,
    /// Videos look for texts.
    pub video_to_text: Direction,
    /// Half of the 95 % band of R@1 in points, from the number of queries alone; T2V, V2T.
    pub bands: [f64; 2],
    /// The published rows of the same model under the same normaliser, which sees as much.
    pub published: Vec<Verdict>,
}

/// A published row, and how the measured one stands to it.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The published row.
    pub row: &'static Published,
    /// Half of the 95 % band around its R@1, in points; `None` where it gives none.
    pub bands: [Option<f64>; 2],
    /// `inside`, `outside`, or why nothing can be said; by direction.
    pub said: [String; 2],
}

impl Beside {
    /// Sets the published rows beside a measured one.
    ///
    /// - `queries`: captions that look for videos, and videos that look for captions
    pub(super) fn new(
        recipe: &'static str,
        row: &RowRecord,
        published: &[&'static Published],
        queries: [usize; 2],
        comparable: &Result<(), String>,
    ) -> Self {
        let figures =
            |of: &std::collections::BTreeMap<String, f64>| FIGURES.map(|name| of.get(name).copied());
        let (text_to_video, video_to_text) = (figures(&row.text_to_video), figures(&row.video_to_text));
        let band = |figures: &Direction, queries| acceptance(figures[0].unwrap_or(0.0), queries);
        let place = Some((recipe, row.normalize.as_str(), row.regime.as_str()));
        let of_row = published.iter().filter(|known| known.beside == place);
        let verdict = |known: &&'static Published| {
            let sides = [
                (&known.text_to_video, &text_to_video, queries[0]),
                (&known.video_to_text, &video_to_text, queries[1]),
            ];
            let bands = sides.map(|(known, _, queries)| known[0].map(|recall| acceptance(recall, queries)));
            let said = sides.map(|(figures, measured, queries)| {
                let not = known.is_not_judged();
                not.unwrap_or_else(|| said(figures[0], measured[0], queries, comparable))
            });
            Verdict { row: *known, bands, said }
        };
        Self {
            recipe,
            normalize: row.normalize.clone(),
            regime: row.regime.clone(),
            bands: [band(&text_to_video, queries[0]), band(&video_to_text, queries[1])],
            published: of_row.map(verdict).collect(),
            text_to_video,
            video_to_text,
        }
    }
}

fn said(
    known: Option<f64>,
    measured: Option<f64>,
    queries: usize,
    comparable: &Result<(), String>,
) -> String {
    match (comparable, known, measured) {
        (_, None, _) | (_, _, None) => "not given".into(),
        (Err(why), ..) => format!("not comparable: {why}"),
        (Ok(()), Some(known), Some(measured)) => {
            let is_inside = (known - measured).abs() <= acceptance(known, queries);
            if is_inside { "inside".into() } else { "outside".into() }
        }
    }
}
