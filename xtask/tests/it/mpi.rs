//! Ranks as processes: what a user of `mpirun` sees. Skipped where there is none of Open MPI or MPICH.

mod engine;

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::devices::{assert_same_curve, losses, small_world};
use crate::{XTASK, kill, stderr};

/// Within this time a broken run must be gone.
const SOON: Duration = Duration::from_secs(40);

/// Whether there is an `mpirun` whose ranks can be found among the processes, and that starts two; prints why a test is
/// skipped.
fn there() -> bool {
    let version = Command::new("mpirun").arg("--version").output();
    let known = |said: &str| said.contains("Open MPI") || said.contains("HYDRA");
    if !version.is_ok_and(|output| known(&crate::stdout(&output))) {
        eprintln!("skipped: there is no mpirun of Open MPI or MPICH");
        return false;
    }
    let two = mpirun(Path::new(".")).args(["-n", "2", "true"]).output().unwrap();
    if !two.status.success() {
        eprintln!("skipped: mpirun cannot start two processes here: {}", stderr(&two));
    }
    two.status.success()
}

/// `mpirun`, as root and on fewer cores than ranks too, with one compute thread for each.
fn mpirun(folder: &Path) -> Command {
    let mut command = Command::new("mpirun");
    command.current_dir(folder).env_remove("RUST_BACKTRACE").env("RAYON_NUM_THREADS", "1");
    for name in
        ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"]
    {
        command.env(name, "1");
    }
    command
}

fn train(folder: &Path, ranks: &str, runs: &str, rest: &[&str]) -> Command {
    let mut command = mpirun(folder);
    command.args(["-n", ranks, XTASK, "train", "small.toml", "--runs", runs]).args(rest);
    command
}

fn done(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    output
}

/// The one line of a run's own that says what went wrong; a launcher may say more.
#[track_caller]
fn error(said: &str) -> &str {
    let mut own = said.lines().filter(|line| line.starts_with("error: "));
    let first = own.next().unwrap_or_else(|| panic!("no error: {said}"));
    assert_eq!(own.next(), None, "more than one: {said}");
    first
}

fn weights(runs: &Path) -> Vec<u8> {
    std::fs::read(runs.join("model.safetensors")).unwrap()
}

/// The process of a rank below a launcher, by its environment: a child of Open MPI's, a grandchild of MPICH's.
fn process_of(launcher: &Child, rank: usize) -> PathBuf {
    let wanted = ["OMPI_COMM_WORLD_RANK", "PMI_RANK"].map(|name| format!("{name}={rank}"));
    let mut open = vec![launcher.id().to_string()];
    while let Some(process) = open.pop() {
        let folder = Path::new("/proc").join(&process);
        let environment = std::fs::read(folder.join("environ")).unwrap_or_default();
        let mut variables = environment.split(|&byte| byte == 0);
        if variables.any(|variable| wanted.iter().any(|wanted| variable == wanted.as_bytes())) {
            return folder;
        }
        let children = std::fs::read_to_string(folder.join("task").join(&process).join("children"));
        open.extend(children.unwrap_or_default().split_whitespace().map(str::to_owned));
    }
    panic!("no process below {} has {wanted:?}", launcher.id());
}

/// A launched run that has logged step 5: its launcher, what comes from it on stderr, and the process of either rank.
fn begun(mut command: Command) -> (Child, BufReader<ChildStderr>, String, [PathBuf; 2]) {
    let mut launcher =
        command.arg("--log-steps").stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(launcher.stderr.take().unwrap());
    let mut said = String::new();
    while !said.lines().any(|line| line == "step 5") {
        assert!(lines.read_line(&mut said).unwrap() > 0, "the run ended before step 5: {said}");
    }
    let ranks = [0, 1].map(|rank| process_of(&launcher, rank));
    (launcher, lines, said, ranks)
}

fn signal(process: &Path, signal: &str) {
    let number = process.file_name().unwrap();
    assert!(Command::new("kill").args(["-s", signal]).arg(number).status().unwrap().success());
}

