//! Progress on stderr: a bar on a terminal, otherwise a line every few seconds.

use std::cell::RefCell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit;

/// Time between two lines where there is no terminal.
const PAUSE: Duration = Duration::from_secs(5);

/// Progress of one piece of work.
#[derive(Debug)]
pub struct Progress {
    label: String,
    total: usize,
    /// Done by an earlier run: it counts for the share and not for the rate.
    first: usize,
    began: Instant,
    state: RefCell<State>,
    bar: Option<ProgressBar>,
}

#[derive(Debug)]
struct State {
    done: usize,
    message: String,
    spoke: Instant,
}

impl Progress {
    /// A piece of work of `total` steps begins, of which `done` were done by an earlier run: they count for the share
    /// and not for the rate.
    pub fn start(total: usize, label: &str, done: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| drawn(total, label, done));
        if bar.is_none() {
            exit::say(&format!("{label}: {done}/{total}"));
        }
        let now = Instant::now();
        let state = RefCell::new(State { done, message: String::new(), spoke: now });
        Self { label: label.to_owned(), total, first: done, began: now, state, bar }
    }

    /// `done` steps are done; `message` says how it goes, such as `loss 1.234`.
    pub fn tick(&self, done: usize, message: &str) {
        let mut state = self.state.borrow_mut();
        state.done = done;
        message.clone_into(&mut state.message);
        match &self.bar {
            Some(bar) => {
                bar.set_position(done as u64);
                bar.set_message(message.to_owned());
            }
            None if state.spoke.elapsed() >= PAUSE => {
                state.spoke = Instant::now();
                exit::say(&self.line(&state));
            }
            None => {}
        }
    }

    /// A word to the user, above the bar.
    pub fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| exit::say(line)),
            None => exit::say(line),
        }
    }

    /// The piece of work is done.
    pub fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        exit::say(&self.line(&self.state.borrow()));
    }

    fn line(&self, state: &State) -> String {
        let seconds = self.began.elapsed().as_secs_f64();
        let steps = state.done.saturating_sub(self.first);
        let mut line = format!("{}: {}/{}, {}", self.label, state.done, self.total, clock(seconds));
        if steps > 0 && seconds > 0.0 {
            let rate = steps as f64 / seconds;
            line.push_str(&format!(", {rate:.1}/s"));
            if state.done < self.total {
                line.push_str(&format!(", {} left", clock((self.total - state.done) as f64 / rate)));
            }
        }
        if !state.message.is_empty() {
            line.push_str(&format!(", {}", state.message));
        }
        line
    }
}

/// A command that ends by an error leaves no bar behind.
impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = self.bar.as_ref().filter(|bar| !bar.is_finished()) {
            bar.abandon();
        }
    }
}

fn drawn(total: usize, label: &str, done: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr_with_hz(8))
        .with_position(done as u64)
        .with_prefix(label.to_owned());
    let template = "{prefix} {bar:30} {pos}/{len} {per_sec} {eta} left {msg}";
    // A template that does not parse costs looks only.
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.reset_eta();
    bar
}

/// Seconds as `1:05` or `2:03:04`.
fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match hours {
        0 => format!("{minutes}:{seconds:02}"),
        _ => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}
