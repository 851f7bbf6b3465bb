//! Draws an experiment's events on stderr.

use tvr_experiment::Event;

use crate::bar::Progress;
use crate::exit;

/// A listener that shows progress with loss, step time and time left.
pub fn draw() -> impl FnMut(Event) {
    let mut bar: Option<Progress> = None;
    move |event| match event {
        Event::Begin { label, total, done } => {
            bar = Some(Progress::start(total, &label, done));
        }
        Event::Step { done, loss, seconds } => {
            if let Some(bar) = &bar {
                let loss = loss.map_or(String::new(), |loss| format!("loss {loss:.3}, "));
                bar.tick(done, &format!("{loss}{:.0} ms a step", seconds * 1000.0));
            }
        }
        Event::Item { done, word } => {
            if let Some(bar) = &bar {
                bar.tick(done, &word);
            }
        }
        Event::End => {
            if let Some(bar) = bar.take() {
                bar.finish();
            }
        }
        Event::Note(word) => match &bar {
            Some(bar) => bar.note(&word),
            None => exit::say(&word),
        },
        Event::Stuck(reason) => {
            exit::say(&format!("error: {reason}"));
            std::process::exit(1);
        }
    }
}
