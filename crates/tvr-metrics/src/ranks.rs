//! Ranks by counting: what scores above the true item, and what scores the same. Nothing is sorted.

use ndarray::{ArrayView2, CowArray, Ix2};

use crate::count::{Counts, Tally, Want, count};
use crate::multi_caption::{self, Rule};
use crate::{Direction, MetricError, NonFinite, Policy, Ties, Truth};

/// Where each query found its true item.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranks {
    direction: Direction,
    rule: Rule,
    ties: Ties,
    gallery: usize,
    greater: Vec<u32>,
    equal: Vec<u32>, // 0: the query was dropped, which only `Ties::Reference` does
    lower_median: bool,
}

impl Ranks {
    /// Which way was searched.
    pub fn direction(&self) -> Direction {
        self.direction
    }

    /// Against what each query was ranked.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Number of queries, dropped ones included.
    pub fn queries(&self) -> usize {
        self.greater.len()
    }

    /// Number of items a query chooses from: videos in T2V, groups in V2T `grouped`, texts in V2T `best`.
    pub fn gallery(&self) -> usize {
        self.gallery
    }

    /// Competitors above the true item, per query.
    pub fn greater(&self) -> &[u32] {
        &self.greater
    }

    /// Items at the true item's score, itself included, per query; 0 marks a query that [`Ties::Reference`] drops.
    pub fn equal(&self) -> &[u32] {
        &self.equal
    }

    /// The rank of each query, from 1; NaN for a query that [`Ties::Reference`] drops. Under that policy a tied query
    /// has several entries, and this is their mean.
    pub fn per_query(&self) -> Vec<f64> {
        let rank = |(&greater, &equal): (&u32, &u32)| {
            let (g, e) = (f64::from(greater), f64::from(equal));
            match self.ties {
                _ if equal == 0 => f64::NAN,
                Ties::Optimistic => g + 1.0,
                Ties::Pessimistic => g + e,
                Ties::Average | Ties::Reference => g + (e + 1.0) / 2.0,
            }
        };
        self.greater.iter().zip(&self.equal).map(rank).collect()
    }

    /// What each query adds to R@K, in percent: 0 or 100, a fraction for a tie that straddles K under
    /// [`Ties::Average`]. Its mean is R@K, so intervals resample it. Not so under [`Ties::Reference`], whose R@K
    /// weighs tied queries more and drops others: there it is the query's own share of entries, and 0 when dropped.
    pub fn hits_percent(&self, cutoff: usize) -> Vec<f64> {
        let k = u32::try_from(cutoff).unwrap_or(u32::MAX);
        let hit = |(&greater, &equal): (&u32, &u32)| match self.ties {
            _ if equal == 0 => 0.0,
            Ties::Optimistic => 100.0 * f64::from(u8::from(greater < k)),
            Ties::Pessimistic => 100.0 * f64::from(u8::from(greater + equal <= k)),
            Ties::Average | Ties::Reference => {
                100.0 * f64::from(k.saturating_sub(greater).min(equal)) / f64::from(equal)
            }
        };
        self.greater.iter().zip(&self.equal).map(hit).collect()
    }

    /// The list that CLIP4Clip's code averages: places from 0, tied queries with several, dropped ones with none.
    /// Only [`Ties::Reference`] has one that is not a list of [`Ranks::per_query`].
    pub fn reference_entries(&self) -> Vec<u32> {
        self.greater.iter().zip(&self.equal).flat_map(|(&greater, &equal)| greater..greater + equal).collect()
    }

    pub(crate) fn ties(&self) -> Ties {
        self.ties
    }

    pub(crate) fn lower_median(&self) -> bool {
        self.lower_median
    }
}

/// Ranks in one direction. V2T with several captions per video follows [`Rule::Grouped`];
/// [`crate::video_to_text_best`] gives the other rule, [`crate::judge()`] all of them from one pass.
///
/// - `scores`: `[texts, videos]`, larger is better; any layout, fastest row by row
/// - cost: one pass, O(texts · videos)
///
/// # Errors
/// [`MetricError::Shape`], [`MetricError::Setting`] for a cut-off of 0, [`MetricError::NonFinite`] under
/// [`NonFinite::Refuse`].
pub fn ranks(
    scores: ArrayView2<f32>,
    truth: &Truth,
    direction: Direction,
    policy: &Policy,
) -> Result<Ranks, MetricError> {
    let one = truth.is_one_to_one();
    let want = match direction {
        Direction::TextToVideo => Want { rows: true, columns: false, maxima: false },
        Direction::VideoToText => Want { rows: false, columns: one, maxima: !one },
    };
    let counted = Counted::new(scores, truth, want, policy)?;
    Ok(match direction {
        Direction::TextToVideo => counted.text_to_video(),
        Direction::VideoToText => counted.video_to_text_grouped(),
    })
}

/// A matrix, checked and counted; each direction is read off it.
pub(crate) struct Counted<'a> {
    scores: CowArray<'a, f32, Ix2>,
    truth: &'a Truth,
    policy: &'a Policy,
    counts: Counts,
}