/// Sends a signal to one rank once step 5 is logged; what the run and its launcher then say, where MPICH's number of the
/// process is the rank that it had. Every process is gone soon.
fn struck(command: Command, name: &str, rank: usize) -> String {
    let (mut launcher, mut lines, mut said, ranks) = begun(command);
    let mut stdout = launcher.stdout.take().unwrap();
    let number = ranks[rank].file_name().unwrap().to_str().unwrap();
    let began = Instant::now();
    signal(&ranks[rank], name);
    let reader = std::thread::spawn(move || {
        lines.read_to_string(&mut said)?;
        stdout.read_to_string(&mut said).map(|_| said) // MPICH's word; a run that is struck prints nothing
    });
    let status = loop {
        if let Some(status) = launcher.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > SOON {
            launcher.kill().unwrap();
            panic!("rank {rank} got {name}, and the run still waits after {SOON:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = reader.join().unwrap().unwrap();
    let said = said.replace(&format!("PID {number} "), &format!("rank {rank} "));
    assert!(!status.success(), "rank {rank} got {name}, and the run says that all is well: {said}");
    // A launcher may go before the last of them has.
    while let Some(rank) = ranks.iter().find(|rank| rank.join("exe").read_link().is_ok()) {
        assert!(began.elapsed() < SOON, "still there: {}", rank.display());
        std::thread::sleep(Duration::from_millis(20));
    }
    said
}

#[test]
fn two_processes_train_the_built_in_world_are_killed_and_resume_on_two_and_on_one() {
    if !there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    small_world(folder);
    let run = |runs: &str| folder.join(runs).join("small-5");

    let one = Command::new(XTASK)
        .args(["train", "small.toml", "--runs", "one"])
        .env("RAYON_NUM_THREADS", "1")
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(one.status.success(), "{}", stderr(&one));
    done(train(folder, "2", "two", &[]));
    let curve = losses(&run("one"));
    assert!(curve[0] - curve[curve.len() - 1] > 0.1, "nothing was learnt: {curve:?}");
    assert_same_curve(&losses(&run("two")), &curve);
    let record = std::fs::read(run("two").join("record.json")).unwrap();
    let record: serde_json::Value = serde_json::from_slice(&record).unwrap();
    assert_eq!(record["device"], "flex, 2 processes");

    let said = struck(train(folder, "2", "killed", &[]), "KILL", 1);
    assert!(said.contains("rank 1") && said.contains("signal 9"), "{said}");
    let newest = losses(&run("killed")).len();
    assert!((5..16).contains(&newest), "{newest} steps are logged");
    std::fs::create_dir_all(folder.join("alone")).unwrap();
    let copied = Command::new("cp").args(["-r", "killed/small-5", "alone"]).current_dir(folder).status();
    assert!(copied.unwrap().success());

    done(train(folder, "2", "killed", &["--resume"]));
    assert_eq!(losses(&run("killed")), losses(&run("two")), "as many processes, other bits");
    assert!(weights(&run("killed")) == weights(&run("two")), "as many processes, other bits");

    let alone = crate::xtask(folder, &["train", "small.toml", "--runs", "alone", "--resume"]);
    assert!(alone.status.success(), "{}", stderr(&alone));
    assert_same_curve(&losses(&run("alone")), &curve);
}

#[test]
fn a_rank_that_is_stopped_is_named_by_the_others_and_all_end() {
    if !there() {
        return;
    }
    let folder = kill::folder();
    let folder = folder.path();
    let long = ["--patience", "2", "--set", "train.epochs=40000"];
    for (rank, who) in [(1, "error: "), (0, "error: rank 1 of 2: ")] {
        let said = struck(train(folder, "2", &format!("stopped-{rank}"), &long), "STOP", rank);
        // The launcher wakes a stopped rank to end it: it has nothing to add.
        let said = error(&said);
        assert!(said.starts_with(&format!("{who}rank {rank} of 2: did not come to exchange ")), "{said}");
        assert!(said.ends_with(" within 2 s; it hangs, or --patience is too short"), "{said}");
    }
}

#[test]
fn ranks_that_were_all_stopped_for_longer_than_their_patience_go_on() {
    if !there() {
        return;
    }
    let folder = kill::folder();
    let long = ["--patience", "3", "--set", "train.epochs=400"];
    let (mut launcher, mut lines, mut said, ranks) = begun(train(folder.path(), "2", "runs", &long));
    for _ in 0..2 {
        ranks.iter().for_each(|rank| signal(rank, "STOP"));
        std::thread::sleep(Duration::from_secs(4));
        ranks.iter().for_each(|rank| signal(rank, "CONT"));
        std::thread::sleep(Duration::from_millis(50));
    }
    lines.read_to_string(&mut said).unwrap();
    assert!(launcher.wait().unwrap().success(), "{said}");
}

#[test]
fn an_interrupt_that_one_rank_sees_stops_all_after_a_checkpoint() {
    if !there() {
        return;
    }
    let folder = kill::folder();
    let long = ["--set", "train.epochs=40000", "--set", "train.checkpoint_every=0"];
    let said = struck(train(folder.path(), "2", "runs", &long), "INT", 1);
    let said = error(&said);
    let step = said.strip_prefix("error: stopped at step ").and_then(|rest| rest.split(';').next()).unwrap();
    let checkpoints = std::fs::read_dir(folder.path().join("runs/small-5/checkpoints")).unwrap();
    let names: Vec<_> = checkpoints.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert!(names.contains(&format!("step-{step:0>6}")), "no checkpoint of step {step}: {names:?}");
}

#[test]
fn ranks_with_different_recipes_are_told_which_rank_and_which_key_before_anything_is_written() {
    if !there() {
        return;
    }
    let folder = kill::folder();
    let mut command = mpirun(folder.path());
    for (before, key) in [(None, "train.batch=8"), (Some(":"), "train.batch=6")] {
        command.args(before).args(["-n", "1", XTASK, "train", "small.toml", "--set", key]);
    }
    let output = command.output().unwrap();
    assert_eq!(
        error(&stderr(&output)),
        "error: rank 1 differs from rank 0: its train.batch is 6, not 8; start every rank from the same build, recipe and data"
    );
    assert_eq!(output.status.code(), Some(1));
    assert!(!folder.path().join("runs").exists(), "something was written");
}

#[test]
fn a_folder_that_another_run_holds_is_one_error_of_all_ranks() {
    if !there() {
        return;
    }
    let folder = kill::folder();
    let run = folder.path().join("runs/small-5");
    std::fs::create_dir_all(&run).unwrap();
    let other = std::fs::File::create(run.join("lock")).unwrap();
    other.lock().unwrap();
    let began = Instant::now();
    let output = train(folder.path(), "2", "runs", &[]).output().unwrap();
    assert_eq!(
        error(&stderr(&output)),
        "error: runs/small-5: another process works in this folder; wait for its end, or give --runs another folder"
    );
    assert_eq!(output.status.code(), Some(2));
    assert!(began.elapsed() < SOON);
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 1, "more than the lock");
}

#[test]
fn a_run_of_a_later_seed_is_refused_before_the_first_is_trained() {
    if !there() {
        return;
    }
    let folder = kill::folder();
    let output = train(folder.path(), "2", "runs", &["--set", "seeds=[6]"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let output = train(folder.path(), "2", "runs", &["--set", "seeds=[5, 6]"]).output().unwrap();
    let said = stderr(&output);
    assert!(error(&said).starts_with("error: runs/small-6: holds a run already; "), "{said}");
    assert_eq!(output.status.code(), Some(2));
    assert!(!folder.path().join("runs/small-5").exists(), "the first seed was trained");
}

#[test]
fn a_loss_that_is_not_finite_ends_every_rank_with_one_error() {
    if !there() {
        return;
    }
    let folder = kill::folder();
    let rate = ["--set", "train.optimizer.learning_rate=1e30"];
    let output = train(folder.path(), "2", "runs", &rate).output().unwrap();
    let said = stderr(&output);
    assert!(error(&said).contains("the loss is NaN (first on rank 0)"), "{said}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn more_ranks_than_pairs_are_refused() {
    if !there() {
        return;
    }
    let folder = kill::folder();
    let output = train(folder.path(), "3", "runs", &["--set", "train.batch=2"]).output().unwrap();
    assert_eq!(
        error(&stderr(&output)),
        "error: small.toml: train.batch = 2, but there are 3 ranks; a rank must have at least one pair: raise it, or start fewer"
    );
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn variables_of_a_launcher_that_is_not_mpi_s_are_refused() {
    let folder = kill::folder();
    let output = Command::new(XTASK)
        .args(["train", "small.toml"])
        .envs([("RANK", "0"), ("WORLD_SIZE", "2")])
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert_eq!(
        error(&stderr(&output)),
        "error: MPI counts rank 0 of 1, but the launcher's variables say rank 0 of 2; start it with the mpirun of the MPI \
         that it was built with"
    );
    assert_eq!(output.status.code(), Some(2));
}
