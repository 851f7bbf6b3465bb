//! Work done ahead on threads of its own, handed out in order.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Results of `make(0)`, `make(1)`, … in order, made ahead by some threads outside the compute pool.
///
/// The order and the results do not depend on the number of threads. Dropping it stops the threads.
#[derive(Debug)]
pub struct Prefetch<T> {
    results: Option<Receiver<(usize, T)>>,
    early: BTreeMap<usize, T>,
    next: usize,
    threads: Vec<JoinHandle<()>>,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Starts `threads` threads that make the results `range`, at most `ahead` of them waiting.
    pub fn new(
        range: std::ops::Range<usize>,
        threads: usize,
        ahead: usize,
        make: impl Fn(usize) -> T + Send + Sync + 'static,
    ) -> Self {
        let (send, results): (SyncSender<(usize, T)>, _) = sync_channel(ahead.max(1));
        let next = range.start;
        let range = Arc::new(Mutex::new(range));
        let make = Arc::new(make);
        let threads = (0..threads.max(1))
            .map(|_| {
                let (send, range, make) = (send.clone(), Arc::clone(&range), Arc::clone(&make));
                std::thread::spawn(move || {
                    loop {
                        let index = range.lock().unwrap_or_else(PoisonError::into_inner).next();
                        let Some(index) = index else { return };
                        if send.send((index, make(index))).is_err() {
                            return;
                        }
                    }
                })
            })
            .collect();
        Self { results: Some(results), early: BTreeMap::new(), next, threads }
    }
}

impl<T> Iterator for Prefetch<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        loop {
            if let Some(result) = self.early.remove(&self.next) {
                self.next += 1;
                return Some(result);
            }
            let (index, result) = self.results.as_ref()?.recv().ok()?;
            self.early.insert(index, result);
        }
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        // Without a receiver the next send fails, and each thread ends after the result it is at.
        self.results = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
