//! Slow f64 formulas of the module docs, and the drawing and comparing that tests share.

use ndarray::{Array1, Array2, ArrayView2, Axis};
use proptest::prelude::*;
use tvr_normalize::Scores;

pub fn lse(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let max = values.clone().fold(f64::NEG_INFINITY, f64::max);
    max + values.map(|value| (value - max).exp()).sum::<f64>().ln()
}

pub fn column_lse(s: &Array2<f64>, j: usize) -> f64 {
    lse(s.column(j).iter().copied().collect::<Vec<_>>().into_iter())
}

pub fn over(s: &Array2<f32>, temperature: f32) -> Array2<f64> {
    s.mapv(|value| f64::from(value) / f64::from(temperature))
}

/// The share of each score in its column, among the test queries or the bank and the query.
pub fn share(s: &Array2<f32>, bank: Option<&Array2<f32>>, temperature: f32) -> Array2<f64> {
    let z = over(s, temperature);
    let b = bank.map(|bank| over(bank, temperature));
    Array2::from_shape_fn(s.dim(), |(i, j)| match &b {
        None => (z[[i, j]] - column_lse(&z, j)).exp(),
        Some(b) => {
            let rest = column_lse(b, j);
            1.0 / (1.0 + (rest - z[[i, j]]).exp())
        }
    })
}

pub fn dual_softmax(s: &Array2<f32>, bank: Option<&Array2<f32>>, temperature: f32) -> Array2<f64> {
    s.mapv(f64::from) * share(s, bank, temperature)
}

pub fn inverted_softmax(s: &Array2<f32>, bank: &Array2<f32>, temperature: f32) -> Array2<f64> {
    let b = over(bank, temperature);
    Array2::from_shape_fn(s.dim(), |(i, j)| f64::from(s[[i, j]]) - f64::from(temperature) * column_lse(&b, j))
}

/// `f`, `g` with mean 0 after some sweeps, for marginals of equal total.
pub fn sinkhorn(
    z: &Array2<f64>,
    r: &Array1<f64>,
    c: &Array1<f64>,
    sweeps: usize,
    column_first: bool,
) -> (Array1<f64>, Array1<f64>) {
    let (n, m) = z.dim();
    let columns =
        |f: &Array1<f64>| Array1::from_shape_fn(m, |j| c[j].ln() - lse((0..n).map(|i| z[[i, j]] + f[i])));
    let mut f = Array1::zeros(n);
    let mut g = if column_first { columns(&f) } else { Array1::zeros(m) };
    for _ in 0..sweeps {
        f = Array1::from_shape_fn(n, |i| r[i].ln() - lse((0..m).map(|j| z[[i, j]] + g[j])));
        g = columns(&f);
    }
    let mean = g.mean().unwrap();
    (f + mean, g - mean)
}

pub fn uniform(n: usize) -> Array1<f64> {
    Array1::from_elem(n, 1.0 / n as f64)
}

/// Mean |ρ − 1| of the sums of retrieval probabilities.
pub fn normalisation_error(z: &Array2<f64>, bias: &Array1<f64>) -> f64 {
    let (n, m) = z.dim();
    let mut rho = vec![0.0; m];
    for i in 0..n {
        let total = lse((0..m).map(|j| z[[i, j]] + bias[j]));
        for (j, rho) in rho.iter_mut().enumerate() {
            *rho += (z[[i, j]] + bias[j] - total).exp() * m as f64 / n as f64;
        }
    }
    rho.iter().map(|rho| (rho - 1.0).abs()).sum::<f64>() / m as f64
}

pub fn mean_of_largest(values: impl Iterator<Item = f32>, k: usize) -> f64 {
    let mut values: Vec<f64> = values.map(f64::from).collect();
    values.sort_by(|a, b| b.total_cmp(a));
    values[..k].iter().sum::<f64>() / k as f64
}

