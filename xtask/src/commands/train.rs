//! `train`: one recipe, a run folder for each seed.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tvr_experiment::collective::launch::{self, Place};
use tvr_experiment::collective::{Process, open_in_turn, processes};
use tvr_experiment::device::{self, DEFAULT_DEVICE};
use tvr_experiment::{
    Event, ExperimentError, Own, Plan, Recipe, Surroundings, experiment, plan,
    plan::PATIENCE,
    record::{FIGURES, Record, half_width},
    train::check_folder,
    weights,
};

use crate::apart;
use crate::draw::draw;
use crate::exit;
use crate::table::Table;

/// Train a recipe and judge it.
///
/// Examples:
///   cargo xtask train recipes/msrvtt476-mean-pooling.toml
///   cargo xtask train recipes/world-seq-transf.toml --set train.steps=200 --set name=short
///   cargo xtask train recipes/world-seq-transf.toml --resume
///   cargo xtask train recipes/world-seq-transf.toml --devices flex:2
///   mpirun -n 2 target/debug/xtask train recipes/world-seq-transf.toml   (built with --features mpi)
#[derive(clap::Args, Debug)]
#[command(verbatim_doc_comment)]
pub struct Args {
    /// The recipe, a TOML file.
    pub recipe: PathBuf,
    /// Set one key by its dotted path, as train.steps=20; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Go on where the newest whole checkpoint stands.
    #[arg(long)]
    pub resume: bool,
    /// Where to write the run folders.
    #[arg(long, default_value = "runs")]
    pub runs: PathBuf,
    /// Where towers and features are cached.
    #[arg(long, default_value = "cache")]
    pub cache: PathBuf,
    /// The device, or several that share each batch: flex:2, cuda:0-3, or names with commas between.
    #[arg(long, alias = "device", value_name = "D", default_value = DEFAULT_DEVICE)]
    pub devices: String,
    /// How long devices wait for one another before all stop; longer than a look at val takes, and, of several processes, the
    /// judging at the end. Time in which the run was stopped (Ctrl-Z) does not count.
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE.as_secs(), allow_negative_numbers = true,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub patience: u64,
    /// Write the records as JSON to this file, or to stdout with "-".
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a line on stderr for every step; scripts that watch a run read it.
    #[arg(long)]
    pub log_steps: bool,
}

impl Args {
    /// The checked plan.
    ///
    /// # Errors
    /// A recipe that does not plan, or reads what `--json` would write over.
    pub fn plan(&self) -> Result<Plan, ExperimentError> {
        self.plan_on(&self.devices, &mut draw())
    }

    fn plan_on(&self, devices: &str, events: &mut dyn FnMut(Event)) -> Result<Plan, ExperimentError> {
        let mut recipe = Recipe::read(&self.recipe)?;
        apply(&mut recipe, &self.set)?;
        apart::from_recipe(&recipe, &[("json", self.json.as_deref())])?;
        weights::fetch(&recipe, events)?;
        let surroundings =
            Surroundings { runs: self.runs.clone(), cache: self.cache.clone(), device: devices.into() };
        let planned = plan(&recipe, &self.recipe, &surroundings)?;
        Ok(Plan { patience: self.patience(), ..planned })
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}

/// Applies `--set KEY=VALUE`s.
///
/// # Errors
/// A pair without "=", an unknown key or a value of the wrong type.
pub fn apply(recipe: &mut Recipe, set: &[String]) -> Result<(), ExperimentError> {
    for pair in set {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            ExperimentError::request(format!("--set {pair}: write KEY=VALUE, as train.steps=20"))
        })?;
        recipe.set(key, value)?;
    }
    Ok(())
}

/// Runs the command; started by a launcher as one of several processes, as one rank among them.
///
/// # Errors
/// What the plan, the data or the run says.
pub fn run(args: &Args, stop: &'static AtomicBool) -> Result<(), ExperimentError> {
    let place = launch::place(&|name| std::env::var(name).ok())?;
    let Some(place) = place.filter(|place| place.size > 1) else {
        let (plan, records) = trained(args, stop)?;
        return report(args, &plan, &records);
    };
    let work = |ranks: &dyn Process| {
        let (plan, records) = trained_among(ranks, place, args, stop)?;
        if place.rank == 0 { report(args, &plan, &records) } else { Ok(()) }
    };
    // A process that fails ends here, so it is here that a device's own words must be known.
    let guarded = |ranks: &dyn Process| device::guarded(&args.devices, || work(ranks));
    processes::run(place, args.patience(), exit::complain, guarded)
}

/// What there is to say before towers are trained and videos decoded in vain.
fn check(args: &Args, plan: &Plan) -> Result<(), ExperimentError> {
    plan.recipe.seeds.iter().try_for_each(|&seed| check_folder(plan, seed, args.resume))?;
    if let Some(cap) = plan.recipe.train.steps.filter(|&cap| cap > plan.steps) {
        exit::say(&format!(
            "note: train.steps = {cap} is a cap, and train.epochs = {} are {} steps; raise epochs for more",
            plan.recipe.train.epochs, plan.steps
        ));
    }
    Ok(())
}

