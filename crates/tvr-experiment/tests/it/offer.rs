//! What does not fit is refused before data are read, with the reason and the mend.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use burn::module::Module;
use burn::prelude::*;
use tvr_experiment::{Offer, Own, Plan, Recipe, Surroundings, experiment, plan};
use tvr_heads::experts::ExpertInput;
use tvr_heads::{
    Head, MeanPooling, MeanPoolingConfig, Needs, Similarity, TextCodes, TextFeatures, VideoCodes,
    VideoFeatures,
};
use tvr_objectives::SymmetricConfig;

const RECIPE: &str = r#"
name = "small"
[data]
kind = "features"
path = "DATA"
[encoder]
kind = "words"
width = 16
embedding = 8
least = 2
[head]
kind = "mean-pooling"
[objective]
kind = "symmetric"
[train]
batch = 8
epochs = 40
evaluations = 2
[train.optimizer]
kind = "adamw"
learning_rate = 2e-2
"#;

/// A folder of made-up features and the recipe over it.
fn made_up() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    crate::made_up::write(&data, 24, 8, 8);
    let recipe = RECIPE.replace("DATA", data.to_str().unwrap());
    (folder, recipe)
}

fn planned(folder: &Path, recipe: &str) -> Result<Plan, String> {
    let surroundings =
        Surroundings { runs: folder.join("runs"), cache: folder.join("cache"), device: "flex".into() };
    let planned = Recipe::parse(recipe).and_then(|recipe| plan(&recipe, Path::new("x.toml"), &surroundings));
    planned.map_err(|error| {
        assert_eq!(error.exit_code(), 2, "{error}");
        error.to_string()
    })
}

/// A head that asks for whatever it is told to ask for.
#[derive(Module, Debug)]
struct Asking {
    inner: MeanPooling,
    #[module(skip)]
    tokens: bool,
    #[module(skip)]
    streams: Vec<&'static str>,
    #[module(skip)]
    experts: Vec<ExpertInput>,
    #[module(skip)]
    frames: bool,
}

impl Asking {
    fn nothing() -> Self {
        let inner = MeanPoolingConfig::reference().init(16, &Device::flex()).unwrap();
        Self { inner, tokens: false, streams: Vec::new(), experts: Vec::new(), frames: true }
    }

    fn experts(names: &[&str]) -> Self {
        let of = |name: &&str| ExpertInput { name: name.to_string(), width: crate::made_up::HIDDEN };
        Self { experts: names.iter().map(of).collect(), ..Self::nothing() }
    }
}

impl Head for Asking {
    fn needs(&self) -> Needs {
        Needs {
            frames: self.frames,
            tokens: self.tokens,
            streams: self.streams.clone(),
            experts: self.experts.clone(),
            ..Needs::default()
        }
    }
    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        self.needs().check_videos(&videos).unwrap();
        self.inner.code_videos(videos)
    }
    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        self.needs().check_texts(&texts).unwrap();
        self.inner.code_texts(texts)
    }
    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        self.inner.similarity(texts, videos)
    }
}

#[track_caller]
fn refused(offer: &Offer, recipe: &str, head: &Asking, message: &str) {
    let objective = SymmetricConfig::ours().init().unwrap();
    let error = offer.check(&Recipe::parse(recipe).unwrap(), head, &objective).unwrap_err();
    assert_eq!((error.to_string().as_str(), error.exit_code()), (message, 2));
}

#[test]
fn a_head_is_refused_for_what_its_encoder_does_not_have() {
    let (folder, words) = made_up();
    let projection =
        words.replace("kind = \"words\"", "kind = \"projection\"").replace("embedding = 8\nleast = 2\n", "");
    let vectors = planned(folder.path(), &projection).unwrap().offer;
    let tokens = Asking { tokens: true, ..Asking::nothing() };
    refused(
        &vectors,
        &projection,
        &tokens,
        "[head] needs a vector per token, but encoder.kind = \"projection\" has one vector per caption; use \
         encoder.kind = \"words\"",
    );
    let streams = Asking { streams: vec!["entity"], ..Asking::nothing() };
    refused(
        &vectors,
        &projection,
        &streams,
        "[head] needs the text stream \"entity\", but encoder.kind = \"projection\" has one vector per caption; use \
         encoder.kind = \"words\"",
    );
    let offer = planned(folder.path(), &words).unwrap().offer;
    assert!(offer.tokens && offer.vocabulary.is_some());
    refused(
        &offer,
        &words,
        &Asking { streams: vec!["smell"], ..Asking::nothing() },
        "[head] needs the text stream \"smell\", but encoder.kind = \"words\" has entity, action, scene, fusion",
    );
    refused(
        &offer,
        &words,
        &Asking::experts(&["motion", "smell"]),
        "[head] needs the expert \"smell\", but the data has motion, sound",
    );
    let bare = Offer { experts: Vec::new(), ..offer };
    refused(
        &bare,
        &words,
        &Asking::experts(&["smell"]),
        "[head] needs the expert \"smell\", but the data has none",
    );
}

