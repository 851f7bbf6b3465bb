//! Settings outside their domain, and sizes beyond all reason.

use super::*;

/// No step is counted, and nothing of that size is made.
#[test]
fn a_number_beyond_all_measure_is_refused_before_anything_is_made() {
    refused(
        &example().replace("epochs = 20", "epochs = 9000000000000000000"),
        "recipes/x.toml: train.epochs = 9000000000000000000 of 62 steps each are more steps than can be counted; lower it",
    );
    refused(
        &example().replace("evaluations = 4", "evaluations = 9000000000000000000"),
        "recipes/x.toml: train.evaluations = 9000000000000000000, but it must be at most 1000000",
    );
    let rows = "[\"raw\", \"dual-softmax:temperature=1\", \"sinkhorn:tau=1,iterations=50\"]";
    refused(&example().replace(rows, "[]"), "eval.normalize is empty; name at least one row");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../recipes");
    let videos = std::fs::read_to_string(folder.join("clip-mean-pooling.toml")).unwrap();
    refused(
        &videos.replace("frames=12", "frames=9000000000000000000"),
        "recipes/x.toml: data.sampler = \"rate:1,frames=9000000000000000000,cut=uniform\" pads every video to more than \
         100000 frames; lower their number",
    );
}

#[test]
fn an_optimiser_s_settings_are_refused_by_name() {
    let rate = "learning_rate = 3e-3\ntower_learning_rate = 1e-3";
    let bert = "kind = \"bert-adam\"";
    for (kind, setting, message) in [
        ("kind = \"adamw\"", "epsilon = -inf", "epsilon = -inf, but it must be a number above 0"),
        ("kind = \"adamw\"", "epsilon = inf", "epsilon = inf, but it must be a number above 0"),
        ("kind = \"adamw\"", "betas = [2.0, 0.9]", "betas[0] = 2, but it must be at least 0 and below 1"),
        ("kind = \"adamw\"", "betas = [0.9, 1.0]", "betas[1] = 1, but it must be at least 0 and below 1"),
        (
            "kind = \"adamw\"",
            "weight_decay = -100.0",
            "weight_decay = -100, but it must be a number of at least 0",
        ),
        ("kind = \"adamw\"", "warmup_share = 1.0", "warmup_share = 1, but it must be at least 0 and below 1"),
        (bert, "warmup_share = -1.0", "warmup_share = -1, but it must be at least 0 and below 1"),
        (bert, "tower_coefficient = -1.0", "tower_coefficient = -1, but it must be a number of at least 0"),
        (bert, "weight_decay = nan", "weight_decay = NaN, but it must be a number of at least 0"),
        (bert, "learning_rate = 0.0", "learning_rate = 0, but it must be a number above 0"),
    ] {
        let text = example().replace(&format!("kind = \"adamw\"\n{rate}"), &format!("{kind}\n{setting}"));
        let text = match setting.contains("learning_rate") || kind == bert {
            true => text,
            false => text.replace(setting, &format!("{setting}\nlearning_rate = 3e-3")),
        };
        refused(&text, &format!("train.optimizer.{message}"));
    }
    let world = |rate: &str| {
        example().replace("[encoder]\nkind = \"world\"", &format!("[encoder]\nkind = \"world\"\n{rate}"))
    };
    for rate in ["0.0", "-1.0", "inf"] {
        let rate = format!("pretrain_learning_rate = {rate}");
        refused(&world(&rate), "encoder.pretrain_learning_rate = ");
    }
}

