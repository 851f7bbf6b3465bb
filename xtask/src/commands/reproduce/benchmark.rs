//! `reproduce PAPER --dataset NAME`: what is there, what papers report, and what was measured beside it.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use tvr_experiment::doctor::Benchmark;
use tvr_experiment::record::FIGURES;
use tvr_experiment::reproduce::benchmark::{Beside, Outcome, Planned, Request, Size, look};
use tvr_experiment::reproduce::published::{Direction, Known, Published};
use tvr_experiment::{ExperimentError, Surroundings};

use super::Args;
use crate::commands::prepare::doctor;
use crate::count::count;
use crate::draw::draw;
use crate::exit;
use crate::table::Table;

/// What the arguments ask for.
pub(super) fn request(args: &Args, benchmark: Benchmark) -> Request {
    Request {
        benchmark,
        paper: args.paper,
        data_root: args.data_root.clone(),
        annotations: args.annotations.clone(),
        quarantine: args.quarantine.clone(),
        weights: args.weights.clone(),
        store: args.store.clone(),
    }
}

/// Looks, says what is missing, and runs on what is there.
pub(super) fn run(
    request: &Request,
    args: &Args,
    surroundings: &Surroundings,
    stop: &'static AtomicBool,
) -> Result<(), ExperimentError> {
    let quiet = exit::is_stdout(args.json.as_deref());
    let prospect = look(request, surroundings, stop, &mut draw())?;
    if !quiet {
        if let Some(examination) = prospect.examination() {
            exit::print(&format!("{}\n", doctor::said(examination)))?;
        }
        if let Some(size) = prospect.size() {
            exit::print(&small(request.benchmark, prospect.protocol().name, &size))?;
        }
        for missing in &prospect.missing {
            exit::print(&format!("missing: {missing}\n"))?;
        }
    }
    if !prospect.missing.is_empty() {
        if !quiet {
            exit::print(&format!("\n{}", published("published", &prospect.published)))?;
        }
        let count = prospect.missing.len();
        return Err(ExperimentError::work(format!(
            "{}: nothing can run: {}",
            request.benchmark,
            match prospect.missing.as_slice() {
                [one] => one.clone(),
                _ => format!("{count} things are missing, as listed"),
            }
        )));
    }
    let outcome = prospect.run(surroundings, stop, &mut draw())?;
    let written = surroundings.runs.join("reproduce.json");
    let text = format!("\n{}written: {}\n", shown(&outcome), written.display());
    exit::results(args.json.as_deref(), &outcome, &text)
}

/// How much of the protocol is here.
fn small(benchmark: Benchmark, protocol: &str, size: &Size) -> String {
    let held_out = if size.val_held_out { " held out of train, since the protocol has no val" } else { "" };
    let mut text = format!(
        "{benchmark} {protocol}: {} of {} training clips, {} val clips{held_out}, {} of {} test clips: {}\n",
        size.train + if size.val_held_out { size.val } else { 0 },
        size.train_listed,
        size.val,
        size.test,
        size.test_listed,
        size.known_as
    );
    if !size.copies.is_empty() {
        // One may show what several show.
        let clips: BTreeSet<&String> = size.copies.iter().map(|[test, _]| test).collect();
        let show = if clips.len() == 1 { "shows" } else { "show" };
        text.push_str(&format!("{} {show} what a training clip shows\n", count(clips.len(), "test clip")));
    }
    text
}

fn figures(direction: &Direction, band: Option<f64>) -> Vec<String> {
    let text = |(index, value): (usize, &Option<f64>)| match (value, band.filter(|_| index == 0)) {
        (Some(value), Some(band)) => format!("{value:.1} ± {band:.1}"),
        (Some(value), None) => format!("{value:.1}"),
        (None, _) => "-".to_owned(),
    };
    direction.iter().enumerate().map(text).collect()
}

fn titles() -> Vec<String> {
    FIGURES.map(String::from).to_vec()
}

fn shown(outcome: &Outcome) -> String {
    let mut text = small(outcome.benchmark, outcome.protocol, &outcome.size);
    text.push_str(&format!("weights: {}\n\n", outcome.weights));
    for Planned { recipe, steps, batch, seeds, fitted, .. } in &outcome.planned {
        text.push_str(&format!("{recipe}: {steps} steps of {batch} pairs, seeds {seeds:?}"));
        for change in fitted {
            text.push_str(&format!("; {change}"));
        }
        text.push('\n');
    }
    let mut table = Table::new(&["by", "model", "normalize", "regime"])
        .figures("T2V", titles())
        .figures("V2T grouped", titles())
        .figures("R@1 in the band of the published", ["T2V", "V2T"].map(String::from).to_vec());
    for row in &outcome.rows {
        let Beside { recipe, normalize, regime, text_to_video, video_to_text, bands, published } = row;
        let mut cells = vec!["tvr".into(), (*recipe).into(), normalize.clone(), regime.clone()];
        cells.extend(figures(text_to_video, Some(bands[0])));
        cells.extend(figures(video_to_text, Some(bands[1])));
        table.row(cells);
        for verdict in published {
            let mut cells = vec![by(verdict.row), verdict.row.model.to_owned(), String::new(), String::new()];
            cells.extend(figures(&verdict.row.text_to_video, verdict.bands[0]));
            cells.extend(figures(&verdict.row.video_to_text, verdict.bands[1]));
            cells.extend(verdict.said.clone());
            table.row(cells);
        }
    }
    text.push_str(&format!("\n{table}\n"));
    text.push_str(
        "±: half of the 95 % band of R@1 that the number of queries alone leaves open; one run, one gallery.\n\
         Transductive rows see the other test queries; compare them with transductive rows only.\n",
    );
    if outcome
        .rows
        .iter()
        .any(|row| row.published.iter().any(|verdict| verdict.row.known == Known::Unverified))
    {
        text.push_str("[M]: from memory, never judged by.\n");
    }
    if !outcome.others.is_empty() {
        text.push_str(&format!(
            "\n{}",
            published("published, of models that are not trained here", &outcome.others)
        ));
    }
    text
}

/// How a published row is known, and where it stands.
fn by(row: &Published) -> String {
    format!("{} {}", row.known.tag(), row.source)
}

fn published(title: &str, rows: &[&'static Published]) -> String {
    let mut table = Table::new(&[title, "known"]).figures("T2V", titles()).figures("V2T", titles());
    for row in rows {
        let mut cells = vec![row.model.to_owned(), by(row)];
        cells.extend(figures(&row.text_to_video, None));
        cells.extend(figures(&row.video_to_text, None));
        table.row(cells);
    }
    format!(
        "{table}[C] read in the authors' repository, [S] second-hand, in the table named, [M] from memory\n"
    )
}
