//! Ranks as processes, on one machine or many, through MPI (feature `mpi`).
//!
//! An exchange has two halves:
//!
//! ```text
//! meet      each rank tells every other what it comes for and how many bytes it brings   64 bytes to each
//! transfer  MPI's own non-blocking collective moves them                                  from and to host memory
//! ```
//!
//! Both are asked again and again until they are done or patience is over, so a rank that was stopped, or a network that
//! is gone, is an error and no wait for ever; and since a rank hears from every other by itself, it knows who is missing. A
//! sum is an exchange of shares, which each rank adds up in the order of ranks, and a gathering of these sums: the bytes of
//! a ring, `2 · 4 · P · (N − 1) / N`, and the bits of [`Threads`](super::Threads).
//!
//! These are the raw bindings of the project rsmpi (`mpi-sys`), not its crate `mpi`, for three reasons: a request that is
//! not done ends the process there, so patience could never be over; return codes are dropped, so a lost connection goes
//! unseen; and it asks for the default features of `once_cell`, which burn's tree is built without, so every build with
//! MPI would compile burn anew.

mod asking;

use std::ffi::c_int;
use std::ops::Range;
use std::ptr::null_mut;
use std::sync::Arc;
use std::time::Duration;

use mpi_sys as raw;

use crate::collective::launch::Place;
use crate::collective::processes::{COURTESY, Process};
use crate::collective::{Collective, late};
use crate::error::ExperimentError;
use asking::{OTHERS_COMPUTE, OTHERS_SEND, asked, done, word};

/// Bytes that a gathering or a broadcast moves at once, over all ranks, 64 MiB: MPI counts in 31 bits.
const PIECE: usize = 1 << 26;

/// Bytes of what a rank tells the others: a length and a name.
const HEADER: usize = 64;

/// What a rank comes for that has waited too long, to find out who is still there.
const NOTHING_MORE: &str = "nothing more";

/// How long the others may take to answer that.
const GRACE: Duration = Duration::from_secs(2);

/// This process among those that MPI has started.
#[derive(Debug)]
pub struct Mpi {
    place: Place,
    patience: Duration,
}

/// Why an exchange did not end.
enum Broken {
    /// MPI's return code.
    Code(c_int),
    /// Ranks that did not come in time.
    Missing(Vec<usize>),
}

impl Mpi {
    /// Joins the others; `place` is what the launcher's variables say.
    ///
    /// # Errors
    /// An MPI that cannot be started, or that counts otherwise than the launcher.
    pub fn start(place: Place, patience: Duration) -> Result<Self, ExperimentError> {
        let (mut level, mut rank, mut size): (c_int, c_int, c_int) = (0, 0, 0);
        // SAFETY: called once, before any other function of MPI; the pointers are to locals that outlive the calls.
        let code = unsafe {
            let code = raw::MPI_Init_thread(null_mut(), null_mut(), raw::RSMPI_THREAD_FUNNELED, &mut level);
            raw::MPI_Comm_set_errhandler(raw::RSMPI_COMM_WORLD, raw::RSMPI_ERRORS_RETURN);
            raw::MPI_Comm_rank(raw::RSMPI_COMM_WORLD, &mut rank);
            raw::MPI_Comm_size(raw::RSMPI_COMM_WORLD, &mut size);
            code
        };
        if code != 0 {
            return Err(ExperimentError::work(format!("MPI cannot be started: {}", word(code))));
        }
        if (rank as usize, size as usize) != (place.rank, place.size) {
            return Err(ExperimentError::request(format!(
                "MPI counts rank {rank} of {size}, but the launcher's variables say rank {} of {}; start it with the mpirun \
                 of the MPI that it was built with",
                place.rank, place.size
            )));
        }
        Ok(Self { place, patience })
    }

    fn others(&self) -> impl Iterator<Item = usize> + use<> {
        let own = self.place.rank;
        (0..self.place.size).filter(move |&rank| rank != own)
    }

