//! Runs side by side: one process a run, as many at a time as there are threads.
//!
//! The built-in world's models are small, and one run gains next to nothing from a second thread; two runs at once
//! do. Each is a process of its own, since burn has one generator of random numbers a process, and a run must give
//! the same weights whatever runs beside it.

use std::path::PathBuf;
use std::process::Child;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::ExperimentError;
use crate::progress::{Event, Events};

/// One run that is to be made.
#[derive(Clone, Debug)]
pub struct Job {
    /// What the user reads: model and seed.
    pub label: String,
    /// The resolved recipe, a file, with this run's seed alone.
    pub recipe: PathBuf,
    /// Where the run's folder will be.
    pub folder: PathBuf,
    /// Where the process may write what it has to say.
    pub log: PathBuf,
    /// Steps of the run.
    pub steps: usize,
}

/// How a run's process is started, and how many may run at a time.
pub struct Launcher<'a> {
    /// Processes at a time; above 0.
    pub workers: usize,
    /// Starts the process of a job; it must go on with a run that was interrupted, and use one thread.
    pub start: &'a dyn Fn(&Job) -> std::io::Result<Child>,
}

/// A pause between two looks at the processes.
const PAUSE: Duration = Duration::from_millis(200);

/// How long processes may take to stop by themselves after Ctrl-C, which reaches them too.
const GRACE: Duration = Duration::from_secs(20);

struct Running<'a> {
    job: &'a Job,
    process: Child,
}

/// Runs all jobs, in their order.
///
/// # Errors
/// A process that cannot be started, or the last words of one that failed; the others are stopped, and go on where
/// they stood when asked again.
pub fn run_all(
    jobs: &[Job],
    launcher: &Launcher<'_>,
    stop: &AtomicBool,
    events: Events<'_>,
) -> Result<(), ExperimentError> {
    let total: usize = jobs.iter().map(|job| job.steps).sum();
    let mut first: usize = jobs.iter().map(steps_done).sum();
    let label = format!("{} runs, {} at a time", jobs.len(), launcher.workers.min(jobs.len().max(1)));
    events(Event::Begin { label, total, done: first });
    let began = Instant::now();
    let mut waiting = jobs.iter();
    let mut running: Vec<Running> = Vec::new();
    let mut finished = 0;
    loop {
        while running.len() < launcher.workers && !stop.load(Ordering::Relaxed) {
            let Some(job) = waiting.next() else { break };
            let process = (launcher.start)(job).map_err(|cause| {
                stop_all(&mut running, Duration::ZERO);
                ExperimentError::work(format!("{}: its process cannot be started: {cause}", job.label))
            })?;
            running.push(Running { job, process });
        }
        let mut index = 0;
        while index < running.len() {
            match running[index].process.try_wait() {
                Ok(None) => index += 1,
                Ok(Some(status)) if status.success() => {
                    finished += running.swap_remove(index).job.steps;
                }
                Ok(Some(_)) | Err(_) if stop.load(Ordering::Relaxed) => {
                    running.swap_remove(index);
                }
                ended => {
                    let failed = running.swap_remove(index).job;
                    stop_all(&mut running, Duration::ZERO);
                    return Err(ExperimentError::work(format!(
                        "{}: {}",
                        failed.label,
                        last_words(failed, ended)
                    )));
                }
            }
        }
        if stop.load(Ordering::Relaxed) {
            stop_all(&mut running, GRACE);
            return Err(ExperimentError::work("stopped; the same command goes on where the runs stand"));
        }
        if running.is_empty() && waiting.len() == 0 {
            break;
        }
        let begun = running.iter().map(|running| running.job).chain(waiting.clone());
        let done = finished + begun.map(steps_done).sum::<usize>();
        // A run that was stopped goes on from its checkpoint, a few steps back.
        first = first.min(done);
        let seconds = began.elapsed().as_secs_f64() / done.saturating_sub(first).max(1) as f64;
        events(Event::Step { done: done.min(total), loss: None, seconds });
        std::thread::sleep(PAUSE);
    }
    events(Event::End);
    Ok(())
}

/// Lines of the run's log: a line is a step.
fn steps_done(job: &Job) -> usize {
    let log = std::fs::read(job.folder.join("steps.jsonl")).unwrap_or_default();
    log.iter().filter(|&&byte| byte == b'\n').count().min(job.steps)
}

fn stop_all(running: &mut Vec<Running>, grace: Duration) {
    let until = Instant::now() + grace;
    while Instant::now() < until
        && running.iter_mut().any(|running| matches!(running.process.try_wait(), Ok(None)))
    {
        std::thread::sleep(PAUSE);
    }
    for mut left in running.drain(..) {
        // A run survives this: its checkpoints are whole.
        let _ = left.process.kill();
        let _ = left.process.wait();
    }
}

fn last_words(job: &Job, ended: std::io::Result<Option<std::process::ExitStatus>>) -> String {
    let said = std::fs::read(&job.log).unwrap_or_default();
    let said = String::from_utf8_lossy(&said);
    if let Some(error) = said.lines().rev().find_map(|line| line.strip_prefix("error: ")) {
        return error.to_string();
    }
    // It could not say why: it was killed, or it panicked.
    let ended = match ended {
        Ok(Some(status)) => format!("its process ended with {status}"),
        _ => "its process was lost".to_string(),
    };
    match said.lines().rfind(|line| !line.trim().is_empty() && !line.starts_with("note: run with")) {
        Some(last) => format!("{ended}; {} ends with: {last}", job.log.display()),
        None => ended,
    }
}
