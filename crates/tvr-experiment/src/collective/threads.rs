//! Ranks as threads of one process, a device each.
//!
//! Each rank runs on a thread with a compute pool of its own. They meet in a [`Threads`]: whoever comes waits until all
//! have come, or until one has failed, or until nothing has moved for as long as its patience; then every rank gets the same
//! error. Rank 0 talks:
//! its events go to whoever started the run, who listens meanwhile, and watches the devices where these exchange rows among
//! themselves: a device waits without end for one that does not come.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use burn::prelude::*;

use crate::collective::waited::{LOOK, Waited};
use crate::collective::{Add, Collective, broken_off, late};
use crate::error::ExperimentError;
use crate::progress::{Event, Events};

/// One rank's end of the meeting place.
#[derive(Clone)]
pub struct Threads {
    rank: usize,
    hub: Arc<Hub>,
}

struct Hub {
    size: usize,
    patience: Duration,
    add: Option<Add>,
    state: Mutex<State>,
    turn: Condvar,
}

/// What a rank brings: a row of bytes or of numbers.
type Row = Arc<dyn Any + Send + Sync>;

#[derive(Debug, Default)]
struct State {
    what: &'static str,
    given: Vec<Option<Row>>,
    /// What was gathered last. The next round cannot end before every rank has taken it.
    gathered: Vec<Row>,
    rounds: u64,
    /// How often a rank has come somewhere or gone on.
    moves: u64,
    /// Whose devices exchange rows among themselves.
    between: Vec<bool>,
    /// Who has the generator of random numbers.
    drawing: Option<usize>,
    /// The first failure: whose, and its sentence.
    failed: Option<(usize, String)>,
}

impl Hub {
    fn new(size: usize, add: Option<Add>, patience: Duration) -> Self {
        let state = State { given: vec![None; size], between: vec![false; size], ..State::default() };
        Self { size, patience, add, state: Mutex::new(state), turn: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while the state is so, until no rank has moved for as long as patience lasts.
    fn wait_while<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        so: impl Fn(&State) -> bool,
    ) -> MutexGuard<'a, State> {
        let (mut waited, mut moves) = (Waited::begin(), state.moves);
        while so(&state) && waited.so_far() < self.patience {
            let look = self.turn.wait_timeout(state, LOOK.min(self.patience));
            (state, _) = look.unwrap_or_else(PoisonError::into_inner);
            if state.moves != moves {
                (waited, moves) = (Waited::begin(), state.moves);
            }
        }
        state
    }

    fn fail(&self, rank: usize, sentence: String) {
        self.state().failed.get_or_insert((rank, sentence));
        self.turn.notify_all();
    }

    /// Called at times that lie `patience` apart: fails a rank whose device is in the same exchange as at the time before,
    /// of which this gives the number.
    fn watch(&self, before: Option<u64>) -> Option<u64> {
        let (rank, round) = {
            let state = self.state();
            (state.between.iter().position(|&between| between)?, state.rounds)
        };
        if before == Some(round) {
            let sentence = format!(
                "rank {rank} of {}: its device did not add up rows with the others within {} s; it hangs (NCCL_DEBUG=INFO in the \
                 environment says where), or --patience is too short",
                self.size,
                self.patience.as_secs_f64()
            );
            self.fail(rank, sentence);
        }
        Some(round)
    }
}

/// One rank's turn in an exchange that its device makes with the others; over when dropped.
pub struct Between<'a> {
    add: &'a Add,
    ranks: &'a Threads,
}

impl Between<'_> {
    /// The sum of every rank's row. Every rank gives rows of the same lengths in the same order.
    pub fn sum(&self, own: Tensor<1>) -> Tensor<1> {
        (self.add)(own)
    }
}

impl Drop for Between<'_> {
    fn drop(&mut self) {
        self.ranks.hub.state().between[self.ranks.rank] = false;
    }
}

/// One rank's turn with the generator of random numbers; over when dropped.
pub struct Drawing<'a> {
    hub: &'a Hub,
}

impl Drop for Drawing<'_> {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        state.drawing = None;
        state.moves += 1;
        self.hub.turn.notify_all();
    }
}

fn stopped(failed: &(usize, String)) -> ExperimentError {
    ExperimentError::work(failed.1.clone())
}

