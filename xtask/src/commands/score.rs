//! `score`: any similarity matrix, normalised and judged.

use std::path::PathBuf;

use tvr_experiment::ExperimentError;
use tvr_experiment::recipe::EmclRecipe;
use tvr_experiment::score::{
    Figures, Given, NamedInterval, Policy, Report, Request, Resampling, RowFigures, Ties, Vectors, score,
    share,
};
use tvr_experiment::shard::Shard;

use crate::commands::merge;
use crate::count::count;
use crate::exit;
use crate::table::Table;

/// Draws of a bootstrap beyond which an interval gets no better.
const MOST_DRAWS: usize = 1_000_000;

const EXAMPLES: &str = "\
Examples:
  cargo xtask score --similarity S.npy
  cargo xtask score --similarity S.npy --normalize raw --normalize dual-softmax:temperature=1 \\
      --normalize sinkhorn:tau=1,iterations=50 --bootstrap 2000
  cargo xtask score --similarity NEW.npy --against OLD.npy --bootstrap 2000
  cargo xtask score --similarity run.safetensors:test --groups video_of_text.txt --json scores.json
  cargo xtask score --similarity S.npy --text-bank train_texts_by_videos.npy --normalize inverted-softmax:temperature=1
  cargo xtask score --similarity S.npy --text-bank B.npy --video-bank C.npy --normalize qb-norm:temperature=0.87,threshold=3
  cargo xtask score --similarity S.npy --val V.npy --normalize 'dual-softmax:temperature=0.5|1|2'
  cargo xtask score --texts f.safetensors:text --videos f.safetensors:frames --groups f.safetensors:text_video
  cargo xtask score --texts T.npy --videos V.npy --emcl tiles
  cargo xtask score --texts T.npy --videos V.npy --bank-texts B.npy --bank-videos C.npy --emcl bank:bases=32,sigma=1
  cargo xtask score --texts T.npy --videos V.npy --shard 0/4 --out 0.safetensors

The temperature is in the unit of the scores: 1 for logits (cosine times the trained scale), about 0.01 for cosines.
Rows marked transductive have seen the other test queries; compare them with transductive rows only.";

