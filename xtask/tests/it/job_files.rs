//! The job files of `docs/scale`: what they start does its work. The cluster is left out: a stand-in for `srun` starts one
//! rank, and `flex` stands in for the cards.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{XTASK, kill, stderr, xtask};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn job(name: &str) -> PathBuf {
    root().join("docs/scale").join(name)
}

fn program(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    path
}

/// The binary, with `flex` where a job file says `cuda:0` or `cuda:0-3`.
fn without_cards(folder: &Path) -> PathBuf {
    let text = format!(
        "#!/bin/sh\nfor word; do shift; case $word in cuda:*) word=flex;; esac; set -- \"$@\" \"$word\"; done\nexec '{XTASK}' \"$@\"\n"
    );
    program(folder, "xtask", &text)
}

/// The words of a YAML list of quoted words.
fn words(text: &str, list: &str) -> Vec<String> {
    let (_, after) = text.split_once(&format!(" {list}:\n")).unwrap_or_else(|| panic!("no {list}"));
    let items = after.lines().map_while(|line| line.trim().strip_prefix("- \""));
    items.map(|item| item.strip_suffix('"').unwrap().to_string()).collect()
}

/// The number behind a key.
fn number(text: &str, key: &str) -> usize {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{key}: ")));
    line.unwrap_or_else(|| panic!("no {key}")).parse().unwrap()
}

/// Three videos of a frame or two, and the checkpoint that encodes them.
fn pictures(folder: &Path) -> PathBuf {
    let weights = root().join("crates/tvr-clip/tests/fixtures/clip");
    for (video, picture) in
        [("a", "0_wide_106x60.png"), ("b", "1_tall_40x91.png"), ("c", "2_small_13x11.png")]
    {
        std::fs::create_dir_all(folder.join("videos").join(video)).unwrap();
        std::fs::copy(weights.join("images").join(picture), folder.join("videos").join(video).join(picture))
            .unwrap();
    }
    weights
}

/// Every share by one task, and that together they are the whole.
fn encoded(folder: &Path, weights: &Path, task: impl Fn(usize) -> std::process::Output) {
    for index in 0..2 {
        let output = task(index);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let merged = ["merge", "shares/0.safetensors", "shares/1.safetensors", "--out", "joined.safetensors"];
    let whole = [
        "encode",
        "--weights",
        weights.to_str().unwrap(),
        "--frames",
        "videos",
        "--out",
        "whole.safetensors",
    ];
    for arguments in [&merged[..], &whole] {
        let output = xtask(folder, arguments);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let frames = |name: &str| {
        let bytes = std::fs::read(folder.join(name)).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let frames = file.tensor("frames").unwrap();
        let values = frames.data().chunks_exact(4).map(|word| f32::from_le_bytes(word.try_into().unwrap()));
        (frames.shape().to_vec(), values.collect::<Vec<f32>>())
    };
    let ((shape, joined), (expected, whole)) = (frames("joined.safetensors"), frames("whole.safetensors"));
    assert_eq!(shape, expected);
    // Other batches, other sums.
    assert!(joined.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-5), "{joined:?} {whole:?}");
}

#[test]
fn the_tasks_of_slurm_s_array_encode_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = pictures(folder);
    let xtask = without_cards(folder);
    encoded(folder, &weights, |index| {
        let mut job_file = Command::new("bash");
        job_file.arg(job("slurm-encode.sh")).arg(&weights).args(["videos", "shares"]).current_dir(folder);
        // As where one share is started again by itself.
        job_file.envs([("SLURM_ARRAY_TASK_ID", index.to_string()), ("SLURM_ARRAY_TASK_COUNT", "1".into())]);
        job_file.env("SHARES", "2");
        job_file.env("XTASK", &xtask).output().unwrap()
    });
    let text = std::fs::read_to_string(job("slurm-encode.sh")).unwrap();
    assert!(text.contains("#SBATCH --array=0-15\n") && text.contains("shares=${SHARES:-16}\n"), "{text}");
    let without = Command::new("bash").arg(job("slurm-encode.sh")).current_dir(folder).output().unwrap();
    assert!(stderr(&without).contains("name a checkpoint"), "{}", stderr(&without));
}

#[test]
fn the_pods_of_an_indexed_job_encode_the_whole() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let weights = pictures(folder);
    let text = std::fs::read_to_string(job("kubernetes-encode.yaml")).unwrap();
    let shares = number(&text, "completions");
    let arguments = words(&text, "args");
    let all = format!("$(JOB_COMPLETION_INDEX)/{shares}");
    assert!(arguments.contains(&all), "{arguments:?} for {shares} pods");
    let xtask = without_cards(folder);
    encoded(folder, &weights, |index| {
        let arguments = arguments.iter().map(|word| match word.as_str() {
            "clip-vit-base-patch32" => weights.to_str().unwrap().to_string(),
            word if *word == all => format!("{index}/2"),
            word => word.replace("$(JOB_COMPLETION_INDEX)", &index.to_string()),
        });
        // A pod has the variable too: it starts no rank here.
        let mut pod = Command::new(&xtask);
        pod.args(arguments)
            .env("JOB_COMPLETION_INDEX", index.to_string())
            .current_dir(folder)
            .output()
            .unwrap()
    });
}

#[test]
fn the_job_files_of_training_start_a_run() {
    let folder = kill::folder();
    let folder = folder.path();
    let xtask = without_cards(folder);
    let trained = |mut command: Command, runs: &str| {
        let output = command.current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert!(folder.join("runs/small-5/record.json").exists());
        std::fs::rename(folder.join("runs"), folder.join(runs)).unwrap();
    };
    let srun =
        "#!/bin/sh\nwhile [ \"${1#-}\" != \"$1\" ]; do echo \"$1\" >>srun.log; shift; done\nexec \"$@\"\n";
    program(folder, "srun", srun);
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let mut slurm = Command::new("bash");
    slurm.arg(job("slurm-train.sh")).arg("small.toml").env("XTASK", &xtask).env("PATH", path);
    slurm.env("SLURM_CPUS_PER_TASK", "3");
    trained(slurm, "slurm");
    let options = std::fs::read_to_string(folder.join("srun.log")).unwrap();
    assert_eq!(options, "--mpi=pmix\n--cpus-per-task=3\n--kill-on-bad-exit=1\n");

    let text = std::fs::read_to_string(job("kubernetes-train.yaml")).unwrap();
    let arguments = words(&text, "args");
    let workers = text.split_once(" Worker:\n").unwrap().1;
    let ranks = number(&text, "slotsPerWorker") * number(workers, "replicas");
    let at = arguments.iter().position(|word| word == "/usr/local/bin/xtask").unwrap();
    assert_eq!(arguments[at - 2..at], ["-n".to_string(), ranks.to_string()]);
    let slots = number(&text, "slotsPerWorker");
    assert_eq!(number(workers, "nvidia.com/gpu"), slots);
    let threads = arguments.iter().find_map(|word| word.strip_prefix("RAYON_NUM_THREADS=")).unwrap();
    assert_eq!(number(workers, "cpu"), slots * threads.parse::<usize>().unwrap());
    assert!(root().join(&arguments[at + 2]).exists(), "{}", arguments[at + 2]);
    let mut rank = Command::new(&xtask);
    let own = arguments[at + 1..].iter().map(String::as_str);
    rank.args(own.map(|word| if word.ends_with(".toml") { "small.toml" } else { word }));
    trained(rank, "kubernetes");
}