impl Threads {
    /// Waits for every rank, and gives the rows of all in their order.
    fn meet<R: Any + Send + Sync>(&self, what: &'static str, own: R) -> Result<Vec<Arc<R>>, ExperimentError> {
        let rows = self.rows(what, Arc::new(own))?.into_iter().map(Arc::downcast);
        rows.collect::<Result<_, _>>()
            .map_err(|_| ExperimentError::work(format!("{what}: the ranks give rows of different kinds")))
    }

    fn rows(&self, what: &'static str, own: Row) -> Result<Vec<Row>, ExperimentError> {
        let mut state = self.hub.state();
        if let Some(failed) = &state.failed {
            return Err(stopped(failed));
        }
        if state.given.iter().any(Option::is_some) && state.what != what {
            let sentence =
                format!("rank {} came to exchange {what}, but others exchange {}", self.rank, state.what);
            drop(state);
            self.hub.fail(self.rank, sentence.clone());
            return Err(ExperimentError::work(sentence));
        }
        state.what = what;
        state.given[self.rank] = Some(own);
        state.moves += 1;
        if state.given.iter().all(Option::is_some) {
            state.gathered = state.given.iter_mut().filter_map(Option::take).collect();
            state.rounds += 1;
            self.hub.turn.notify_all();
            return Ok(state.gathered.clone());
        }
        let round = state.rounds;
        let state = self.hub.wait_while(state, |state| state.rounds == round && state.failed.is_none());
        if state.rounds != round {
            return Ok(state.gathered.clone());
        }
        if let Some(failed) = &state.failed {
            return Err(stopped(failed));
        }
        let missing = state.given.iter().position(Option::is_none).unwrap_or_default();
        let error = late(missing, self.hub.size, what, self.hub.patience);
        drop(state);
        self.hub.fail(missing, error.to_string());
        Err(error)
    }
}

impl Collective for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.hub.size
    }

    fn gather(&self, what: &'static str, own: Vec<u8>) -> Result<Vec<Arc<Vec<u8>>>, ExperimentError> {
        self.meet(what, own)
    }

    /// Every rank adds up its share of the places, and the shares are gathered.
    fn sum(&self, what: &'static str, own: Vec<f32>) -> Result<Vec<f32>, ExperimentError> {
        let count = own.len();
        let all = self.meet(what, own)?;
        if all.iter().any(|row| row.len() != count) {
            return Err(ExperimentError::work(format!("{what}: the ranks give rows of different lengths")));
        }
        let share = count.div_ceil(self.hub.size);
        let [start, end] = [self.rank, self.rank + 1].map(|rank| (rank * share).min(count));
        let mut sum = vec![0.0f32; end - start];
        for row in &all {
            sum.iter_mut().zip(&row[start..end]).for_each(|(sum, number)| *sum += number);
        }
        let shares = self.meet(what, sum)?;
        let shares: Vec<&[f32]> = shares.iter().map(|share| share.as_slice()).collect();
        Ok(shares.concat())
    }

    fn between_devices(&self) -> Option<Between<'_>> {
        let add = self.hub.add.as_ref()?;
        self.hub.state().between[self.rank] = true;
        Some(Between { add, ranks: self })
    }

    fn generator(&self) -> Result<Option<Drawing<'_>>, ExperimentError> {
        let hub = &self.hub;
        let mut state =
            hub.wait_while(hub.state(), |state| state.drawing.is_some() && state.failed.is_none());
        if let Some(failed) = &state.failed {
            return Err(stopped(failed));
        }
        if let Some(holder) = state.drawing {
            drop(state);
            let sentence = format!(
                "rank {holder} of {}: did not end its turn with the random numbers within {} s; it hangs, or --patience is too short",
                hub.size,
                hub.patience.as_secs_f64()
            );
            hub.fail(holder, sentence.clone());
            return Err(ExperimentError::work(sentence));
        }
        state.drawing = Some(self.rank);
        state.moves += 1;
        Ok(Some(Drawing { hub }))
    }
}

/// What a rank tells the thread that started the run.
enum Word {
    Said(Event),
    Ended,
}

/// The listening end of a run. Where whoever listens breaks off, nobody waits to be heard, and every rank stops at its
/// next exchange.
struct Listening<'a> {
    hub: &'a Hub,
    receive: Receiver<Word>,
}

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.hub.fail(0, "whoever listened to the run broke off".into());
        }
    }
}

