//! From run folders to tables and claims.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::budget::{Fitted, Planned};
use super::papers::{Assertion, Cell, Data, Paper};
use crate::claims::{Claim, Side, compare, mean};
use crate::error::ExperimentError;
use crate::experiment::{self, Opened};
use crate::hits::{self, RowHits};
use crate::own::Own;
use crate::plan::Plan;
use crate::recipe::rows::RAW;
use crate::record::{self, FIGURES, Record, RowRecord, half_width};
use crate::score::NormalisationError;

/// One line of the results table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TableRow {
    /// The model, by its recipe.
    pub model: String,
    /// The row of its table.
    pub normalize: String,
    /// Its regime.
    pub regime: String,
    /// Steps of a run.
    pub steps: usize,
    /// Seeds.
    pub seeds: usize,
    /// T2V: R@1, R@5, R@10, MdR, MnR, mean over seeds.
    pub text_to_video: Vec<(String, f64)>,
    /// V2T, likewise.
    pub video_to_text: Vec<(String, f64)>,
    /// Half-width of the 95 % interval of T2V R@1 over seeds (Student t); absent with one seed.
    pub text_to_video_half_width: Option<f64>,
    /// The same of V2T.
    pub video_to_text_half_width: Option<f64>,
    /// Normalisation errors of the gallery (NCL), T2V and V2T, mean over seeds; absent where the row has none.
    #[serde(default)]
    pub normalisation_error: Option<[f64; 2]>,
}

/// What was measured beside retrieval: order accuracy, normalisation error, and so on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Beside {
    /// The model, by its recipe.
    pub model: String,
    /// What was measured, with its unit.
    pub name: String,
    /// Mean over seeds.
    pub mean: f64,
}

/// All runs of one model, or all judgements of a model judged again.
pub(super) struct Runs {
    /// As tables print it.
    pub name: String,
    /// Steps of a run.
    pub steps: usize,
    /// One judgement for each seed.
    pub seeds: Vec<u64>,
    /// The rows of each seed's table.
    pub rows: Vec<Vec<RowRecord>>,
    /// What was measured beside, of each seed.
    pub beside: Vec<BTreeMap<String, f64>>,
    /// Hits of each seed's rows.
    pub hits: Vec<Vec<RowHits>>,
}

impl Runs {
    /// Reads what the runs of a planned model left.
    ///
    /// # Errors
    /// A run folder without a record or hits.
    pub fn read(planned: &Planned, plan: &Plan) -> Result<(Self, Vec<Record>), ExperimentError> {
        let mut runs = Self::new(&planned.model, planned);
        let mut records = Vec::new();
        for &seed in &planned.seeds {
            let folder = plan.run_folder(seed);
            let record = record::read(&folder)?;
            runs.hits.push(hits::read(&folder, record.test.iter().map(|row| row.normalize.as_str()))?);
            runs.rows.push(record.test.clone());
            runs.beside
                .push(record.beside.clone().into_iter().chain(ranks(record.effective_ranks)).collect());
            records.push(record);
        }
        Ok((runs, records))
    }

    /// Judges the run of one seed again under a plan with another `[eval]`; seeds come in their order.
    ///
    /// # Errors
    /// As [`experiment::judge_again`].
    pub fn judge(&mut self, plan: &Plan, opened: &Opened, seed: u64) -> Result<(), ExperimentError> {
        let judged = experiment::judge_again(plan, opened, &Own::built_in(), seed, false)?;
        self.hits.push(judged.rows.iter().map(RowHits::of).collect());
        self.rows.push(judged.rows.iter().map(RowRecord::of).collect());
        self.beside.push(ranks(judged.effective_ranks).collect());
        Ok(())
    }

    /// Nothing yet of a planned model's seeds.
    pub fn new(name: &str, planned: &Planned) -> Self {
        Self {
            name: name.to_string(),
            steps: planned.steps,
            seeds: planned.seeds.clone(),
            rows: Vec::new(),
            beside: Vec::new(),
            hits: Vec::new(),
        }
    }

    /// What a row sees: raw, bank, transductive.
    fn regime(&self, row: &str) -> Option<&str> {
        let rows = self.rows.first()?;
        rows.iter().find(|of| of.normalize == row).map(|of| of.regime.as_str())
    }