#[test]
fn a_head_gets_what_it_asks_for_and_trains() {
    let _alone = crate::run::generator();
    let (folder, words) = made_up();
    let plan = planned(folder.path(), &words).unwrap();
    let head = Asking { tokens: true, streams: vec!["fusion", "action"], ..Asking::experts(&["sound"]) };
    let own = Own::new("asking", |_| Ok((head.clone(), SymmetricConfig::ours().init().unwrap())));
    let never = AtomicBool::new(false);
    // Opened without what the head asks for, its streams would pass for those that no text has.
    let poor = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    let error = experiment::run(&plan, &poor, &own, 0, false, &never, &mut |_| ()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "[head] asks for the stream \"fusion\", but the data were opened without it; open them with the plan of this head (Plan::with)"
    );
    let plan = plan.with(&own).unwrap();
    let opened = experiment::open(&plan, &never, &mut |_| ()).unwrap();
    assert_eq!(opened.train.streams.len(), 2);
    let outcome = experiment::run(&plan, &opened, &own, 0, false, &never, &mut |_| ()).unwrap();
    let recall = outcome.record.metric("raw.text_to_video.R@1").unwrap();
    assert!(recall >= 50.0, "chance is 12.5, found {recall}");
}

#[test]
fn a_video_without_any_expert_is_refused_by_name_when_it_is_opened() {
    let (folder, words) = made_up();
    let plan = planned(folder.path(), &words).unwrap();
    let open = |head: &Asking| {
        let own = Own::new("asking", |_| Ok((head.clone(), SymmetricConfig::ours().init().unwrap())));
        let plan = plan.with(&own).unwrap();
        experiment::open(&plan, &AtomicBool::new(false), &mut |_| ()).map(|_| ()).map_err(|e| e.to_string())
    };
    let alone = |names: &[&str]| Asking { frames: false, ..Asking::experts(names) };
    assert_eq!(
        open(&alone(&["sound"])),
        Err("video \"v0\" has no expert at all: sound are silent about it; leave it out".into())
    );
    assert_eq!(open(&alone(&["sound", "motion"])), Ok(()));
    assert_eq!(open(&Asking::experts(&["sound"])), Ok(()), "frames speak where the expert is silent");
}

#[test]
fn an_expert_of_another_width_and_too_many_frames_are_refused_by_name() {
    let (folder, words) = made_up();
    let head = |kind: &str| planned(folder.path(), &words.replace("kind = \"mean-pooling\"", kind));
    let experts = |width: usize| {
        head(&format!("kind = \"experts\"\nwidth = 8\nexperts = [{{ name = \"motion\", width = {width} }}]"))
    };
    assert!(experts(6).is_ok());
    assert_eq!(
        experts(5).unwrap_err(),
        "x.toml: [head] takes the expert \"motion\" 5 wide, but the data has it 6 wide; set its width to 6"
    );
    // Whichever part of the head has the positions.
    let blocks = "layers = 1, heads = 2, max_frames = 2";
    for kind in [
        format!("kind = \"seq-transf\"\n{}", blocks.replace(", ", "\n")),
        format!("kind = \"conditioned\"\ntemperature = 1.0\ntemporal = {{ {blocks} }}"),
        format!("kind = \"camoe\"\nfusion = {{ kind = \"seq-transf\", {blocks} }}"),
    ] {
        assert_eq!(
            head(&kind).unwrap_err(),
            "x.toml: [head] has max_frames = 2, but the data has videos of 3 frames; raise it"
        );
    }
}

#[test]
fn settings_that_cannot_work_are_refused_when_planned() {
    let (folder, words) = made_up();
    let refused = |recipe: String, expected: &str| {
        let message = planned(folder.path(), &recipe).unwrap_err();
        assert!(message.contains(expected), "{message}");
    };
    let ncl = |queue: usize| {
        words.replace(
            "kind = \"symmetric\"",
            &format!("kind = \"ncl\"\nsweeps = 4\naskers = \"batch-and-queue\"\nqueue = {queue}"),
        )
    };
    refused(ncl(25), "objective.queue = 25, but the training split has 24; lower it");
    assert!(planned(folder.path(), &ncl(24)).is_ok());
    // Inside another objective it is called by the key that stands in the recipe.
    let inside = |outer: &str| words.replace("kind = \"symmetric\"", outer);
    let queue = "kind = \"ncl\", sweeps = 4, askers = \"queue\", queue = 25";
    let terms = format!(
        "kind = \"weighted\"\nterms = [{{ weight = 1.0, objective = {{ kind = \"symmetric\" }} }}, \
         {{ weight = 0.5, objective = {{ {queue} }} }}]"
    );
    refused(
        inside(&terms),
        "x.toml: objective.terms[1].objective.queue = 25, but the training split has 24; lower it",
    );
    assert!(planned(folder.path(), &inside(&terms).replace("queue = 25", "queue = 24")).is_ok());
    refused(
        inside(&format!("kind = \"streams\"\neach = {{ {queue} }}")),
        "x.toml: objective.each.queue = 25, but the training split has 24; lower it",
    );
    let fused = format!("kind = \"streams\"\neach = {{ kind = \"symmetric\" }}\nfused = {{ {queue} }}");
    refused(inside(&fused), "x.toml: objective.fused.queue = 25, but the training split has 24; lower it");
    refused(words.replace("batch = 8", "batch = 1"), "train.batch = 1");
    refused(words.replace("batch = 8", "batch = 25"), "train.batch = 25, but the training split has 24");
    refused(words.replace("least = 2", "least = 0"), "encoder.least = 0");
    refused(words.replace("embedding = 8", "embedding = 0"), "encoder.embedding = 0");
    let diagonal = words
        .replace("kind = \"symmetric\"", "kind = \"symmetric\"\npositives = \"diagonal\"")
        .replace("epochs = 40", "epochs = 40\ncaptions = \"all\"");
    refused(diagonal, "use positives = \"same\"");
}
