//! `verify`: the parity certificate of a checkpoint.

use std::path::PathBuf;

use tvr_experiment::ExperimentError;
use tvr_experiment::device::{DEFAULT_DEVICE, DEVICE_HELP};
use tvr_experiment::verify::{Certificate, Precision, Request, verify};

use crate::draw::draw;
use crate::exit;
use crate::table::Table;

const EXAMPLES: &str = "\
Examples:
  cargo xtask verify --weights crates/tvr-clip/tests/fixtures/clip
  python scripts/reference/clip.py --weights DIR --out golden/DIR
  cargo xtask verify --weights DIR --golden golden/DIR --json certificate.json
  cargo xtask verify --weights DIR --golden golden/DIR --dtype bf16";

/// What may be asked.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The checkpoint: a Hugging Face or OpenCLIP folder, or OWNER/NAME on the hub (feature `hub`)
    #[arg(long, value_name = "DIR|NAME")]
    weights: String,
    /// A folder with tokenizer and preprocessor_config.json, for weights that come without [default: that of --weights]
    #[arg(long, value_name = "DIR")]
    processor: Option<PathBuf>,
    /// Golden tensors, texts and pictures, as scripts/reference/clip.py makes them [default: the checkpoint's folder]
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,
    #[arg(long, default_value = DEFAULT_DEVICE, help = format!("The device: {DEVICE_HELP}"))]
    pub(super) device: String,
    /// Type of the weights in memory: f32, f16 or bf16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    dtype: Precision,
    /// Also write the certificate as JSON; - prints JSON in place of the table
    #[arg(long, value_name = "FILE|-")]
    json: Option<PathBuf>,
}

/// Compares, writes, prints.
///
/// # Errors
/// As [`verify`], or a stage beyond its tolerance.
pub fn run(args: Args) -> Result<(), ExperimentError> {
    let Args { weights, processor, golden, device, dtype, json } = args;
    let request = Request { weights, processor, golden, device, precision: dtype };
    let certificate = verify(&request, &mut draw())?;
    exit::results(json.as_deref(), &certificate, &shown(&certificate))?;
    let beyond: Vec<&str> =
        certificate.lines.iter().filter(|line| !line.holds()).map(|line| line.stage).collect();
    if certificate.holds() {
        return Ok(());
    }
    Err(ExperimentError::work(format!(
        "{}: not at parity with the reference: {}",
        certificate.weights.display(),
        if beyond.is_empty() { "nothing could be compared".to_owned() } else { beyond.join(", ") }
    )))
}

/// The table, with what a reader must know of it.
fn shown(certificate: &Certificate) -> String {
    let mut table = Table::new(&["stage", "", "worst tensor", "nearest its tolerance"]).figures(
        "",
        ["tensors", "values", "largest error", "nearest's error", "tolerance"].map(String::from).to_vec(),
    );
    for line in &certificate.lines {
        table.row(vec![
            line.stage.to_owned(),
            if line.holds() { "holds" } else { "BEYOND" }.to_owned(),
            line.worst.clone(),
            line.nearest.clone(),
            line.tensors.to_string(),
            line.values.to_string(),
            figure(line.largest),
            figure(line.error),
            figure(line.tolerance),
        ]);
    }
    let reference: Vec<String> =
        certificate.reference.iter().map(|(what, version)| format!("{what} {version}")).collect();
    let mut text = format!(
        "{}\nweights SHA-256 {}\ndevice {}, {}; reference: {}\n\n{table}",
        certificate.weights.display(),
        certificate.sha256,
        certificate.device,
        certificate.dtype,
        reference.join(", ")
    );
    for left_out in &certificate.left_out {
        text.push_str(&format!("\nnot compared: {left_out}"));
    }
    if !certificate.left_out.is_empty() {
        text.push('\n');
    }
    text
}

fn figure(value: f64) -> String {
    if value == 0.0 { "0".to_owned() } else { format!("{value:.1e}") }
}
