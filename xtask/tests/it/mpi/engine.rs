//! What ranks exchange through MPI, and which of them is named when an exchange does not end.

use std::io::Write;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use tvr_experiment::ExperimentError;
use tvr_experiment::collective::launch::{self, Place};
use tvr_experiment::collective::{Process, processes};

use super::{SOON, error, mpirun, there};
use crate::{stderr, stdout};

/// Runs this very test program under `mpirun`: every rank of it runs the test of that name.
fn ranks_run(count: &str, test: &str) -> Output {
    let mut command = mpirun(Path::new("."));
    command.args(["-n", count]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap()
}

/// Does `work` as a rank of those that `mpirun` has started.
fn as_rank(
    patience: Duration,
    work: impl FnOnce(&dyn Process) -> Result<(), ExperimentError>,
) -> Result<(), ExperimentError> {
    let place = launch::place(&|name| std::env::var(name).ok()).unwrap();
    let place = place.unwrap_or(Place { rank: 0, size: 1, local_rank: 0 });
    // At once, as the program does: a launcher puts words of its own between two writes.
    let say: fn(&ExperimentError) = |error| {
        std::io::stderr().write_all(format!("error: {error}\n").as_bytes()).unwrap();
    };
    processes::run(place, patience, say, work)
}

#[test]
fn three_processes_gather_add_up_and_broadcast_in_their_order() {
    if !there() {
        return;
    }
    let output = ranks_run("3", "mpi::engine::one_of_three");
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
}

/// Numbers whose sum depends on its order.
fn numbers(rank: usize, count: usize) -> Vec<f32> {
    (0..count)
        .map(|place| ((place * 7 + rank * 13) as f32 * 0.37).sin() * 10f32.powi(rank as i32 * 3))
        .collect()
}

#[test]
#[ignore = "run by three_processes_gather_add_up_and_broadcast_in_their_order, under mpirun"]
fn one_of_three() {
    let work = |ranks: &dyn Process| {
        assert_eq!(ranks.size(), 3);
        for turn in 0..20u8 {
            let all = ranks.gather("bytes", vec![turn; 5 * ranks.rank()])?;
            assert_eq!(all.iter().map(|bytes| bytes.len()).collect::<Vec<_>>(), [0, 5, 10]);
            assert!(all.iter().all(|bytes| bytes.iter().all(|&byte| byte == turn)));
            for count in [0, 1, 2, 7, 1000] {
                let sum = ranks.sum("numbers", numbers(ranks.rank(), count))?;
                let mut expected = vec![0f32; count];
                for rank in 0..3 {
                    expected.iter_mut().zip(numbers(rank, count)).for_each(|(sum, number)| *sum += number);
                }
                assert_eq!(sum, expected, "added in another order");
            }
            let first = ranks.broadcast("a word", vec![turn, ranks.rank() as u8])?;
            assert_eq!(**first, [turn, 0]);
            ranks.barrier("a barrier")?;
        }
        // More than is moved at once.
        let long =
            |rank: usize| (0..50_000_000u32).map(|place| (place >> 8) as u8 ^ rank as u8).collect::<Vec<_>>();
        let all = ranks.gather("long rows", if ranks.rank() == 1 { long(1) } else { vec![7] })?;
        assert!(*all[0] == [7] && *all[1] == long(1) && *all[2] == [7]);
        let first = ranks.broadcast("a long row", [long(0), long(2)].concat())?;
        assert!(first[..50_000_000] == long(0) && first[50_000_000..] == long(2));

        let what = ["codes", "gradients", "codes"][ranks.rank()];
        let expected = [
            "rank 1 came to exchange gradients, but rank 0 exchanges codes",
            "rank 0 came to exchange codes, but rank 1 exchanges gradients",
            "rank 1 came to exchange gradients, but rank 2 exchanges codes",
        ];
        assert_eq!(ranks.barrier(what).unwrap_err().to_string(), expected[ranks.rank()]);
        let error = ranks.sum("rows", vec![0.0; 1 + ranks.rank()]).unwrap_err();
        assert_eq!(error.to_string(), "rows: the ranks give rows of different lengths");
        Ok(())
    };
    as_rank(Duration::from_secs(60), work).unwrap();
}

#[test]
fn of_three_processes_the_one_that_hangs_fails_or_breaks_off_is_named() {
    if !there() {
        return;
    }
    for (test, sentence) in [
        (
            "mpi::engine::the_second_hangs",
            "error: rank 1 of 3: did not come to exchange numbers within 0.5 s; it hangs, or --patience is too short",
        ),
        ("mpi::engine::the_second_fails", "error: rank 1 of 3: the disk is gone"),
        ("mpi::engine::the_second_breaks_off", "error: rank 1 of 3: it broke off: out of memory"),
    ] {
        let began = Instant::now();
        let output = ranks_run("3", test);
        let said = stderr(&output);
        assert_eq!(error(&said), sentence, "{said}");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(began.elapsed() < SOON);
    }
}

fn second(patience: Duration, what: impl FnOnce() -> Result<(), ExperimentError>) {
    let _ = as_rank(patience, |ranks| {
        ranks.sum("numbers", vec![1.0; 5])?;
        if ranks.rank() == 1 {
            what()?;
        }
        ranks.sum("numbers", vec![1.0; 5])?;
        Ok(())
    });
}

#[test]
#[ignore = "run under mpirun"]
fn the_second_hangs() {
    second(Duration::from_millis(500), || {
        std::thread::sleep(Duration::from_secs(600));
        Ok(())
    });
}

#[test]
#[ignore = "run under mpirun"]
fn the_second_fails() {
    second(Duration::from_secs(60), || Err(ExperimentError::work("the disk is gone")));
}

#[test]
#[ignore = "run under mpirun"]
fn the_second_breaks_off() {
    second(Duration::from_secs(60), || panic!("out of memory"));
}
