//! What a long piece of work tells whoever started it. Libraries never print; `xtask` draws these.

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A piece of work of `total` steps begins.
    Begin {
        /// What it is.
        label: String,
        /// Its steps.
        total: usize,
        /// Steps done before, by a run that is resumed.
        done: usize,
    },
    /// A step is done.
    Step {
        /// Steps done.
        done: usize,
        /// The loss, where there is one.
        loss: Option<f64>,
        /// Seconds that the step took.
        seconds: f64,
    },
    /// An item of a list is done.
    Item {
        /// Items done.
        done: usize,
        /// How it goes, such as "2 failed".
        word: String,
    },
    /// The piece of work is done.
    End,
    /// A word to the user.
    Note(String),
    /// A run over several ranks has failed for this reason, and a rank of it does not come back: nothing but the end of
    /// the process ends it.
    Stuck(String),
}

/// Whoever listens.
pub type Events<'a> = &'a mut dyn FnMut(Event);
