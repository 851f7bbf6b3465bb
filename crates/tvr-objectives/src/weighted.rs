//! A weighted sum of objectives.
//!
//! ```text
//! L = Σ_i w[i] · L_i
//! ```
//!
//! where `w` holds one weight of 0 or more per term and `L_i`, `[1]`, is the loss of term `i` on the same batch.
//! The parts are the terms' losses by name, before their weights, each followed by its own parts as `name.part`.
//!
//! Source: ours; every paper that adds a second loss does it so.

use burn::prelude::*;

use crate::error::ObjectiveError;
use crate::objective::{Loss, Needs, Objective, Pairs};
use crate::rows::{ByRows, Rows};
use crate::support_set::Decoder;

/// A term of a [`Weighted`] sum.
#[derive(Clone, Debug)]
pub struct Term<O> {
    /// What the log calls it.
    pub name: String,
    /// Its weight; 0 or above.
    pub weight: f32,
    /// What is weighted.
    pub objective: O,
}

/// The weighted sum. Only [`Weighted::new`] makes one, so its settings are valid.
#[derive(Module, Debug)]
pub struct Weighted<O: Objective> {
    /// The terms.
    pub terms: Vec<O>,
    #[module(skip)]
    names: Vec<String>,
    #[module(skip)]
    weights: Vec<f32>,
}

impl<O: Objective> Weighted<O> {
    /// Checks names and weights.
    ///
    /// # Errors
    /// A weight outside its domain, no weight above 0, or a name that two terms share.
    pub fn new(terms: Vec<Term<O>>) -> Result<Self, ObjectiveError> {
        let refuse = |setting, value: f64, domain| {
            Err(ObjectiveError::Setting { objective: "weighted", setting, value, domain })
        };
        for (index, term) in terms.iter().enumerate() {
            if !(term.weight >= 0.0 && term.weight.is_finite()) {
                return refuse("weight", term.weight.into(), "a number of 0 or above");
            }
            if terms[..index].iter().any(|earlier| earlier.name == term.name) {
                return Err(ObjectiveError::SameName { name: term.name.clone() });
            }
        }
        if !terms.iter().any(|term| term.weight > 0.0) {
            return refuse("terms", terms.len() as f64, "at least one with a weight above 0");
        }
        let mut sum = Self { terms: Vec::new(), names: Vec::new(), weights: Vec::new() };
        for term in terms {
            sum.terms.push(term.objective);
            sum.names.push(term.name);
            sum.weights.push(term.weight);
        }
        Ok(sum)
    }
}

impl<O: Objective> Weighted<O> {
    fn added_up(&self, scale: &Tensor<1>, losses: impl Iterator<Item = Loss>) -> Loss {
        let mut total = scale.zeros_like().detach();
        let mut parts = Vec::new();
        for ((loss, name), &weight) in losses.zip(&self.names).zip(&self.weights) {
            total = total + loss.total.clone() * f64::from(weight);
            parts.push((name.clone().into(), loss.total));
            parts
                .extend(loss.parts.into_iter().map(|(part, value)| (format!("{name}.{part}").into(), value)));
        }
        Loss { total, parts }
    }
}

impl<O: Objective> Objective for Weighted<O> {
    fn needs(&self) -> Needs {
        self.terms.iter().map(Objective::needs).fold(Needs::default(), |mut all, term| {
            let more = term.streams.iter().filter(|name| !all.streams.contains(name)).copied();
            let more: Vec<_> = more.collect();
            all.streams.extend(more);
            Needs {
                codes: all.codes || term.codes,
                captions: all.captions || term.captions,
                video_ids: all.video_ids || term.video_ids,
                square: all.square || term.square,
                least_videos: all.least_videos.max(term.least_videos),
                streams: all.streams,
            }
        })
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        self.added_up(&pairs.scale, self.terms.iter().map(|term| term.loss(pairs)))
    }

    /// By rows, where every term is.
    fn by_rows(&self) -> Option<&dyn ByRows> {
        self.terms.iter().all(|term| term.by_rows().is_some()).then_some(self as &dyn ByRows)
    }

    fn after_step(&mut self, pairs: &Pairs) {
        self.terms.iter_mut().for_each(|term| term.after_step(pairs));
    }

    /// That of the first term that has one.
    fn decoder(&self) -> Option<&Decoder> {
        self.terms.iter().find_map(Objective::decoder)
    }
}

impl<O: Objective> ByRows for Weighted<O> {
    fn loss_of(&self, rows: &Rows) -> Loss {
        let terms = self.terms.iter().filter_map(Objective::by_rows);
        self.added_up(&rows.scale, terms.map(|term| term.loss_of(rows)))
    }
}