/// What may be asked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Scores [texts, videos], larger is better: .npy (f16, f32 or f64, any layout) or FILE.safetensors:KEY
    #[arg(long, value_name = "FILE", required_unless_present = "texts", conflicts_with_all = OF_VECTORS)]
    similarity: Option<String>,
    /// Vectors [texts, width] in place of scores: what is judged are cosines
    #[arg(long, value_name = "FILE", requires = "videos")]
    texts: Option<String>,
    /// Vectors [videos, width], or frames [videos, frames, width], of which each video's mean is taken
    #[arg(long, value_name = "FILE", requires = "texts")]
    videos: Option<String>,
    /// Vectors of training texts: with --bank-videos a bank for every normaliser, in place of the five below
    #[arg(long, value_name = "FILE", requires_all = ["texts", "bank_videos"], conflicts_with_all = BANKS)]
    bank_texts: Option<String>,
    /// Vectors of training videos
    #[arg(long, value_name = "FILE", requires_all = ["texts", "bank_texts"], conflicts_with_all = BANKS)]
    bank_videos: Option<String>,
    /// EMCL between vectors and cosines, without training: tiles, as published; everything; or bank. Settings follow as in
    /// a recipe's [eval.emcl.layer]: everything:bases=32,sigma=1,mode=paper; similarity=product judges products, as published
    #[arg(long, value_name = "SPEC", requires = "texts")]
    emcl: Option<EmclRecipe>,
    /// For each text the index of its video: .npy or FILE.safetensors:KEY of whole numbers, or text with one a line.
    /// Without it there are as many texts as videos, and text i belongs to video i
    #[arg(long, value_name = "FILE")]
    groups: Option<String>,
    /// Another system's scores of the same texts and videos, as --similarity: every row is set beside it, and with
    /// --bootstrap has the interval of the difference
    #[arg(long, value_name = "FILE")]
    against: Option<String>,
    /// A row of the table each: raw, dual-softmax:temperature=1, inverted-softmax:temperature=1,
    /// sinkhorn:tau=1,iterations=50; A+B applies B to what A gives [default: raw]
    #[arg(long, value_name = "SPEC")]
    normalize: Vec<String>,
    /// The same system's scores on val, to choose what a normaliser leaves open: dual-softmax:temperature=0.5|1|2
    #[arg(long, value_name = "FILE")]
    val: Option<String>,
    /// As --groups, for the texts of val
    #[arg(long, value_name = "FILE", requires = "val")]
    val_groups: Option<String>,
    /// Training texts against the test videos, [bank texts, videos]: used for T2V
    #[arg(long, value_name = "FILE")]
    text_bank: Option<String>,
    /// The test texts against training videos, [texts, bank videos]: used for V2T
    #[arg(long, value_name = "FILE")]
    video_bank: Option<String>,
    /// Training videos against the test videos, [bank videos, videos]: T2V's second bank, for dual-bank
    #[arg(long, value_name = "FILE")]
    gallery_bank: Option<String>,
    /// Training texts against the test texts, [bank texts, texts]: V2T's second bank, for dual-bank
    #[arg(long, value_name = "FILE")]
    gallery_bank_texts: Option<String>,
    /// Training texts against training videos, [bank texts, bank videos]: what dbsn adds to the banks
    #[arg(long, value_name = "FILE")]
    bank_similarity: Option<String>,
    /// What a score is multiplied with to be a logit (100 for CLIP's cosines); the normalisation error alone asks
    #[arg(long, value_name = "X", default_value_t = 1.0, allow_negative_numbers = true)]
    logit_scale: f32,
    /// Where the true item stands among items of the same score
    #[arg(long, value_name = "POLICY", default_value = "average",
          value_parser = ["average", "optimistic", "pessimistic", "reference"])]
    ties: String,
    /// What a NaN or infinite score does
    #[arg(long, value_name = "POLICY", default_value = "refuse", value_parser = ["refuse", "miss"])]
    non_finite: String,
    /// The K of R@K
    #[arg(
        long,
        value_name = "K,...",
        value_delimiter = ',',
        default_value = "1,5,10,50",
        allow_negative_numbers = true
    )]
    k: Vec<usize>,
    /// 95 % intervals over the queries from N resamplings, 100 at least; differences are paired with the first row
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    bootstrap: Option<usize>,
    /// Seed of the resampling [default: 0]
    #[arg(long, value_name = "SEED", requires = "bootstrap", allow_negative_numbers = true)]
    seed: Option<u64>,
    /// Also write the figures as JSON; - prints JSON in place of the table
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
    /// Also write the normalised matrices, two for each row, both [texts, videos]; the bias of each gallery item for
    /// methods in bias form; and how each item is represented before and after, to plot
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
    /// Score one share of N of the videos against all texts, and write its scores in place of judging; I counts from 0.
    /// merge joins them, score judges what is joined. A matrix that is there is only cut
    #[arg(long, value_name = "I/N", requires = "out", conflicts_with_all = JUDGING)]
    shard: Option<Shard>,
    /// The file of the share
    #[arg(long, value_name = "FILE", requires = "shard", conflicts_with_all = JUDGING)]
    out: Option<PathBuf>,
}

// clap drops what an option requires where that conflicts with another one given; so both name the conflict.

/// What has a meaning with vectors alone.
const OF_VECTORS: [&str; 5] = ["texts", "videos", "bank_texts", "bank_videos", "emcl"];

/// Matrices in place of which vectors of a bank are given.
const BANKS: [&str; 5] = ["text_bank", "video_bank", "gallery_bank", "gallery_bank_texts", "bank_similarity"];

/// What says how joined scores are judged.
const JUDGING: [&str; 18] = [
    "groups",
    "against",
    "normalize",
    "val",
    "val_groups",
    "text_bank",
    "video_bank",
    "gallery_bank",
    "gallery_bank_texts",
    "bank_similarity",
    "logit_scale",
    "ties",
    "non_finite",
    "k",
    "bootstrap",
    "seed",
    "json",
    "save",
];

