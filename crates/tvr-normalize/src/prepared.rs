//! What a method reads, and what it keeps of it: [`Sources`], [`Prepared`].

use crate::error::NormalizeError;
use crate::passes::{check_finite, map_rows};
use crate::scores::{Scores, Side};
use crate::source::{MatrixSource, ScoreSource};
use ndarray::{Array1, Array2, ArrayView2};
use std::mem::MaybeUninit;
use std::ops::Range;

/// The blocks of [`Scores`], each from any source: a matrix, or embeddings that are multiplied when they are read.
#[derive(Clone, Copy, Default)]
pub struct Sources<'a> {
    /// The test scores, `[queries, gallery]`. A method with a bank does without.
    pub test: Option<&'a dyn ScoreSource>,
    /// Training queries against the same gallery, `[bank queries, gallery]`.
    pub query_bank: Option<&'a dyn ScoreSource>,
    /// Training gallery items against the same gallery, `[bank items, gallery]`.
    pub gallery_bank: Option<&'a dyn ScoreSource>,
    /// The training queries against training gallery items, `[bank queries, bank items]`.
    pub bank_gallery: Option<&'a dyn ScoreSource>,
    /// How much each test query counts, `[queries]`; 1 without.
    pub query_weights: Option<&'a [f32]>,
    /// What the queries are.
    pub queries: Side,
}

impl<'a> Sources<'a> {
    /// The query bank, else the test queries, of which there must then be two.
    pub(crate) fn reference(
        &self,
        method: &'static str,
        lonely: &'static str,
    ) -> Result<&'a dyn ScoreSource, NormalizeError> {
        match (self.query_bank, self.test) {
            (Some(bank), _) => filled(method, bank),
            (None, Some(test)) if test.shape()[0] == 1 => {
                Err(NormalizeError::LonelyQuery { method, reason: lonely })
            }
            (None, Some(test)) => filled(method, test),
            (None, None) => Err(NormalizeError::BankMissing { method, bank: "query bank" }),
        }
    }

    /// The query bank, or why there must be one.
    pub(crate) fn needs_query_bank(
        &self,
        method: &'static str,
    ) -> Result<&'a dyn ScoreSource, NormalizeError> {
        filled(method, self.query_bank.ok_or(NormalizeError::BankMissing { method, bank: "query bank" })?)
    }

    /// The gallery bank, or why there must be one.
    pub(crate) fn needs_gallery_bank(
        &self,
        method: &'static str,
    ) -> Result<&'a dyn ScoreSource, NormalizeError> {
        filled(method, self.gallery_bank.ok_or(NormalizeError::BankMissing { method, bank: "gallery bank" })?)
    }

    /// The bank's own gallery, or why there must be one.
    pub(crate) fn needs_bank_gallery(
        &self,
        method: &'static str,
    ) -> Result<&'a dyn ScoreSource, NormalizeError> {
        filled(
            method,
            self.bank_gallery.ok_or(NormalizeError::BankMissing { method, bank: "bank's gallery" })?,
        )
    }
}

/// A source that is not empty.
///
/// # Errors
/// [`NormalizeError::Empty`]
pub(crate) fn filled<'a>(
    method: &'static str,
    source: &'a dyn ScoreSource,
) -> Result<&'a dyn ScoreSource, NormalizeError> {
    let [queries, gallery] = source.shape();
    if queries == 0 || gallery == 0 {
        return Err(NormalizeError::Empty { method, block: source.name(), queries, gallery });
    }
    Ok(source)
}

/// The blocks of [`Scores`] as sources.
pub(crate) struct Dense<'a> {
    test: MatrixSource<'a>,
    query_bank: Option<MatrixSource<'a>>,
    gallery_bank: Option<MatrixSource<'a>>,
    bank_gallery: Option<MatrixSource<'a>>,
    query_weights: Option<&'a [f32]>,
    queries: Side,
}

