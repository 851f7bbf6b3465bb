//! Published code's own outputs (`ties.*`), and a published similarity matrix.

use std::path::{Path, PathBuf};

use ndarray::Array2;
use safetensors::{Dtype, SafeTensors};
use tvr_metrics::{Direction, NonFinite, Policy, Summary, Ties, Truth, judge, ranks, representation};

/// The bytes of a shared file, or a printed reason to skip.
fn open(name: &str) -> Option<Vec<u8>> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data").join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) => {
            println!("skipped: {} cannot be read: {error}", path.display());
            None
        }
    }
}

fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    match exponent {
        0 => sign * fraction * 2f64.powi(-24),
        31 => panic!("the golden half case is finite"),
        _ => sign * (1024.0 + fraction) * 2f64.powi(exponent - 25),
    }
}

fn numbers(file: &SafeTensors, key: &str) -> (Vec<usize>, Vec<f64>) {
    let tensor = file.tensor(key).unwrap();
    let bytes = tensor.data();
    let values = match tensor.dtype() {
        Dtype::F16 => {
            bytes.chunks_exact(2).map(|b| half(u16::from_le_bytes(b.try_into().unwrap()))).collect()
        }
        Dtype::F32 => {
            bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
        }
        Dtype::F64 => bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::I32 => {
            bytes.chunks_exact(4).map(|b| f64::from(i32::from_le_bytes(b.try_into().unwrap()))).collect()
        }
        Dtype::I64 => {
            bytes.chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect()
        }
        other => panic!("{key} is {other:?}"),
    };
    (tensor.shape().to_vec(), values)
}

fn matrix(file: &SafeTensors, key: &str) -> Array2<f32> {
    let (shape, values) = numbers(file, key);
    Array2::from_shape_vec((shape[0], shape[1]), values.iter().map(|&x| x as f32).collect()).unwrap()
}

fn reference() -> Policy {
    Policy { ties: Ties::Reference, non_finite: NonFinite::Miss, cutoffs: vec![1, 5, 10] }
}

#[track_caller]
fn check(what: &str, found: f64, expected: f64, tolerance: f64) {
    assert!((found - expected).abs() <= tolerance, "{what}: {found} is not {expected} within {tolerance}");
}

fn figures(summary: &Summary) -> Vec<f64> {
    let recalls = summary.recalls.iter().map(|recall| recall.percent);
    recalls.chain([summary.median_rank, summary.mean_rank]).collect()
}

#[track_caller]
fn check_metrics(file: &SafeTensors, key: &str, summary: &Summary) {
    let (_, expected) = numbers(file, &format!("{key}.metrics"));
    for (found, expected) in figures(summary).into_iter().zip(expected) {
        check(key, found, expected, 1e-12);
    }
}

fn entries(summary: &Summary) -> Vec<f64> {
    summary.ranks.reference_entries().into_iter().map(f64::from).collect()
}

#[test]
fn p_m_2_one_to_one_ties_equal_the_published_lists() {
    let Some(bytes) = open("golden/reference/ties.safetensors") else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for case in ["none", "coarse", "constant", "few", "signed_zero", "nan", "infinite", "half", "one"] {
        let scores = matrix(&file, &format!("ties.{case}.similarity"));
        let judged = judge(scores.view(), &Truth::diagonal(scores.nrows()), &reference()).unwrap();
        for (name, summary) in [("t2v", &judged.text_to_video), ("v2t", &judged.video_to_text)] {
            let key = format!("ties.{case}.{name}");
            assert_eq!(entries(summary), numbers(&file, &format!("{key}.ranks")).1, "{key}");
            check_metrics(&file, &key, summary);
        }
    }
}