/// Runs `work` once for each of `parts`, each on a thread of its own, and gives what rank 0 made of it.
///
/// - `add`: how the ranks' devices add up rows; `None` where the host does it
///
/// # Errors
/// Of the rank that failed first. Every other rank stops at its next exchange; one that never comes there again is
/// told of by [`Event::Stuck`], since no thread can be ended from outside.
pub fn run<P: Send, T: Send>(
    parts: Vec<P>,
    add: Option<Add>,
    patience: Duration,
    events: Events<'_>,
    work: impl Fn(&Threads, P, Events<'_>) -> Result<T, ExperimentError> + Sync,
) -> Result<T, ExperimentError> {
    let size = parts.len();
    let hub = Arc::new(Hub::new(size, add, patience));
    let threads = (rayon::current_num_threads() / size.max(1)).max(1);
    let mut results: Vec<Option<Result<T, ExperimentError>>> = (0..size).map(|_| None).collect();
    let (send, receive) = sync_channel::<Word>(0);
    std::thread::scope(|scope| {
        let listening = Listening { hub: &hub, receive };
        for ((rank, part), result) in parts.into_iter().enumerate().zip(&mut results) {
            let (ranks, send, work) = (Threads { rank, hub: hub.clone() }, send.clone(), &work);
            scope.spawn(move || {
                let outcome =
                    on_pool(threads, || work(&ranks, part, &mut |event| tell(&ranks, &send, event)));
                if let Err(error) = &outcome {
                    ranks.hub.fail(rank, format!("rank {rank} of {size}: {error}"));
                }
                *result = Some(outcome);
                let _ = send.send(Word::Ended);
            });
        }
        let mut running = size;
        let (mut told, mut watched, mut waited) = (false, None, Waited::begin());
        while running > 0 {
            match listening.receive.recv_timeout(LOOK.min(patience)) {
                Ok(word) => {
                    match word {
                        Word::Said(event) => events(event),
                        Word::Ended => running -= 1,
                    }
                    waited = Waited::begin();
                }
                Err(RecvTimeoutError::Timeout) if waited.so_far() < patience => {}
                Err(RecvTimeoutError::Timeout) => {
                    waited = Waited::begin();
                    watched = hub.watch(watched);
                    let failed = hub.state().failed.clone();
                    if let (Some((_, sentence)), false) = (failed, told) {
                        told = true;
                        events(Event::Stuck(sentence));
                    }
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
    });
    let failed = hub.state().failed.clone();
    let rank = failed.as_ref().map_or(0, |(rank, _)| *rank);
    let said = |result: &Option<Result<T, ExperimentError>>| match result {
        Some(Err(error)) => Some(error.to_string()),
        _ => None,
    };
    let shared = failed.is_some() && results.windows(2).all(|pair| said(&pair[0]) == said(&pair[1]));
    let own = results.get_mut(rank).and_then(Option::take);
    match (own, failed) {
        (Some(Err(error @ (ExperimentError::Interrupted { .. } | ExperimentError::Request { .. }))), _) => {
            Err(error)
        }
        // What all ranks found out together is nobody's own failure.
        (Some(Err(error)), Some(_)) if shared => Err(error),
        (_, Some(failed)) => Err(stopped(&failed)),
        (Some(outcome), None) => outcome,
        (None, None) => Err(ExperimentError::work("no rank was asked to work")),
    }
}

fn tell(ranks: &Threads, send: &SyncSender<Word>, event: Event) {
    if ranks.rank == 0 {
        // Whoever started the run listens until every rank has ended.
        let _ = send.send(Word::Said(event));
    }
}

/// Runs `work` on a pool of its own; a panic becomes an error.
fn on_pool<T: Send>(
    threads: usize,
    work: impl FnOnce() -> Result<T, ExperimentError> + Send,
) -> Result<T, ExperimentError> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|cause| ExperimentError::work(format!("a rank's threads cannot be started: {cause}")))?;
    match pool.install(|| catch_unwind(AssertUnwindSafe(work))) {
        Ok(outcome) => outcome,
        Err(cause) => Err(broken_off(cause.as_ref())),
    }
}