impl<'a> Dense<'a> {
    pub(crate) fn new(scores: &Scores<'a>) -> Self {
        let bank = |bank: Option<ArrayView2<'a, f32>>, name| bank.map(|b| MatrixSource::new(b).named(name));
        Self {
            test: MatrixSource::new(scores.test),
            query_bank: bank(scores.query_bank, "query bank"),
            gallery_bank: bank(scores.gallery_bank, "gallery bank"),
            bank_gallery: bank(scores.bank_gallery, "bank's gallery"),
            query_weights: scores.query_weights,
            queries: scores.queries,
        }
    }

    pub(crate) fn sources(&self) -> Sources<'_> {
        fn source<'s>(bank: &'s Option<MatrixSource<'_>>) -> Option<&'s dyn ScoreSource> {
            bank.as_ref().map(|bank| bank as &dyn ScoreSource)
        }
        Sources {
            test: Some(&self.test),
            query_bank: source(&self.query_bank),
            gallery_bank: source(&self.gallery_bank),
            bank_gallery: source(&self.bank_gallery),
            query_weights: self.query_weights,
            queries: self.queries,
        }
    }

    pub(crate) fn test(&self) -> &MatrixSource<'a> {
        &self.test
    }
}

/// How one row of test scores becomes one row of the result.
pub(crate) trait RowMap: Sync {
    /// Writes every entry of `out`, which has the length of `scores`.
    fn map(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError>;
}

/// A method that has read its banks and now takes test queries, any block of them, in any order. A result depends on
/// its own row alone; for a transductive method the rows must be those that it was prepared on.
///
/// A method from outside makes one by [`Prepared::by_items`] or [`Prepared::by_rows`]:
///
/// ```
/// use ndarray::{Array1, array};
/// use tvr_normalize::{NormalizeError, Normalizer, Prepared, Regime, Scores, Sources};
///
/// /// Scores minus the item's mean over the bank.
/// struct Centred;
///
/// impl Normalizer for Centred {
///     fn name(&self) -> &'static str {
///         "centred"
///     }
///
///     fn regime(&self, _: &Scores) -> Regime {
///         Regime::Bank
///     }
///
///     fn prepare<'a>(&self, sources: &Sources<'a>) -> Result<Prepared<'a>, NormalizeError> {
///         let missing = NormalizeError::BankMissing { method: self.name(), bank: "query bank" };
///         let bank = sources.query_bank.ok_or(missing)?;
///         let [queries, gallery] = bank.shape();
///         let mut bias = Array1::zeros(gallery);
///         let mut scratch = Vec::new();
///         for query in 0..queries {
///             for (bias, score) in bias.iter_mut().zip(bank.block(query..query + 1, &mut scratch)) {
///                 *bias -= score / queries as f32;
///             }
///         }
///         Prepared::by_items(bias)
///     }
/// }
///
/// let (test, bank) = (array![[5.0, 4.5]], array![[9.0, 2.0], [7.0, 2.0]]); // item 0 wins everything
/// let scores = Scores::new(test.view()).with_query_bank(bank.view());
/// assert_eq!(Centred.apply(&scores)?, array![[-3.0, 2.5]]);
/// assert_eq!(Centred.bias(&scores)?, Some(array![-8.0, -2.0]));
/// # Ok::<(), NormalizeError>(())
/// ```
pub struct Prepared<'a> {
    gallery: usize,
    rows: Box<dyn RowMap + 'a>,
    bias: Option<Array1<f32>>,
}

impl<'a> Prepared<'a> {
    /// A method in *bias form*: its result is the scores plus one number per gallery item, `[gallery]`, in the unit of the
    /// scores; [`Prepared::bias`] gives them.
    ///
    /// # Errors
    /// [`NormalizeError::NotFinite`] at the first number that is not finite, as a bank's NaN leaves it.
    pub fn by_items(bias: Array1<f32>) -> Result<Self, NormalizeError> {
        match bias.iter().position(|value| !value.is_finite()) {
            None => Ok(Self::shift(bias)),
            Some(column) => {
                let value = bias[column].to_string();
                Err(NormalizeError::NotFinite { block: "bias", row: 0, column, value })
            }
        }
    }