#[test]
fn p_m_2_grouped_ties_equal_the_published_lists() {
    let Some(bytes) = open("golden/reference/ties.safetensors") else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for case in ["grouped", "grouped_ties", "grouped_nan", "grouped_even_median"] {
        let scores = matrix(&file, &format!("ties.{case}.similarity"));
        let groups = numbers(&file, &format!("ties.{case}.groups")).1.iter().map(|&x| x as usize).collect();
        let judged = judge(scores.view(), &Truth::groups(groups).unwrap(), &reference()).unwrap();
        let text = &judged.text_to_video;
        let places: Vec<f64> = text
            .ranks
            .greater()
            .iter()
            .zip(text.ranks.equal())
            .map(|(&g, &e)| if e == 0 { -1.0 } else { f64::from(g) })
            .collect();
        assert_eq!(places, numbers(&file, &format!("ties.{case}.t2v.ranks")).1, "{case}");
        check_metrics(&file, &format!("ties.{case}.t2v"), text);
        assert_eq!(
            entries(&judged.video_to_text),
            numbers(&file, &format!("ties.{case}.v2t.ranks")).1,
            "{case}"
        );
        check_metrics(&file, &format!("ties.{case}.v2t"), &judged.video_to_text);
    }
}

fn published_matrix() -> Option<Array2<f32>> {
    let bytes = open("msrvtt/dgl_vit16_sim.npy")?;
    assert_eq!(&bytes[..6], b"\x93NUMPY");
    assert!(String::from_utf8_lossy(&bytes[..128]).contains("(1000, 1000)"));
    let cells = bytes[128..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    Some(Array2::from_shape_vec((1000, 1000), cells).unwrap())
}

/// `[R@1, R@5, R@10, MdR, MnR]`, within half a unit of the last printed digit (and a rounding of the sum).
#[track_caller]
fn check_row(what: &str, summary: &Summary, expected: [f64; 5], points: f64) {
    for (recall, expected) in summary.recalls.iter().zip(expected) {
        check(what, recall.percent, expected, points);
    }
    check(what, summary.median_rank, expected[3], 0.0);
    check(what, summary.mean_rank, expected[4], 5e-4 + 1e-9);
}

#[test]
fn the_published_matrix_of_msrvtt_gives_its_table_under_every_policy() {
    let Some(scores) = published_matrix() else { return };
    let truth = Truth::diagonal(1000);
    let rows = [
        (Ties::Average, [46.7, 74.9, 83.7, 2.0, 9.785], 1e-9),
        (Ties::Optimistic, [46.9, 74.9, 83.7, 2.0, 9.779], 1e-9),
        (Ties::Pessimistic, [46.5, 74.9, 83.7, 2.0, 9.791], 1e-9),
        (Ties::Reference, [46.34, 74.41, 83.20, 2.0, 9.967], 5e-3),
    ];
    for (ties, row, points) in rows {
        let policy = Policy { ties, cutoffs: vec![1, 5, 10], ..Policy::default() };
        let judged = judge(scores.view(), &truth, &policy).unwrap();
        check_row("T2V", &judged.text_to_video, [48.0, 71.3, 81.4, 2.0, 13.649], 1e-9);
        check_row(&format!("V2T {ties}"), &judged.video_to_text, row, points);
        assert!(judged.video_to_text_best.is_none());
        if ties == Ties::Reference {
            assert_eq!(judged.video_to_text.ranks.reference_entries().len(), 1012);
        }
    }
}

#[test]
fn the_published_matrix_counts_equal_the_golden_counts() {
    let (Some(scores), Some(bytes)) = (published_matrix(), open("golden/reference/dsl.safetensors")) else {
        return;
    };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    for (direction, name) in [(Direction::TextToVideo, "t2v"), (Direction::VideoToText, "v2t")] {
        let found = ranks(scores.view(), &Truth::diagonal(1000), direction, &Policy::default()).unwrap();
        let greater: Vec<f64> = found.greater().iter().map(|&g| f64::from(g)).collect();
        let others: Vec<f64> = found.equal().iter().map(|&e| f64::from(e) - 1.0).collect();
        assert_eq!(greater, numbers(&file, &format!("dsl.dgl.raw.{name}.greater")).1);
        assert_eq!(others, numbers(&file, &format!("dsl.dgl.raw.{name}.equal")).1);
    }
}

#[test]
fn the_published_matrix_is_as_unfairly_represented_as_measured() {
    let Some(scores) = published_matrix() else { return };
    let found = representation(scores.view(), Direction::TextToVideo).unwrap();
    check("error", found.error, 0.431, 5e-4); // printed with three decimals
    check("above one", found.share_above_one, 0.467, 1e-9);
    check("above two", found.share_above_two, 0.053, 1e-9);
    check("below half", found.share_below_half, 0.203, 1e-9);
    check("largest", found.largest, 3.34, 5e-3);
    check("smallest", found.smallest, 0.07, 5e-3);
    check("error V2T", representation(scores.view(), Direction::VideoToText).unwrap().error, 0.416, 5e-4);
}

/// Logits plus a bias per column (T2V) or per row (V2T).
fn biased(s: &Array2<f32>, bias: &[f64], direction: Direction) -> Array2<f32> {
    let of = |i: usize, j: usize| if direction == Direction::TextToVideo { bias[j] } else { bias[i] };
    Array2::from_shape_fn(s.dim(), |(i, j)| (f64::from(s[[i, j]]) + of(i, j)) as f32)
}

#[test]
fn p_nc_12_the_normalisation_error_is_that_of_the_oracle_before_and_after() {
    let Some(bytes) = open("golden/reference/oracle-b.safetensors") else { return };
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let s = matrix(&file, "oracle.ncl.sims");
    let errors = numbers(&file, "oracle.ncl.error_by_sweep").1;
    let of = |s: &Array2<f32>| representation(s.view(), Direction::TextToVideo).unwrap();
    let items = |found: &[f64], key: &str| {
        for (found, expected) in found.iter().zip(numbers(&file, key).1) {
            check(key, *found, expected, 1e-5 * expected.max(1.0)); // f32 logits of some 18 plus a bias
        }
    };
    let before = of(&s);
    items(&before.by_item, "oracle.ncl.represented.before");
    check("before", before.error, errors[0], 1e-6);
    for (sweeps, key) in [(1, "n1"), (4, "n4")] {
        let (_, bias) = numbers(&file, &format!("oracle.ncl.square.column.{key}"));
        let after = of(&biased(&s, &bias, Direction::TextToVideo));
        check(key, after.error, errors[sweeps], 1e-5);
    }
    for (bias, key) in [
        ("oracle.ncl.bank_t2v.column.n50", "oracle.ncl.represented.bank"),
        ("oracle.ncl.square.column.n50", "oracle.ncl.represented.oracle_bank"),
    ] {
        let after = of(&biased(&s, &numbers(&file, bias).1, Direction::TextToVideo));
        items(&after.by_item, key);
    }
    let (_, bias) = numbers(&file, "oracle.ncl.square.column.converged");
    let after = of(&biased(&s, &bias, Direction::TextToVideo));
    assert!(after.error <= 1e-4, "{}", after.error);
    // The published matrix: raw, and with the biases of 50 sweeps, in both directions.
    let Some(scores) = published_matrix() else { return };
    for (direction, name) in [(Direction::TextToVideo, "t2v"), (Direction::VideoToText, "v2t")] {
        let errors = numbers(&file, &format!("oracle.dgl.error.{name}")).1;
        let raw = representation(scores.view(), direction).unwrap();
        check(name, raw.error, errors[0], 1e-9);
        for (found, expected) in
            raw.by_item.iter().zip(numbers(&file, &format!("oracle.dgl.represented.{name}.raw")).1)
        {
            check(name, *found, expected, 1e-9);
        }
        let bias = numbers(&file, &format!("oracle.dgl.sinkhorn.tau1.n50.{name}.bias")).1;
        let after = representation(biased(&scores, &bias, direction).view(), direction).unwrap();
        check(name, after.error, errors[2], 1e-6);
    }
}