    fn failed(&self, what: &str, broken: Broken) -> ExperimentError {
        let Place { rank, size, .. } = self.place;
        match broken {
            Broken::Code(code) => {
                ExperimentError::work(format!("rank {rank} of {size}: exchanging {what}: {}", word(code)))
            }
            Broken::Missing(ranks) => match ranks.first() {
                Some(&missing) => late(missing, size, what, self.patience),
                None => ExperimentError::work(format!(
                    "all of {size} ranks exchange {what}, and it has not ended within {} s; the network hangs, or --patience is too short",
                    self.patience.as_secs_f64()
                )),
            },
        }
    }

    /// Waits for every rank to come for `what`; bytes that each of them brings.
    fn meet(&self, what: &'static str, own: usize) -> Result<Vec<usize>, ExperimentError> {
        let told = self.tell(what, own, self.patience).map_err(|broken| self.failed(what, broken))?;
        let mut lengths = vec![own; self.place.size];
        for (rank, (length, name)) in self.others().zip(told) {
            if name != header(what, 0)[8..] {
                if name == header(NOTHING_MORE, 0)[8..] {
                    // That rank has given up, will say why, and end all; this one speaks if nobody does.
                    std::thread::sleep(GRACE + COURTESY);
                }
                let name = String::from_utf8_lossy(&name);
                return Err(ExperimentError::work(format!(
                    "rank {rank} came to exchange {}, but rank {} exchanges {what}",
                    name.trim_end_matches('\0'),
                    self.place.rank
                )));
            }
            lengths[rank] = length;
        }
        Ok(lengths)
    }

    /// Tells every other rank, and hears from each.
    fn tell(&self, what: &str, own: usize, patience: Duration) -> Result<Vec<(usize, Vec<u8>)>, Broken> {
        const TAG: c_int = 11;
        let others: Vec<usize> = self.others().collect();
        let own = header(what, own);
        let mut heard = vec![[0u8; HEADER]; others.len()];
        let mut requests = Vec::with_capacity(2 * others.len());
        let mut begun = Ok(());
        for (&rank, heard) in others.iter().zip(&mut heard) {
            // SAFETY: both buffers are on the heap and live until the requests are done, or for ever below.
            unsafe {
                let (byte, world, rank) = (raw::RSMPI_UINT8_T, raw::RSMPI_COMM_WORLD, rank as c_int);
                let (mut receive, mut send) = (raw::RSMPI_REQUEST_NULL, raw::RSMPI_REQUEST_NULL);
                let to = heard.as_mut_ptr().cast();
                let (from, count) = (own.as_ptr().cast(), HEADER as c_int);
                for code in [
                    raw::MPI_Irecv(to, count, byte, rank, TAG, world, &mut receive),
                    raw::MPI_Isend(from, count, byte, rank, TAG, world, &mut send),
                ] {
                    begun = begun.and(if code == 0 { Ok(()) } else { Err(code) });
                }
                requests.extend([receive, send]);
            }
        }
        let ask = || {
            let mut done: c_int = 0;
            // SAFETY: the requests were begun above; there are as many as the count says.
            let code = unsafe {
                let statuses = raw::RSMPI_STATUSES_IGNORE;
                raw::MPI_Testall(requests.len() as c_int, requests.as_mut_ptr(), &mut done, statuses)
            };
            if code == 0 { Ok(done != 0) } else { Err(code) }
        };
        let broken = match begun.and_then(|()| asked(OTHERS_COMPUTE, patience, ask)) {
            Ok(true) => {
                let read = |heard: &[u8; HEADER]| {
                    let (length, name) = heard.split_at(8);
                    let length = length.first_chunk().map_or(0, |length| u64::from_le_bytes(*length));
                    (length as usize, name.to_vec())
                };
                return Ok(heard.iter().map(read).collect());
            }
            Err(code) => Broken::Code(code),
            Ok(false) => {
                let mut missing = Vec::new();
                for (&rank, receive) in others.iter().zip(requests.iter_mut().step_by(2)) {
                    if !done(receive).unwrap_or(false) {
                        missing.push(rank);
                    }
                }
                Broken::Missing(missing)
            }
        };
        // MPI may still write there.
        std::mem::forget((own, heard));
        Err(broken)
    }