    /// Normalisation errors of a row, one for each of these seeds; `None` where the row or its error is missing.
    pub fn errors(&self, row: &str, side: Side, seeds: &[u64]) -> Option<Vec<f64>> {
        let of_seed = |rows: &Vec<RowRecord>| {
            let [text_to_video, video_to_text] =
                rows.iter().find(|of| of.normalize == row)?.normalisation_error?;
            Some(match side {
                Side::TextToVideo => text_to_video.error,
                Side::VideoToText => video_to_text.error,
            })
        };
        let chosen = self.seeds.iter().zip(&self.rows).filter(|(seed, _)| seeds.contains(seed));
        chosen.map(|(_, rows)| of_seed(rows)).collect()
    }

    /// Hits of a row, one for each of these seeds.
    fn row(&self, row: &str, seeds: &[u64]) -> Result<Vec<RowHits>, ExperimentError> {
        let of_seed =
            |(index, _): (usize, &u64)| self.hits[index].iter().find(|hits| hits.normalize == row).cloned();
        let chosen = self.seeds.iter().enumerate().filter(|(_, seed)| seeds.contains(seed));
        chosen
            .map(of_seed)
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| ExperimentError::work(format!("{} has no row {row:?} in its table", self.name)))
    }
}

/// The results table.
pub(super) fn table(runs: &[Runs]) -> Vec<TableRow> {
    runs.iter()
        .flat_map(|runs| {
            let rows = runs.rows.first().map_or(0, Vec::len);
            (0..rows).filter_map(|index| {
                let of_row: Vec<&RowRecord> = runs.rows.iter().filter_map(|rows| rows.get(index)).collect();
                table_row(runs, &of_row)
            })
        })
        .collect()
}

fn table_row(runs: &Runs, rows: &[&RowRecord]) -> Option<TableRow> {
    type Metrics = BTreeMap<String, f64>;
    let first = rows.first()?;
    let side = |of: &dyn Fn(&RowRecord) -> &Metrics| {
        let values = |name: &str| -> Vec<f64> {
            rows.iter().map(|row| of(row).get(name).copied().unwrap_or(f64::NAN)).collect()
        };
        let metrics = FIGURES.map(|name| (name.to_string(), mean(&values(name))));
        (metrics.to_vec(), half_width(&values("R@1")))
    };
    let (text_to_video, text_to_video_half_width) = side(&|row| &row.text_to_video);
    let (video_to_text, video_to_text_half_width) = side(&|row| &row.video_to_text);
    let errors: Option<Vec<_>> = rows.iter().map(|row| row.normalisation_error).collect();
    let error = |of: &[[NormalisationError; 2]], side: usize| {
        mean(&of.iter().map(|errors| errors[side].error).collect::<Vec<f64>>())
    };
    Some(TableRow {
        model: runs.name.clone(),
        normalize: first.normalize.clone(),
        regime: first.regime.clone(),
        steps: runs.steps,
        seeds: rows.len(),
        text_to_video,
        video_to_text,
        text_to_video_half_width,
        video_to_text_half_width,
        normalisation_error: errors.map(|errors| [0, 1].map(|side| error(&errors, side))),
    })
}

/// Effective ranks by the names that tables use.
fn ranks(effective: Option<[f64; 2]>) -> impl Iterator<Item = (String, f64)> {
    let named = |(when, rank)| (format!("effective rank {when} EMCL"), rank);
    effective.into_iter().flat_map(|[before, after]| [("before", before), ("after", after)]).map(named)
}

/// Means over seeds of what was measured beside.
pub(super) fn beside(runs: &[Runs]) -> Vec<Beside> {
    let mut beside = Vec::new();
    for runs in runs {
        let names: Vec<String> =
            runs.beside.first().map(|of| of.keys().cloned().collect()).unwrap_or_default();
        for name in names {
            let values: Vec<f64> = runs.beside.iter().filter_map(|of| of.get(&name).copied()).collect();
            beside.push(Beside { model: runs.name.clone(), mean: mean(&values), name });
        }
    }
    beside
}