/// Judges, writes, prints.
///
/// # Errors
/// As [`score`], or a file that cannot be written.
pub fn run(mut args: Args) -> Result<(), ExperimentError> {
    if let (Some(shard), Some(out)) = (args.shard, args.out.take()) {
        let written = share(&given(&mut args)?, shard, &out)?;
        return exit::print(&merge::scores_said(&out, &written));
    }
    let json = args.json.take();
    let request = request(args)?;
    let report = score(&request)?;
    for warning in &report.warnings {
        exit::say(&format!("warning: {warning}"));
    }
    exit::results(json.as_deref(), &report, &shown(&report, request.against.as_deref()))
}

fn request(mut args: Args) -> Result<Request, ExperimentError> {
    for (index, k) in args.k.iter().enumerate() {
        if *k == 0 {
            return Err(ExperimentError::request("--k: 0 is no rank; ranks count from 1"));
        }
        if args.k[..index].contains(k) {
            return Err(ExperimentError::request(format!("--k: {k} is given twice; keep one")));
        }
    }
    if !(args.logit_scale.is_finite() && args.logit_scale > 0.0) {
        let scale = args.logit_scale;
        return Err(ExperimentError::request(format!(
            "--logit-scale: {scale} is no scale; give a number above 0"
        )));
    }
    if args.bootstrap == Some(0) {
        return Err(ExperimentError::request("--bootstrap: 0 draws give no interval; 2000 are usual"));
    }
    if let Some(draws) = args.bootstrap.filter(|&draws| draws > MOST_DRAWS) {
        return Err(ExperimentError::request(format!(
            "--bootstrap: {draws} draws, but it takes at most {MOST_DRAWS}; 2000 are usual"
        )));
    }
    let given = given(&mut args)?;
    let policy = Policy {
        ties: args.ties.parse().map_err(|error| ExperimentError::request(format!("--ties: {error}")))?,
        non_finite: args
            .non_finite
            .parse()
            .map_err(|error| ExperimentError::request(format!("--non-finite: {error}")))?,
        cutoffs: args.k,
    };
    let bootstrap =
        args.bootstrap.map(|draws| Resampling { draws, seed: args.seed.unwrap_or(0), level: 0.95 });
    Ok(Request {
        groups: args.groups,
        against: args.against,
        normalize: args.normalize,
        val: args.val,
        val_groups: args.val_groups,
        text_bank: args.text_bank,
        video_bank: args.video_bank,
        gallery_bank: args.gallery_bank,
        gallery_bank_texts: args.gallery_bank_texts,
        bank_similarity: args.bank_similarity,
        logit_scale: args.logit_scale,
        policy,
        bootstrap,
        save: args.save,
        given,
    })
}

/// Takes what is judged out of the arguments.
fn given(args: &mut Args) -> Result<Given, ExperimentError> {
    match (args.similarity.take(), args.texts.take(), args.videos.take()) {
        (Some(similarity), ..) => Ok(Given::Similarity(similarity)),
        (None, Some(texts), Some(videos)) => {
            let bank = args.bank_texts.take().zip(args.bank_videos.take()).map(<[String; 2]>::from);
            Ok(Given::Vectors(Vectors { texts, videos, bank, emcl: args.emcl.take() }))
        }
        _ => Err(ExperimentError::request("nothing to judge; give --similarity, or --texts and --videos")),
    }
}