    /// Runs one collective of MPI, for which every rank has come. Its buffers are on the heap, and `begin` takes no pointer
    /// to anything else.
    fn transfer<Buffers>(
        &self,
        what: &'static str,
        mut buffers: Buffers,
        begin: impl FnOnce(&mut Buffers, &mut raw::MPI_Request) -> c_int,
    ) -> Result<Buffers, ExperimentError> {
        // SAFETY: a constant of the library.
        let mut request = unsafe { raw::RSMPI_REQUEST_NULL };
        let begun = begin(&mut buffers, &mut request);
        let ended = match begun {
            0 => asked(OTHERS_SEND, self.patience, || done(&mut request)),
            code => Err(code),
        };
        let broken = match ended {
            Ok(true) => return Ok(buffers),
            Err(code) => Broken::Code(code),
            // Who has come and went no further is there, and says so.
            Ok(false) => match self.tell(NOTHING_MORE, 0, GRACE.min(self.patience)) {
                Ok(_) => Broken::Missing(Vec::new()),
                Err(broken) => broken,
            },
        };
        // MPI may still write there.
        std::mem::forget(buffers);
        Err(self.failed(what, broken))
    }

    /// Gathers numbers of `kind`, of which each rank has its range of the whole.
    fn gather_ranges<Number: Copy + Default>(
        &self,
        what: &'static str,
        kind: raw::MPI_Datatype,
        own: Vec<Number>,
        ranges: &[Range<usize>],
    ) -> Result<Vec<Number>, ExperimentError> {
        let whole = vec![Number::default(); ranges.last().map_or(0, |range| range.end)];
        let (counts, starts) = counted(ranges)?;
        let (_, whole, ..) =
            self.transfer(what, (own, whole, counts, starts), |(own, whole, counts, starts), request| {
                // SAFETY: `own` has as many numbers as this rank's range, and `whole` holds every range.
                unsafe {
                    let (from, to) = (own.as_ptr().cast(), whole.as_mut_ptr().cast());
                    let (count, world) = (counts[self.place.rank], raw::RSMPI_COMM_WORLD);
                    let (counts, starts) = (counts.as_ptr(), starts.as_ptr());
                    raw::MPI_Iallgatherv(from, count, kind, to, counts, starts, kind, world, request)
                }
            })?;
        Ok(whole)
    }
}

impl Collective for Mpi {
    fn rank(&self) -> usize {
        self.place.rank
    }

    fn size(&self) -> usize {
        self.place.size
    }

    fn gather(&self, what: &'static str, own: Vec<u8>) -> Result<Vec<Arc<Vec<u8>>>, ExperimentError> {
        // SAFETY: a constant of the library.
        let byte = unsafe { raw::RSMPI_UINT8_T };
        let lengths = self.meet(what, own.len())?;
        let mut all: Vec<Vec<u8>> = lengths.iter().map(|&length| Vec::with_capacity(length)).collect();
        let piece = PIECE / self.place.size;
        for start in (0..lengths.iter().copied().max().unwrap_or_default()).step_by(piece) {
            let ranges =
                one_after_another(lengths.iter().map(|length| length.saturating_sub(start).min(piece)));
            let part = own[start.min(own.len())..][..ranges[self.place.rank].len()].to_vec();
            let whole = self.gather_ranges(what, byte, part, &ranges)?;
            for (all, range) in all.iter_mut().zip(ranges) {
                all.extend_from_slice(&whole[range]);
            }
        }
        Ok(all.into_iter().map(Arc::new).collect())
    }