/// Before towers are trained, or memory is asked for that no machine has.
#[test]
fn a_size_beyond_all_reason_is_refused_by_name() {
    let encoder = |setting: &str| {
        example().replace("[encoder]\nkind = \"world\"", &format!("[encoder]\nkind = \"world\"\n{setting}"))
    };
    refused(
        &encoder("pretrain_batch = 1000000000"),
        "encoder.pretrain_batch = 1000000000, but it must be at most 32768",
    );
    refused(
        &example().replace("hidden_factor = 2", "hidden_factor = 1000000000"),
        "hidden_factor = 1000000000, but",
    );
    let head =
        |text: &str| example().replace("kind = \"mean-pooling\"\n\n[head.adapter]\nhidden_factor = 2", text);
    for (kind, more) in [("seq-transf", ""), ("tight-transf", "\ndropout = 0.0")] {
        let with = |layers: usize, frames: usize| {
            head(&format!("kind = \"{kind}\"\nlayers = {layers}\nheads = 2\nmax_frames = {frames}{more}"))
        };
        refused(&with(1_000_000, 12), &format!("{kind}: layers = 1000000, but it must be at most 1,024"));
        let message = format!("{kind}: max_frames = 1000000000000, but it must be at most 65,536");
        refused(&with(1, 1_000_000_000_000), &message);
    }
    let emcl = |setting: &str| {
        let layer =
            format!("[head.emcl]\nmode = \"reference\"\nsigma = 1.0\nweight = 3.0\n{setting}\n\n[objective]");
        example().replace("[objective]", &layer)
    };
    refused(
        &emcl("bases = 1000000000\niterations = 9"),
        "emcl: bases = 1000000000, but it must be at most 65,536",
    );
    refused(
        &emcl("bases = 8\niterations = 100000"),
        "emcl: iterations = 100000, but it must be at most 10,000",
    );
    let objective = |text: &str| example().replace("kind = \"symmetric\"", text);
    for (setting, most) in
        [("layers", "1,024"), ("width", "65,536"), ("prefix", "1,024"), ("max_tokens", "65,536")]
    {
        let whole = ["layers", "width", "heads", "prefix", "max_tokens"].map(|key| {
            let value = if key == setting { 1_000_000_000 } else { 4 };
            format!("{key} = {value}")
        });
        let text = format!("kind = \"support-set\"\n[objective.decoder]\n{}", whole.join("\n"));
        let message = format!("decoder.{setting} = 1000000000, but it must be at most {most}");
        refused(&objective(&text), &message);
    }
}

/// They would run for ever.
#[test]
fn iterations_beyond_all_reason_are_refused_by_name() {
    let objective = |text: &str| example().replace("kind = \"symmetric\"", text);
    refused(
        &objective("kind = \"ncl\"\nsweeps = 100000"),
        "ncl: sweeps = 100000, but it must be at most 10,000",
    );
    let normaliser = |spec: &str| example().replace("sinkhorn:tau=1,iterations=50", spec);
    for method in ["sinkhorn", "single-query", "dbsn"] {
        let message = format!("eval.normalize: {method}: iterations = 100000, but it must be at most 10,000");
        refused(&normaliser(&format!("{method}:tau=1,iterations=100000")), &message);
    }
}

/// Of a mistyped name nothing would ever be said.
#[test]
fn a_band_that_no_figure_can_be_compared_with_is_refused() {
    let expect = |band: &str| format!("{}\n[eval.expect]\n{band}\n", example());
    for name in ["raw.t2v.R@1", "raw.text_to_video.R@2", "rwa.text_to_video.R@1", "R@1"] {
        refused(
            &expect(&format!("\"{name}\" = [0, 1]")),
            &format!("eval.expect: no figure is called \"{name}\""),
        );
    }
    for band in ["[5.0, 1.0]", "[nan, inf]", "[0.0, nan]"] {
        let band = format!("\"raw.text_to_video.R@1\" = {band}");
        refused(&expect(&band), "a band has its lower end first, and both are numbers");
    }
    let good = expect("\"dual-softmax:temperature=0.5.video_to_text.MnR\" = [1, inf]");
    plan(&Recipe::parse(&good).unwrap(), Path::new("recipes/x.toml"), &Surroundings::default()).unwrap();
}
