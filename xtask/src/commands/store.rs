//! `store`: what is in a store of frames and features, whether it is sound, and tidying it up.

use std::path::PathBuf;

use clap::Subcommand;
use tvr_experiment::ExperimentError;
use tvr_experiment::stores::{collect, stat, verify};

use crate::count::count;
use crate::draw::draw;
use crate::exit;

/// What may be asked.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// The store
    #[arg(long, value_name = "DIR", default_value = "store", global = true)]
    store: PathBuf,
    /// Also write the figures as JSON; - prints JSON in place of the text
    #[arg(long, value_name = "FILE|-", global = true)]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Count what is in it
    Stat,
    /// Read all of it and compare checksums; exit code 1 if something is damaged
    Verify,
    /// Write it anew without what is doubled, damaged or torn
    Gc {
        /// Keep what belongs to videos of these lists alone; may be repeated
        #[arg(long, value_name = "MANIFEST")]
        keep: Vec<PathBuf>,
    },
}

/// Looks, and says what was found.
///
/// # Errors
/// A store that cannot be read; damage, for `verify`.
pub fn run(args: Args) -> Result<(), ExperimentError> {
    let json = args.json.as_deref();
    let place = args.store.display();
    let (text, value) = match &args.what {
        What::Stat => {
            let stat = stat(&args.store)?;
            let text = format!(
                "{place}: {} in {}, {:.1} MB; {} with frames, {} with features, {} say why there are none; \
                 {} doubled, {} bytes torn\n",
                count(stat.records, "record"),
                count(stat.shards, "shard"),
                stat.bytes as f64 / 1e6,
                stat.frames,
                stat.features,
                stat.faults,
                stat.doubled,
                stat.torn_bytes
            );
            (text, serde_json::to_value(exit::named("tvr-store-stat/1", &stat)))
        }
        What::Verify => {
            let records = verify(&args.store, &mut draw())?;
            let are = if records == 1 { "is" } else { "are" };
            (format!("{place}: {} {are} whole\n", count(records, "record")), serde_json::to_value(records))
        }
        What::Gc { keep } => {
            let done = collect(&args.store, keep)?;
            let text = format!(
                "{place}: {} kept, {} dropped; {:.1} MB before, {:.1} MB now\n",
                count(done.kept, "record"),
                done.dropped,
                done.bytes[0] as f64 / 1e6,
                done.bytes[1] as f64 / 1e6
            );
            (text, serde_json::to_value(exit::named("tvr-store-gc/1", &done)))
        }
    };
    let value =
        value.map_err(|cause| ExperimentError::work(format!("the figures cannot be JSON: {cause}")))?;
    exit::results(json, &value, &text)
}