/// A matrix of `rows` by `columns` with entries in `±size`.
pub fn matrix(
    rows: impl Strategy<Value = usize>,
    columns: impl Strategy<Value = usize>,
    size: f32,
) -> impl Strategy<Value = Array2<f32>> {
    (rows, columns).prop_flat_map(move |(n, m)| of_shape(n, m, size))
}

pub fn of_shape(n: usize, m: usize, size: f32) -> impl Strategy<Value = Array2<f32>> {
    prop::collection::vec(-size..size, n * m)
        .prop_map(move |values| Array2::from_shape_vec((n, m), values).unwrap())
}

/// A test matrix and a bank over one gallery.
pub fn with_bank(size: f32) -> impl Strategy<Value = (Array2<f32>, Array2<f32>)> {
    (2..9usize, 2..9usize, 2..12usize)
        .prop_flat_map(move |(n, m, k)| (of_shape(n, m, size), of_shape(k, m, size)))
}

/// Everything a method may ask for, over one gallery.
#[derive(Clone, Debug)]
pub struct World {
    pub test: Array2<f32>,
    pub bank: Array2<f32>,
    pub items: Array2<f32>, // the gallery bank
    pub own: Array2<f32>,   // the bank queries against a gallery of their own
}

impl World {
    /// With all banks.
    pub fn scores(&self) -> Scores<'_> {
        self.of(self.test.view())
    }

    /// The banks with other test scores.
    pub fn of<'a>(&'a self, test: ArrayView2<'a, f32>) -> Scores<'a> {
        Scores::new(test)
            .with_query_bank(self.bank.view())
            .with_gallery_bank(self.items.view())
            .with_bank_gallery(self.own.view())
    }

    /// Queries, bank rows, bank items and gallery in another order.
    pub fn select(&self, rows: &[usize], columns: &[usize], bank: &[usize], items: &[usize]) -> Self {
        Self {
            test: self.test.select(Axis(0), rows).select(Axis(1), columns),
            bank: self.bank.select(Axis(0), bank).select(Axis(1), columns),
            items: self.items.select(Axis(0), items).select(Axis(1), columns),
            own: self.own.select(Axis(0), bank),
        }
    }
}

pub fn world(size: f32) -> impl Strategy<Value = World> {
    (2..9usize, 2..9usize, 2..12usize, 2..7usize).prop_flat_map(move |(n, m, k, l)| {
        (of_shape(n, m, size), of_shape(k, m, size), of_shape(l, m, size), of_shape(k, l, size))
            .prop_map(|(test, bank, items, own)| World { test, bank, items, own })
    })
}

/// One world, the same every time: `[n, m]` test scores, `k` bank queries, `l` bank items.
pub fn noisy_world([n, m, k, l]: [usize; 4], size: f32) -> World {
    World {
        test: noise(n, m, size, 1),
        bank: noise(k, m, size, 2),
        items: noise(l, m, size, 3),
        own: noise(k, l, size, 4),
    }
}

/// Numbers that look random, the same every time.
pub fn noise(n: usize, m: usize, size: f32, seed: u64) -> Array2<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    Array2::from_shape_fn((n, m), |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * size
    })
}

/// The largest of some errors; NaN if one is NaN, which `f64::max` would swallow.
pub fn largest(errors: impl Iterator<Item = f64>) -> f64 {
    errors.fold(0.0, |most, off| if off <= most { most } else { off })
}

#[track_caller]
pub fn assert_close(found: ArrayView2<f32>, expected: &Array2<f64>, tolerance: f64) {
    assert_eq!(found.dim(), expected.dim());
    for ((index, &found), &expected) in found.indexed_iter().zip(expected) {
        let error = (f64::from(found) - expected).abs() / expected.abs().max(1.0);
        assert!(error <= tolerance, "{index:?}: {found} is not {expected}: {error} > {tolerance}");
    }
}

#[track_caller]
pub fn assert_near(found: &Array1<f64>, expected: &Array1<f64>, tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        let error = (found - expected).abs();
        assert!(error <= tolerance, "[{index}]: {found} is not {expected}: {error} > {tolerance}");
    }
}
