//! Dual bank normalisation (DBNorm): an item pays for how much bank queries *and* bank gallery items want it.
//!
//! ```text
//! IS_q[q, j] = exp(s[q, j] / T) / Σ_i exp(B[i, j] / T)        i over the query bank
//! IS_g[q, j] = exp(s[q, j] / U) / Σ_i exp(G[i, j] / U)        i over the gallery bank
//! DualIS     = IS_q · IS_g            in logs, over 1/T + 1/U:  s − (lse(B/T) + lse(G/U)) / (1/T + 1/U)
//! DualDIS    = each factor only where the raw winner is active in its bank, else s
//! A          = items that are the best of at least one row of a bank, or among its k best
//! ```
//!
//! | symbol | meaning | shape, unit |
//! |---|---|---|
//! | `s` | test scores | `[queries, gallery]` |
//! | `B`, `G` | query bank, gallery bank | `[bank queries, gallery]`, `[bank items, gallery]` |
//! | `T`, `U` | `temperature`, `gallery_temperature` | above 0, unit of the scores |
//!
//! Source: Wang et al. 2023, arXiv 2310.11612; code: yimuwangcs/Better_Cross_Modal_Retrieval `DBNorm/dbnorm.py`,
//! whose `db_norm` never reads the test matrix, and its mended copy in ppanzx/DBSN `Video_Retrieval/dbsn.py`. This is
//! the formula.
//! Rows of DualDIS: both factors, as DualIS; one, `s` times that factor up to a positive number a row (so that it
//! does not vanish); none, raw, where the product of the two raw factors, s², would turn negative scores round.
//! Regime: bank; without both banks it is refused. DualIS has bias form. DualDIS has rows of several kinds, comparable
//! within themselves only, and wants positive scores ([`Normalizer::warnings`]). Cost: two passes over each bank.

use crate::error::{NormalizeError, above_zero, at_least_one};
use crate::inverted_softmax::inverted_bias;
use crate::kernel;
use crate::passes::narrow;
use crate::prepared::{Prepared, RowMap, Sources};
use crate::qb_norm::{active, winner};
use crate::scores::{Normalizer, Regime, Scores, Warning};
use ndarray::Array1;
use std::mem::MaybeUninit;

/// Which rows are normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rows {
    /// Every row: DualIS.
    #[default]
    All,
    /// A factor counts where the row's raw winner is active in its bank: DualDIS.
    Active,
}

/// The dual bank re-scorer.
///
/// # Example
/// ```
/// # use {ndarray::array, tvr_normalize::*};
/// let logits = array![[5.0, 4.5]]; // item 0 wins
/// let (queries, items) = (array![[9.0, 2.0]], array![[8.0, 1.0]]); // both banks find item 0 and nothing else
/// let scores = Scores::new(logits.view()).with_query_bank(queries.view()).with_gallery_bank(items.view());
/// let revised = DualBank::new(1.0, 1.0)?.apply(&scores)?;
/// assert!(revised[[0, 1]] > revised[[0, 0]]);
/// # Ok::<(), NormalizeError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DualBank {
    temperature: f32,
    gallery_temperature: f32,
    rows: Rows,
    k: usize,
}

impl DualBank {
    /// DualIS with the temperatures of the query bank and of the gallery bank, in the unit of the scores.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] names the first setting outside its domain.
    pub fn new(temperature: f32, gallery_temperature: f32) -> Result<Self, NormalizeError> {
        Ok(Self {
            temperature: above_zero("dual-bank", "temperature", temperature)?,
            gallery_temperature: above_zero("dual-bank", "gallery_temperature", gallery_temperature)?,
            rows: Rows::All,
            k: 1,
        })
    }

    /// DualDIS: an item is active in a bank once it is among the `k` best of one of its rows.
    ///
    /// # Errors
    /// [`NormalizeError::Setting`] unless `k` is at least 1.
    pub fn dynamic(self, k: usize) -> Result<Self, NormalizeError> {
        Ok(Self { rows: Rows::Active, k: at_least_one("dual-bank", "k", k)?, ..self })
    }

    /// The temperature of the query bank.
    pub fn temperature(&self) -> f32 {
        self.temperature
    }

    /// The temperature of the gallery bank.
    pub fn gallery_temperature(&self) -> f32 {
        self.gallery_temperature
    }

    /// Which rows are normalised.
    pub fn rows(&self) -> Rows {
        self.rows
    }

    /// How many of a bank row's best items are active; 1 in DualIS, which does not ask.
    pub fn k(&self) -> usize {
        self.k
    }
}

impl Normalizer for DualBank {
    fn name(&self) -> &'static str {
        "dual-bank"
    }

    fn regime(&self, _scores: &Scores) -> Regime {
        Regime::Bank
    }

    fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
        let queries = sources.needs_query_bank(self.name())?;
        let items = sources.needs_gallery_bank(self.name())?;
        let [found, expected] = [items.shape()[1], queries.shape()[1]];
        if found != expected {
            return Err(NormalizeError::BankWidth {
                method: self.name(),
                bank: "gallery bank",
                found,
                expected,
            });
        }
        let by_queries = inverted_bias(queries, self.temperature)?;
        let by_items = inverted_bias(items, self.gallery_temperature)?;
        let [scale, item_scale] = [self.temperature, self.gallery_temperature].map(|t| 1.0 / f64::from(t));
        // A bias is −lse / scale, so the sum of the two lse is a weighted mean of biases.
        let share = scale / (scale + item_scale);
        let mean = |(q, g): (&f32, &f32)| (share * f64::from(*q) + (1.0 - share) * f64::from(*g)) as f32;
        let both: Array1<f32> = by_queries.iter().zip(&by_items).map(mean).collect();
        if self.rows == Rows::All {
            return Ok(Prepared::shift(both));
        }
        let one = |source, bias: Array1<f32>, scale| -> Result<Factor, NormalizeError> {
            let active = active(self.name(), source, self.k, 1)?;
            Ok(Factor { active, bias: bias.to_vec(), scale: narrow(scale) })
        };
        Ok(Prepared::new(
            expected,
            Dynamic {
                both: both.to_vec(),
                queries: one(queries, by_queries, scale)?,
                items: one(items, by_items, item_scale)?,
            },
        ))
    }

    fn warnings(&self, scores: &Scores) -> Vec<Warning> {
        match self.rows {
            Rows::All => Vec::new(),
            Rows::Active => Warning::of_negative(self.name(), scores),
        }
    }
}

struct Factor {
    active: Vec<bool>,
    bias: Vec<f32>,
    scale: f32,
}

impl Factor {
    /// `s · exp((s + bias) / T)`, the largest exponent taken off.
    fn times(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) {
        let best = scores.iter().zip(&self.bias).map(|(s, bias)| s + bias).fold(f32::NEG_INFINITY, f32::max);
        kernel::times_inverted(scores, self.scale, &self.bias, best, out);
    }
}

struct Dynamic {
    both: Vec<f32>,
    queries: Factor,
    items: Factor,
}

impl RowMap for Dynamic {
    fn map(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError> {
        let winner = winner(scores);
        match (self.queries.active[winner], self.items.active[winner]) {
            (true, true) => kernel::plus_bias(scores, &self.both, out),
            (true, false) => self.queries.times(scores, out),
            (false, true) => self.items.times(scores, out),
            (false, false) => {
                out.write_copy_of_slice(scores);
            }
        }
        Ok(())
    }
}