/// Every claim of the papers, both directions; one whose models were dropped says so.
///
/// # Errors
/// A run folder that is damaged.
pub(super) fn claims(
    data: &Data,
    papers: &[Paper],
    fitted: &Fitted,
    runs: &[Runs],
) -> Result<Vec<Claim>, ExperimentError> {
    both_directions(papers, |paper| paper.assertions(data))
        .map(|(paper, side, assertion)| claim(paper, assertion, side, fitted, runs))
        .collect()
}

/// Assertions of papers in the order of the tables: by paper, then T2V before V2T.
pub(super) fn both_directions(
    papers: &[Paper],
    assertions: impl Fn(Paper) -> &'static [Assertion],
) -> impl Iterator<Item = (Paper, Side, &'static Assertion)> {
    papers.iter().flat_map(move |&paper| {
        let of_paper = assertions(paper);
        [Side::TextToVideo, Side::VideoToText]
            .into_iter()
            .flat_map(move |side| of_paper.iter().map(move |assertion| (paper, side, assertion)))
    })
}

fn claim(
    paper: Paper,
    assertion: &Assertion,
    side: Side,
    fitted: &Fitted,
    runs: &[Runs],
) -> Result<Claim, ExperimentError> {
    let Pair { names, runs, seeds, regimes } = pair(assertion, fitted, runs);
    let [baseline, treatment] = match runs {
        Ok(both) => both,
        Err(missing) => {
            let remark = format!("not run: {missing} did not fit the budget; --full runs it");
            return Ok(Claim::not_run(paper.title(), assertion.claim, names, side, remark));
        }
    };
    let before = baseline.row(assertion.baseline.row, &seeds)?;
    let after = treatment.row(assertion.treatment.row, &seeds)?;
    let remark = match (regimes, assertion.remark) {
        ([before, after], remark) if before == after => remark.to_string(),
        ([before, after], "") => format!("{after} against {before}"),
        ([before, after], remark) => format!("{after} against {before}: {remark}"),
    };
    compare(paper.title(), assertion.claim, names, side, &before, &after, &remark)
}

/// Both sides of a claim among the runs.
pub(super) struct Pair<'a> {
    /// As tables print them.
    pub names: [String; 2],
    /// The runs, or the model that was not trained.
    pub runs: Result<[&'a Runs; 2], &'static str>,
    /// Seeds that both have: a control has fewer.
    pub seeds: Vec<u64>,
    /// What the rows see.
    pub regimes: [&'a str; 2],
}

/// Finds both sides of a claim.
pub(super) fn pair<'a>(assertion: &Assertion, fitted: &Fitted, runs: &'a [Runs]) -> Pair<'a> {
    let cells = [assertion.baseline, assertion.treatment];
    let of = |cell: Cell| runs.iter().find(|runs| runs.name == cell.model);
    let regimes = cells.map(|cell| of(cell).and_then(|runs| runs.regime(cell.row)).unwrap_or(RAW));
    let names = [0, 1].map(|side| name(cells[side], regimes[side]));
    let [Some(baseline), Some(treatment)] = cells.map(of) else {
        let missing = cells
            .into_iter()
            .map(|cell| cell.model.split('+').next().unwrap_or(cell.model))
            .find(|model| fitted.dropped.iter().any(|dropped| dropped == model))
            .unwrap_or("a model of another paper");
        return Pair { names, runs: Err(missing), seeds: Vec::new(), regimes };
    };
    let seeds = baseline.seeds.iter().copied().filter(|seed| treatment.seeds.contains(seed)).collect();
    Pair { names, runs: Ok([baseline, treatment]), seeds, regimes }
}

/// A cell as tables print it: the model without its data's prefix, and the row's normaliser, whose settings stand in
/// the table of results. A raw row of a head that mixes test items says what it sees.
fn name(cell: Cell, regime: &str) -> String {
    let model = cell.model.trim_start_matches("world-").trim_start_matches("msrvtt476-");
    match cell.row.split(':').next().unwrap_or(cell.row) {
        RAW if regime != RAW => format!("{model}, {RAW}, {regime}"),
        normalizer => format!("{model}, {normalizer}"),
    }
}
