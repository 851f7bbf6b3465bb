//! What every bench shares: the same scores as the peers, and one line of figures for each id.

use std::io::Write;
use std::time::{Duration, Instant};

use criterion::Criterion;
use ndarray::Array2;
use tvr_experiment::in_pool;

/// Cosines `[texts, videos]`: 0.25 ± 0.05, and 0.5 more for true pairs. Every hundredth video is one that no text
/// wants: 0.7 less, and 0.1 more for its true pairs. Over a temperature of 0.01 its column lies more than 104 below the
/// largest score, so it is zero in f32 wherever the global maximum alone is taken off. `peers/common.py` makes the
/// same bits.
#[allow(dead_code)] // each bench is a crate of its own and uses what it needs
pub fn cosines(texts: usize, videos: usize) -> Array2<f32> {
    Array2::from_shape_fn((texts, videos), |(text, video)| {
        let (base, own) = if video % 100 == 99 { (0.25 - 0.7, 0.1) } else { (0.25, 0.5) };
        let own = if video_of(text, texts, videos) == video { own } else { 0.0 };
        (base + 0.05 * normal((text * videos + video) as u64) + own) as f32
    })
}

/// A bank, `[queries, gallery]`: the same cosines without true pairs, other numbers.
#[allow(dead_code)]
pub fn bank(queries: usize, gallery: usize) -> Array2<f32> {
    Array2::from_shape_fn((queries, gallery), |(query, item)| {
        let base = if item % 100 == 99 { 0.25 - 0.7 } else { 0.25 };
        (base + 0.05 * normal((1 << 40) + (query * gallery + item) as u64)) as f32
    })
}

/// Four 16-bit uniforms: nearly normal, and the same in every language.
#[allow(dead_code)]
fn normal(index: u64) -> f64 {
    let bits = split_mix(index);
    let sum: u64 = (0..4).map(|part| (bits >> (16 * part)) & 0xffff).sum();
    (sum as f64 / 65536.0 - 2.0) * 3f64.sqrt()
}

/// The video of a text: equal shares, in order.
#[allow(dead_code)]
pub fn video_of(text: usize, texts: usize, videos: usize) -> usize {
    text * videos / texts
}

fn split_mix(index: u64) -> u64 {
    let mut z = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Runs `work` under criterion, on a thread of the pool as the commands do, then prints `id`, name, least wall time, mean
/// processor time (all threads) and the process's peak memory so far, with tabs, as the peers do. Criterion itself reports
/// means only.
#[allow(dead_code)]
pub fn measure<T>(criterion: &mut Criterion, id: &str, name: &str, mut work: impl FnMut() -> T + Send) {
    let (mut least, mut runs, mut processor) = (Duration::MAX, 0, Duration::ZERO);
    criterion.bench_function(&full_id(id, name), |bencher| {
        bencher.iter_custom(|iterations| {
            let before = processor_time();
            let mut total = Duration::ZERO;
            in_pool(|| {
                for _ in 0..iterations {
                    let start = Instant::now();
                    let result = std::hint::black_box(work());
                    let wall = start.elapsed();
                    drop(result);
                    least = least.min(wall);
                    total += wall;
                }
            });
            runs += iterations;
            processor += processor_time().saturating_sub(before);
            total
        });
    });
    if runs == 0 {
        return; // left out by a filter
    }
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let (wall, processor) = (millis(least), millis(processor) / runs as f64);
    let line = format!("{id}\t{name}\t{wall:.3}\t{processor:.3}\t{:.0}", peak_mib());
    let _ = writeln!(std::io::stdout(), "\n{line}");
}

#[allow(dead_code)]
fn full_id(id: &str, name: &str) -> String {
    if name == "tvr" { id.to_owned() } else { format!("{id}/{name}") }
}

/// Processor time of all threads and of programs that were started and have ended. Threads that live are known to the
/// nanosecond, what has ended to the tick of 10 ms.
fn processor_time() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let nanos = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    let living = Duration::from_nanos(nanos.sum());
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name: the 12th to 15th words are ours and our children's, in the user's and the system's name.
    let words = stat.rsplit_once(") ").map_or("", |(_, words)| words).split(' ').skip(11).take(4);
    let ticks: Vec<u64> = words.filter_map(|word| word.parse().ok()).collect();
    let of =
        |ticks: Option<&[u64]>| Duration::from_millis(10 * ticks.unwrap_or_default().iter().sum::<u64>());
    living.max(of(ticks.get(..2))) + of(ticks.get(2..))
}

fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse::<f64>().ok())
        .map_or(f64::NAN, |kib| kib / 1024.0)
}

/// Runs `work` six times on a thread of the pool, the first one to warm up, and prints `id`, `tvr`, median wall time, mean
/// processor time (all threads) and the process's peak memory so far, with tabs, as the peers do. For work of a second, where
/// criterion would take minutes. The first argument that is no option chooses among the ids.
#[allow(dead_code)]
pub fn median_of_five<T>(id: &str, mut work: impl FnMut() -> T + Send) {
    if left_out(id) {
        return;
    }
    let mut once = || {
        in_pool(|| {
            let start = Instant::now();
            let result = std::hint::black_box(work());
            let wall = start.elapsed();
            drop(result);
            wall
        })
    };
    once();
    let before = processor_time();
    let mut walls: Vec<Duration> = (0..5).map(|_| once()).collect();
    let processor = processor_time().saturating_sub(before);
    walls.sort();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, processor) = (millis(walls[2]), millis(processor) / 5.0);
    let _ = writeln!(std::io::stdout(), "{id}\ttvr\t{median:.3}\t{processor:.3}\t{:.0}", peak_mib());
}

/// One of several pieces of work that are timed beside each other: its id, and what is timed.
#[allow(dead_code)]
pub type Piece<'a, E> = (String, Box<dyn FnMut() -> Result<(), E> + 'a>);

/// Runs the pieces in turns, `rounds` rounds after one to warm up: neighbours of the machine come and go within seconds, and
/// what two pieces cost against one another is known only if they run next to each other. Prints for each piece `id`, `tvr`,
/// median wall time, mean processor time and peak memory so far, as [`measure`] does; then, of its ratio to the first piece of the same
/// round, the median with the quartiles, of wall and of processor time.
#[allow(dead_code)]
pub fn in_turns<E: std::fmt::Display>(rounds: usize, mut pieces: Vec<Piece<E>>) {
    pieces.retain(|(id, _)| !left_out(id));
    let mut out = std::io::stdout();
    let mut walls = vec![Vec::with_capacity(rounds); pieces.len()];
    let mut processors = walls.clone();
    for round in 0..=rounds {
        for (piece, (id, work)) in pieces.iter_mut().enumerate() {
            let (start, before) = (Instant::now(), processor_time());
            if let Err(error) = work() {
                let _ = writeln!(out, "{id}: {error}");
                return;
            }
            let (wall, processor) = (start.elapsed(), processor_time().saturating_sub(before));
            if round > 0 {
                walls[piece].push(wall.as_secs_f64() * 1e3);
                processors[piece].push(processor.as_secs_f64() * 1e3);
            }
        }
    }
    let peak = peak_mib();
    for (piece, (id, _)) in pieces.iter().enumerate() {
        let [_, wall, _] = quartiles(walls[piece].iter().copied());
        let processor = processors[piece].iter().sum::<f64>() / rounds as f64;
        let _ = writeln!(out, "{id}\ttvr\t{wall:.3}\t{processor:.3}\t{peak:.0}");
    }
    for (piece, (id, _)) in pieces.iter().enumerate().skip(1) {
        let against = |times: &[Vec<f64>]| {
            let ratios = times[piece].iter().zip(&times[0]).map(|(own, first)| own / first);
            let [low, median, high] = quartiles(ratios);
            format!("{median:.2} ({low:.2} to {high:.2})")
        };
        let (wall, processor) = (against(&walls), against(&processors));
        let _ = writeln!(out, "{id} against {}: wall {wall}, processor {processor}", pieces[0].0);
    }
}

/// Whether the first argument that is no option is not part of `id`.
#[allow(dead_code)]
fn left_out(id: &str) -> bool {
    std::env::args().skip(1).find(|word| !word.starts_with('-')).is_some_and(|part| !id.contains(&part))
}

#[allow(dead_code)]
fn quartiles(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| {
        values
            .get((values.len() * quarter / 4).min(values.len().saturating_sub(1)))
            .copied()
            .unwrap_or(f64::NAN)
    })
}