    /// A method whose result for a query is a function of that query's scores: `map` gets them, `[gallery]`, and leaves the
    /// result in their place. It is called for any row, in any order, on several threads at once; what it leaves must be
    /// finite, and is not looked at. Its errors are those of [`Prepared::apply`].
    pub fn by_rows(
        gallery: usize,
        map: impl Fn(&mut [f32]) -> Result<(), NormalizeError> + Sync + 'a,
    ) -> Self {
        Self::new(gallery, InPlace(map))
    }

    pub(crate) fn new(gallery: usize, rows: impl RowMap + 'a) -> Self {
        Self { gallery, rows: Box::new(rows), bias: None }
    }

    /// A method whose result is the scores plus `bias`.
    pub(crate) fn shift(bias: Array1<f32>) -> Self {
        Self { gallery: bias.len(), rows: Box::new(Shift(bias.to_vec())), bias: Some(bias) }
    }

    /// The same with a bias that gives each row the order of the result.
    pub(crate) fn with_bias(self, bias: Array1<f32>) -> Self {
        Self { bias: Some(bias), ..self }
    }

    /// For methods in *bias form*: one number per gallery item, in the unit of the scores, such that each row of
    /// `scores + bias` has the order of the result. A search index can carry it as one more coordinate.
    pub fn bias(&self) -> Option<&Array1<f32>> {
        self.bias.as_ref()
    }

    pub(crate) fn into_bias(self) -> Option<Array1<f32>> {
        self.bias
    }

    /// The result for a block of test scores, `[queries, gallery]`.
    ///
    /// # Errors
    /// [`NormalizeError::BankWidth`] for another gallery, [`NormalizeError::NotFinite`] at the first bad score.
    pub fn apply(&self, scores: ArrayView2<f32>) -> Result<Array2<f32>, NormalizeError> {
        let source = MatrixSource::new(scores);
        self.apply_rows(&source, 0..scores.nrows())
    }

    /// The result for some rows of a source, `[rows, gallery]`. Blocks of it bound the memory.
    ///
    /// # Errors
    /// As [`Prepared::apply`].
    pub fn apply_rows(
        &self,
        source: &dyn ScoreSource,
        rows: Range<usize>,
    ) -> Result<Array2<f32>, NormalizeError> {
        let [_, found] = source.shape();
        if found != self.gallery {
            return Err(NormalizeError::GalleryChanged { found, expected: self.gallery });
        }
        map_rows(source, rows, |first, scores, out| {
            check_finite(source.name(), first, self.gallery, scores)?;
            scores
                .chunks_exact(self.gallery)
                .zip(out.chunks_exact_mut(self.gallery))
                .try_for_each(|(scores, out)| self.rows.map(scores, out))
        })
    }
}

impl std::fmt::Debug for Prepared<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prepared")
            .field("gallery", &self.gallery)
            .field("bias", &self.bias)
            .finish_non_exhaustive()
    }
}

/// A function of a row from outside.
struct InPlace<F>(F);

impl<F: Fn(&mut [f32]) -> Result<(), NormalizeError> + Sync> RowMap for InPlace<F> {
    fn map(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError> {
        let mut row = scores.to_vec();
        (self.0)(&mut row)?;
        for (out, value) in out.iter_mut().zip(row) {
            out.write(value);
        }
        Ok(())
    }
}

/// `s + bias`
struct Shift(Vec<f32>);

impl RowMap for Shift {
    fn map(&self, scores: &[f32], out: &mut [MaybeUninit<f32>]) -> Result<(), NormalizeError> {
        crate::kernel::plus_bias(scores, &self.0, out);
        Ok(())
    }
}