impl<'a> Counted<'a> {
    pub(crate) fn new(
        scores: ArrayView2<'a, f32>,
        truth: &'a Truth,
        want: Want,
        policy: &'a Policy,
    ) -> Result<Self, MetricError> {
        policy.check()?;
        check_shape(&scores, truth)?;
        let mut scores: CowArray<'a, f32, Ix2> =
            if scores.is_standard_layout() { scores.into() } else { rows_first(scores).into() };
        let mut counts = count(scores.as_slice().unwrap_or_default(), truth, want);
        if counts.non_finite {
            match (policy.non_finite, policy.ties) {
                (NonFinite::Refuse, _) => {
                    refuse_non_finite(
                        scores.view(),
                        "mend the model that made it, or count such queries as missed with non-finite = miss",
                    )?;
                }
                // The comparisons of the pass are the published ones: NaN is neither above nor equal.
                (NonFinite::Miss, Ties::Reference) => {}
                (NonFinite::Miss, _) => {
                    // NaN as infinity wins against every number, and makes an own score infinite: a miss.
                    scores.mapv_inplace(|score| if score.is_nan() { f32::INFINITY } else { score });
                    counts = count(scores.as_slice().unwrap_or_default(), truth, want);
                }
            }
        }
        Ok(Self { scores, truth, policy, counts })
    }

    pub(crate) fn text_to_video(&self) -> Ranks {
        let (texts, videos) = (self.truth.texts(), self.truth.videos());
        if self.policy.ties == Ties::Reference && !self.truth.is_one_to_one() {
            let tally = multi_caption::reference_text_to_video(self.scores.view(), self.truth);
            return self.ranks(Direction::TextToVideo, Rule::PerCaption, videos, tally, true);
        }
        let mut tally = self.counts.rows.clone();
        for text in 0..texts {
            self.miss(&mut tally, text, self.counts.own_of_text[text], videos);
        }
        self.ranks(Direction::TextToVideo, Rule::PerCaption, videos, tally, false)
    }

    pub(crate) fn video_to_text_grouped(&self) -> Ranks {
        let videos = self.truth.videos();
        // With one caption per video every group is one text, so the plain columns are the groups.
        let counts = &self.counts;
        let mut tally =
            if self.truth.is_one_to_one() { counts.columns.clone() } else { counts.maxima.clone() };
        for video in 0..videos {
            self.miss(&mut tally, video, counts.own_of_video[video], videos);
        }
        self.ranks(Direction::VideoToText, Rule::Grouped, videos, tally, false)
    }

    pub(crate) fn video_to_text_best(&self) -> Ranks {
        let (texts, videos) = (self.truth.texts(), self.truth.videos());
        let mut tally = self.counts.columns.clone();
        for video in 0..videos {
            let own = self.counts.own_of_video[video];
            let own_texts = self.truth.texts_of(video);
            // Own captions do not compete with each other: of those at the maximum, one stays.
            let at_maximum = own_texts.iter().filter(|&&text| self.counts.own_of_text[text] == own).count();
            tally.equal[video] = (tally.equal[video] + 1).saturating_sub(narrow(at_maximum));
            self.miss(&mut tally, video, own, texts - own_texts.len() + 1);
        }
        self.ranks(Direction::VideoToText, Rule::Best, texts, tally, false)
    }

    /// A query whose own score is NaN or infinite is dropped by the reference, and last otherwise.
    fn miss(&self, tally: &mut Tally, query: usize, own: f32, last: usize) {
        if !own.is_finite() {
            let dropped = self.policy.ties == Ties::Reference;
            tally.greater[query] = if dropped { 0 } else { narrow(last - 1) };
            tally.equal[query] = u32::from(!dropped);
        }
    }

    fn ranks(
        &self,
        direction: Direction,
        rule: Rule,
        gallery: usize,
        Tally { greater, equal }: Tally,
        lower_median: bool,
    ) -> Ranks {
        Ranks { direction, rule, ties: self.policy.ties, gallery, greater, equal, lower_median }
    }
}

fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn check_shape(scores: &ArrayView2<f32>, truth: &Truth) -> Result<(), MetricError> {
    let (texts, videos) = scores.dim();
    if texts == 0 || videos == 0 {
        return Err(MetricError::Empty { texts, videos });
    }
    if (texts, videos) != (truth.texts(), truth.videos()) {
        let (expected_texts, expected_videos) = (truth.texts(), truth.videos());
        return Err(MetricError::Shape { texts, videos, expected_texts, expected_videos });
    }
    Ok(())
}

/// A copy that lies row by row.
fn rows_first(scores: ArrayView2<f32>) -> ndarray::Array2<f32> {
    scores.as_standard_layout().into_owned()
}

/// Names the first cell, in reading order, that is NaN or infinite.
pub(crate) fn refuse_non_finite(scores: ArrayView2<f32>, mend: &'static str) -> Result<(), MetricError> {
    match scores.indexed_iter().find(|(_, score)| !score.is_finite()) {
        Some(((row, column), &value)) => Err(MetricError::NonFinite { row, column, value, mend }),
        None => Ok(()),
    }
}