    fn sum(&self, what: &'static str, own: Vec<f32>) -> Result<Vec<f32>, ExperimentError> {
        // SAFETY: a constant of the library.
        let float = unsafe { raw::RSMPI_FLOAT };
        let Place { rank, size, .. } = self.place;
        let count = own.len();
        if self.meet(what, count)?.iter().any(|&length| length != count) {
            return Err(ExperimentError::work(format!("{what}: the ranks give rows of different lengths")));
        }
        let share = count.div_ceil(size);
        let ranges = one_after_another((0..size).map(|rank| share.min(count.saturating_sub(rank * share))));
        let mine = ranges[rank].len();
        let taken = one_after_another((0..size).map(|_| mine));
        let rows = vec![0.0f32; size * mine];
        let (sent, received) = (counted(&ranges)?, counted(&taken)?);
        let (_, rows, ..) =
            self.transfer(what, (own, rows, sent, received), |(own, rows, sent, received), request| {
                // SAFETY: `own` holds every range that is sent, and `rows` a range of this rank's length from each.
                unsafe {
                    raw::MPI_Ialltoallv(
                        own.as_ptr().cast(),
                        sent.0.as_ptr(),
                        sent.1.as_ptr(),
                        float,
                        rows.as_mut_ptr().cast(),
                        received.0.as_ptr(),
                        received.1.as_ptr(),
                        float,
                        raw::RSMPI_COMM_WORLD,
                        request,
                    )
                }
            })?;
        let mut sum = vec![0.0f32; mine];
        for row in rows.chunks_exact(mine.max(1)) {
            sum.iter_mut().zip(row).for_each(|(sum, number)| *sum += number);
        }
        self.gather_ranges(what, float, sum, &ranges)
    }

    fn broadcast(&self, what: &'static str, own: Vec<u8>) -> Result<Arc<Vec<u8>>, ExperimentError> {
        let own = if self.place.rank == 0 { own } else { Vec::new() };
        let lengths = self.meet(what, own.len())?;
        let mut bytes = own;
        bytes.resize(lengths.first().copied().unwrap_or_default(), 0);
        for start in (0..bytes.len()).step_by(PIECE) {
            bytes = self.transfer(what, bytes, |bytes, request| {
                let piece = &mut bytes[start..];
                let (from, count) = (piece.as_mut_ptr().cast(), piece.len().min(PIECE) as c_int);
                // SAFETY: the buffer holds `count` bytes from there.
                unsafe { raw::MPI_Ibcast(from, count, raw::RSMPI_UINT8_T, 0, raw::RSMPI_COMM_WORLD, request) }
            })?;
        }
        Ok(Arc::new(bytes))
    }
}

impl Process for Mpi {
    fn finish(&self) {
        // SAFETY: every request of this rank is done; nothing of MPI is called afterwards.
        unsafe {
            raw::MPI_Finalize();
        }
    }

    fn abort(&self, code: u8) -> ! {
        // SAFETY: allowed at any moment between start and finish.
        unsafe {
            raw::MPI_Abort(raw::RSMPI_COMM_WORLD, c_int::from(code));
        }
        std::process::exit(i32::from(code))
    }
}

/// Ranges of these lengths, each beginning where the one before it ends.
fn one_after_another(lengths: impl Iterator<Item = usize>) -> Vec<Range<usize>> {
    let mut end = 0;
    let next = |length| {
        let start = end;
        end += length;
        start..end
    };
    lengths.map(next).collect()
}

/// Lengths and starts of ranges as MPI takes them.
fn counted(ranges: &[Range<usize>]) -> Result<(Vec<c_int>, Vec<c_int>), ExperimentError> {
    let int = |number: usize| {
        c_int::try_from(number).map_err(|_| {
            ExperimentError::work(format!("MPI moves less than 2^31 numbers at once, not {number}"))
        })
    };
    let counts = ranges.iter().map(|range| int(range.len())).collect::<Result<_, _>>()?;
    Ok((counts, ranges.iter().map(|range| int(range.start)).collect::<Result<_, _>>()?))
}

/// A length and a name, on the heap.
fn header(what: &str, length: usize) -> Vec<u8> {
    let mut header = (length as u64).to_le_bytes().to_vec();
    header.extend(what.bytes().take(HEADER - header.len()));
    header.resize(HEADER, 0);
    header
}