/// What was run, and the record of every seed.
fn trained(args: &Args, stop: &AtomicBool) -> Result<(Plan, Vec<Record>), ExperimentError> {
    let plan = args.plan()?;
    check(args, &plan)?;
    let mut log = listener(args.log_steps);
    let opened = experiment::open(&plan, stop, &mut log)?;
    let mut records = Vec::new();
    for &seed in &plan.recipe.seeds {
        records.push(
            experiment::run(&plan, &opened, &Own::built_in(), seed, args.resume, stop, &mut log)?.record,
        );
    }
    Ok((plan, records))
}

/// The same as one rank of several processes; rank 0 talks and has the records.
fn trained_among(
    ranks: &dyn Process,
    place: Place,
    args: &Args,
    stop: &AtomicBool,
) -> Result<(Plan, Vec<Record>), ExperimentError> {
    let mut log = listener(args.log_steps);
    let mut silent = |_: Event| ();
    let log: &mut dyn FnMut(Event) = if place.rank == 0 { &mut log } else { &mut silent };
    // Rank 0 first here too: a checkpoint may have to be downloaded.
    let plan = |events: &mut dyn FnMut(Event)| {
        let plan = args.plan_on(&device::of_place(&args.devices, place)?, events)?;
        plan.of_process(place.size, &args.devices)
    };
    let plan = open_in_turn(ranks, args.patience(), log, plan)?;
    if place.rank == 0 {
        check(args, &plan)?;
    }
    let open = |events: &mut dyn FnMut(Event)| experiment::open(&plan, stop, events);
    let opened = open_in_turn(ranks, plan.patience, log, open)?;
    let mut records = Vec::new();
    for &seed in &plan.recipe.seeds {
        let outcome =
            experiment::run_among(ranks, &plan, &opened, &Own::built_in(), seed, args.resume, stop, log)?;
        records.extend(outcome.map(|outcome| outcome.record));
        ranks.barrier("the end of a seed")?;
    }
    Ok((plan, records))
}

/// Draws events and, if asked for, logs steps.
fn listener(log_steps: bool) -> impl FnMut(Event) {
    let mut events = draw();
    move |event| {
        if let (true, Event::Step { done, .. }) = (log_steps, &event) {
            exit::say(&format!("step {done}"));
        }
        events(event);
    }
}

fn report(args: &Args, plan: &Plan, records: &[Record]) -> Result<(), ExperimentError> {
    for record in records {
        for warning in &record.warnings {
            exit::say(&format!("warning: seed {}: {warning}", record.seed));
        }
        for (band, [low, high]) in &plan.recipe.eval.expect {
            match record.metric(band) {
                Some(value) if (*low..=*high).contains(&value) => {}
                Some(value) => exit::say(&format!(
                    "note: {band} is {value:.2} with seed {}, outside the recipe's band {low} to {high}",
                    record.seed
                )),
                None => exit::say(&format!(
                    "note: eval.expect: no row of seed {} has {band}; rows are as in eval.normalize",
                    record.seed
                )),
            }
        }
    }
    exit::results(args.json.as_deref(), &records, &shown(records))
}

/// One table of the records, with the mean over seeds and half of its 95 % interval (Student t).
pub fn shown(records: &[Record]) -> String {
    let titles = || FIGURES.map(String::from).to_vec();
    let mut table = Table::new(&["normalize", "regime", "seed"])
        .figures("T2V", titles())
        .figures("V2T grouped", titles());
    let rows = records.first().map_or(0, |record| record.test.len());
    for index in 0..rows {
        let mut columns = vec![Vec::new(); 10];
        let mut label = (String::new(), String::new());
        for record in records {
            let row = &record.test[index];
            let figures: Vec<f64> = [&row.text_to_video, &row.video_to_text]
                .iter()
                .flat_map(|metrics| FIGURES.map(|name| metrics.get(name).copied().unwrap_or(f64::NAN)))
                .collect();
            for (column, figure) in columns.iter_mut().zip(&figures) {
                column.push(*figure);
            }
            label = (row.normalize.clone(), row.regime.clone());
            table.row(cells(&label, record.seed.to_string(), &figures));
            // Seeds may have chosen differently; their mean bears the name of what they chose among.
            if let Some(alternatives) = record.chosen.get(&row.normalize) {
                label.0.clone_from(alternatives);
            }
        }
        if records.len() > 1 {
            let means: Vec<f64> =
                columns.iter().map(|column| column.iter().sum::<f64>() / column.len() as f64).collect();
            let halves: Vec<f64> = columns.iter().filter_map(|column| half_width(column)).collect();
            table.row(cells(&label, "mean".to_string(), &means));
            table.row(cells(&label, "±".to_string(), &halves));
        }
    }
    let mut text = table.to_string();
    for record in records {
        for (row, alternatives) in &record.chosen {
            text.push_str(&format!("chosen on val, seed {}: {row}, among {alternatives}\n", record.seed));
        }
        if let Some([before, after]) = record.effective_ranks {
            let seed = record.seed;
            text.push_str(&format!(
                "effective rank of the vectors, seed {seed}: {before:.1}, after EMCL {after:.1}\n"
            ));
        }
        for (name, value) in &record.beside {
            text.push_str(&format!("{name}, seed {}: {value:.1}\n", record.seed));
        }
    }
    text
}

fn cells(label: &(String, String), seed: String, figures: &[f64]) -> Vec<String> {
    let mut cells = vec![label.0.clone(), label.1.clone(), seed];
    cells.extend(figures.iter().map(|figure| format!("{figure:.1}")));
    cells
}
