//! Work done ahead on threads of its own, handed out in order.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Results of `make(0)`, `make(1)`, … in order, made ahead by some threads outside the compute pool.
///
/// The order and the results do not depend on the number of threads. No more than `ahead` results exist at any time,
/// however slow one of them is. Dropping it stops the threads.
#[derive(Debug)]
pub struct Prefetch<T> {
    shared: Arc<Shared<T>>,
    threads: Vec<JoinHandle<()>>,
}

/// What the threads and the consumer share.
#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    /// Results that exist or are being made, at most.
    ahead: usize,
}

#[derive(Debug)]
struct State<T> {
    /// What no thread has begun.
    left: Range<usize>,
    /// What the consumer waits for.
    next: usize,
    /// Made and not yet handed out.
    ready: BTreeMap<usize, T>,
    /// Nobody waits any more, or a thread has died.
    stopped: bool,
    /// Threads that may still make something.
    alive: usize,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next index to make, as soon as it lies within the window; `None` where nothing is left.
    fn claim(&self) -> Option<usize> {
        let mut state = self.lock();
        while !state.stopped && !state.left.is_empty() && state.left.start - state.next >= self.ahead {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.stopped { None } else { state.left.next() }
    }
}

/// Tells the consumer that a thread is gone, whether it ended or panicked.
struct Alive<T>(Arc<Shared<T>>);

impl<T> Drop for Alive<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.alive -= 1;
        // A result that never comes must not keep the others waiting.
        state.stopped |= std::thread::panicking();
        self.0.changed.notify_all();
    }
}

impl<T: Send + 'static> Prefetch<T> {
    /// Starts `threads` threads that make the results `range`, at most `ahead` of them in the making or waiting.
    pub fn new(
        range: Range<usize>,
        threads: usize,
        ahead: usize,
        make: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> Self {
        let (threads, next) = (threads.max(1), range.start);
        let state = State { left: range, next, ready: BTreeMap::new(), stopped: false, alive: threads };
        let shared =
            Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), ahead: ahead.max(1) });
        let make = Arc::new(make);
        let threads = (0..threads)
            .map(|_| {
                let (alive, make) = (Alive(Arc::clone(&shared)), Arc::clone(&make));
                std::thread::spawn(move || {
                    while let Some(index) = alive.0.claim() {
                        let result = make(index);
                        alive.0.lock().ready.insert(index, result);
                        alive.0.changed.notify_all();
                    }
                })
            })
            .collect();
        Self { shared, threads }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let mut state = self.shared.lock();
        loop {
            let next = state.next;
            if let Some(result) = state.ready.remove(&next) {
                state.next += 1;
                self.shared.changed.notify_all();
                return Some(result);
            }
            if state.stopped || state.alive == 0 {
                return None;
            }
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        // Each thread ends after the result it is at.
        self.shared.lock().stopped = true;
        self.shared.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