/// The table, with what a reader must know of it; `against` is the name of the other system's scores.
fn shown(report: &Report, against: Option<&str>) -> String {
    let Some(first) = report.rows.first() else { return String::new() };
    let metrics: Vec<String> = first
        .text_to_video
        .summary
        .recalls
        .iter()
        .map(|recall| format!("R@{}", recall.cutoff))
        .chain(["MdR".into(), "MnR".into(), "NE".into()])
        .collect();
    let rule = first.video_to_text.summary.rule();
    let mut table = Table::new(&["normalize", "regime"])
        .figures("T2V", metrics.clone())
        .figures(&format!("V2T {rule}"), metrics.clone());
    if first.video_to_text_best.is_some() {
        table = table.figures("V2T best", metrics.clone());
    }
    let other = against.unwrap_or(&first.normalize);
    for (index, row) in report.rows.iter().enumerate() {
        let sides = sides(row);
        let (text, video) = (row.text_to_video.regime, row.video_to_text.regime);
        let regime = if text == video { text.to_string() } else { format!("T2V {text}, V2T {video}") };
        let figures = sides.iter().flat_map(|side| cells(side));
        table.row([row.normalize.clone(), regime].into_iter().chain(figures).collect());
        let mut below = |label: String, of: &dyn Fn(&Figures) -> Option<NamedInterval>, sign: bool| {
            let cells: Vec<String> = sides
                .iter()
                .flat_map(|side| {
                    let named = of(side);
                    metrics.iter().map(move |metric| {
                        named.as_ref().and_then(|named| named.get(metric)).map_or(String::new(), |ends| {
                            if sign {
                                format!("[{:+.1}, {:+.1}]", ends[0], ends[1])
                            } else {
                                format!("[{:.1}, {:.1}]", ends[0], ends[1])
                            }
                        })
                    })
                })
                .collect();
            if cells.iter().any(|cell| !cell.is_empty()) {
                table.row([label, String::new()].into_iter().chain(cells).collect());
            }
        };
        below("  95 % interval".into(), &|side| side.interval.clone(), false);
        below(format!("  minus {other}"), &|side| side.difference.clone(), true);
        if let Some(row) = report.against.get(index) {
            let figures = self::sides(row).into_iter().flat_map(cells);
            table.row([format!("  {other}"), String::new()].into_iter().chain(figures).collect());
        }
    }
    let summary = &first.text_to_video.summary;
    let mut text = format!(
        "{}, {}; ties: {}; non-finite scores: {}\n\n{table}",
        count(summary.queries, "text"),
        count(first.video_to_text.summary.queries, "video"),
        report.ties,
        match report.non_finite {
            tvr_experiment::score::NonFinite::Refuse => "refused",
            tvr_experiment::score::NonFinite::Miss if report.ties == Ties::Reference =>
                "left out by these ties",
            tvr_experiment::score::NonFinite::Miss => "count as missed",
        }
    );
    text.push_str(&format!(
        "\nNE: normalisation error of the gallery, 0 is fair (NCL), at logit scale {}.\n",
        report.logit_scale
    ));
    if let Some(mixing) = &report.mixing {
        text.push_str(&format!("\nScores depend on other items: {mixing}.\n"));
    }
    if let Some([before, after]) = report.effective_ranks {
        text.push_str(&format!("Effective rank of the vectors: {before:.1}, after EMCL {after:.1}.\n"));
    }
    for (row, alternatives) in &report.chosen {
        text.push_str(&format!("\nChosen on val: {row}, among {alternatives}.\n"));
    }
    if let Some(resampling) = &report.bootstrap {
        text.push_str(&format!(
            "\nIntervals: bootstrap over queries{}, {} draws, seed {}; differences are paired.\n",
            if first.video_to_text_best.is_some() { ", captions of a video together" } else { "" },
            resampling.draws,
            resampling.seed
        ));
    }
    for path in &report.saved {
        text.push_str(&format!("\nsaved {}", path.display()));
    }
    if !report.saved.is_empty() {
        text.push('\n');
    }
    text
}

/// The directions of a row.
fn sides(row: &RowFigures) -> Vec<&Figures> {
    let best = row.video_to_text_best.as_ref();
    [Some(&row.text_to_video), Some(&row.video_to_text), best].into_iter().flatten().collect()
}

/// R@K with one decimal as in papers; the mean rank with three, so that nothing is lost at 1,000 queries.
fn cells(side: &Figures) -> Vec<String> {
    let summary = &side.summary;
    let error = side.normalisation_error.map_or("–".into(), |of| format!("{:.3}", of.error));
    let median = if summary.median_rank.fract() == 0.0 {
        format!("{:.0}", summary.median_rank)
    } else {
        format!("{:.1}", summary.median_rank)
    };
    summary
        .recalls
        .iter()
        .map(|recall| format!("{:.1}", recall.percent))
        .chain([median, format!("{:.3}", summary.mean_rank), error])
        .collect()
}
