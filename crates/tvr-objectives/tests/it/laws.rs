//! The laws themselves: they hold for every seed, and a wrong objective breaks the one that it should.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use proptest::prelude::*;
use tvr_objectives::laws::{self, Broken, Expected};
use tvr_objectives::{
    ByRows, DualSoftmaxConfig, HingeConfig, Loss, Needs, Objective, Pairs, Rows, SymmetricConfig,
};

use crate::conformance::{LOGITS, holds};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn laws_hold_for_any_seed(seed: u64) {
        holds(laws::check(&SymmetricConfig::ours().init().unwrap(), &LOGITS, seed));
        holds(laws::check(&SymmetricConfig::reference().init().unwrap(), &LOGITS, seed)); // a square
        holds(laws::check(&DualSoftmaxConfig::paper().init().unwrap(), &Expected::default(), seed));
        let cosines = Expected { scaled: false, ..Expected::PLAIN };
        holds(laws::check(&HingeConfig::paper().init().unwrap(), &cosines, seed));
    }
}

/// What is wrong with a loss that is otherwise cross-entropy over the videos.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Wrong {
    /// The first text counts twice.
    FirstText,
    /// The last video is a little further from all.
    LastVideo,
    /// Every text has the video of its own number, so that a second caption is a negative.
    Diagonal,
    /// Over the texts too, where a caption of the same video is a negative.
    CaptionsCompete,
    /// The parts do not make the total.
    Parts,
    /// A number per text.
    Vector,
    /// Exponents without their maximum.
    Overflow,
    /// Cosines without their scale.
    NoScale,
    /// A constant beside.
    NeverFree,
    /// Its shares are divided by their own number of texts.
    Shares,
    /// It fades with every step.
    Fades,
    /// Burn stops at its shapes.
    Shape,
}

#[derive(Module, Debug)]
struct Flawed {
    #[module(skip)]
    wrong: Option<Wrong>,
    #[module(skip)]
    steps: usize,
}

impl Flawed {
    fn new(wrong: Option<Wrong>) -> Self {
        Self { wrong, steps: 0 }
    }

    /// Minus the logarithm of what each text gives to its own video. `[texts]`
    fn each(&self, logits: Tensor<2>, own: Tensor<1, Int>) -> Tensor<1> {
        let logs = match self.wrong {
            Some(Wrong::Overflow) => {
                let shares = logits.exp();
                (shares.clone() / shares.sum_dim(1)).log()
            }
            _ => log_softmax(logits, 1),
        };
        -logs.gather(1, own.unsqueeze_dim::<2>(1)).squeeze_dim::<1>(1)
    }
}

impl Objective for Flawed {
    fn loss(&self, pairs: &Pairs) -> Loss {
        let is = |wrong| self.wrong == Some(wrong);
        let [texts, videos] = pairs.similarity.dims();
        let device = pairs.similarity.device();
        let mut logits = if is(Wrong::NoScale) { pairs.similarity.clone() } else { pairs.logits() };
        if is(Wrong::LastVideo) {
            let last = logits.clone().slice_dim(1, videos - 1..videos) - 0.5;
            logits = logits.slice_assign(s![.., videos - 1..videos], last);
        }
        if is(Wrong::Shape) {
            logits = logits.slice_dim(1, 0..4);
        }
        let own = match self.wrong {
            Some(Wrong::Diagonal) => Tensor::arange(0..texts as i64, &device) % videos as i64,
            _ => pairs.same.clone(),
        };
        let mut each = self.each(logits.clone(), own);
        if is(Wrong::FirstText) {
            let first = each.clone().slice_dim(0, 0..1);
            each = Tensor::cat(vec![first, each], 0);
        }
        let mean = each.clone().mean();
        let total = match self.wrong {
            Some(Wrong::Vector) => each,
            Some(Wrong::Parts) => mean.clone() * 2.0,
            Some(Wrong::NeverFree) => mean.clone() + 1.0,
            Some(Wrong::Fades) => mean.clone() / (1 + self.steps) as f64,
            Some(Wrong::CaptionsCompete) => {
                let logs = log_softmax(logits, 0).gather(1, pairs.same.clone().unsqueeze_dim::<2>(1));
                mean.clone() - logs.mean()
            }
            _ => mean.clone(),
        };
        let parts = if is(Wrong::Vector) || is(Wrong::CaptionsCompete) { total.clone() } else { mean };
        let parts = match self.wrong {
            Some(Wrong::NeverFree | Wrong::Fades) => total.clone(),
            _ => parts,
        };
        Loss { parts: vec![("text_to_video".into(), parts)], total }
    }

    fn by_rows(&self) -> Option<&dyn ByRows> {
        matches!(self.wrong, None | Some(Wrong::Shares)).then_some(self)
    }

    fn after_step(&mut self, _: &Pairs) {
        self.steps += 1;
    }
}

impl ByRows for Flawed {
    fn loss_of(&self, rows: &Rows) -> Loss {
        let own = rows.same.clone().slice_dim(0, rows.texts.clone());
        let each = self.each(rows.logits().0, own);
        let count = if self.wrong == Some(Wrong::Shares) { rows.texts.len() } else { rows.n_texts() };
        let total = each.sum() / count as f64;
        Loss { parts: vec![("text_to_video".into(), total.clone())], total }
    }
}

/// The law that an objective breaks; none where it keeps all.
fn broken(wrong: Option<Wrong>, expected: &Expected) -> Option<Broken> {
    let found: Vec<Option<Broken>> =
        (0..4).map(|seed| laws::check(&Flawed::new(wrong), expected, seed).err()).collect();
    let law = |broken: &Option<Broken>| broken.as_ref().map(|broken| broken.law);
    assert!(found.iter().all(|broken| law(broken) == law(&found[0])), "{found:?}");
    found.into_iter().next().unwrap()
}

#[test]
fn a_wrong_objective_breaks_the_law_that_names_its_fault() {
    let one_part = Expected { total: Some(|parts| parts[0]), doubled: 1e-6, ..Expected::PLAIN };
    assert_eq!(broken(None, &one_part), None);
    let expected = [
        (Wrong::FirstText, "permuted_texts_change_nothing"),
        (Wrong::LastVideo, "permuted_videos_change_nothing"),
        (Wrong::Parts, "the_loss_is_one_number_made_of_its_parts"),
        (Wrong::Vector, "the_loss_is_one_number_made_of_its_parts"),
        (Wrong::Shape, "the_loss_is_one_number_made_of_its_parts"),
        (Wrong::NeverFree, "a_single_pair_costs_nothing"),
        (Wrong::Overflow, "extremes_stay_finite_in_f32"),
        (Wrong::NoScale, "scale_and_cosines_make_the_logits"),
        (Wrong::Shares, "shares_of_rows_add_up"),
        (Wrong::Fades, "the_optimiser_may_step_without_state"),
    ];
    for (wrong, law) in expected {
        assert_eq!(broken(Some(wrong), &one_part).map(|broken| broken.law), Some(law), "{wrong:?}");
    }
    // What an author says of an objective takes a law back.
    let remembers = Expected { remembers: true, ..one_part.clone() };
    assert_eq!(broken(Some(Wrong::Fades), &remembers), None);
    let cosines = Expected { scaled: false, ..one_part.clone() };
    assert_eq!(broken(Some(Wrong::NoScale), &cosines), None);
    assert_eq!(broken(None, &cosines).unwrap().law, "scale_and_cosines_make_the_logits");
}

#[test]
fn a_caption_of_the_same_video_as_a_negative_is_found() {
    let doubled =
        |wrong| laws::doubled_captions_are_no_negatives(&Flawed::new(Some(wrong)), &Expected::PLAIN, 0).err();
    assert_eq!(
        doubled(Wrong::Diagonal).unwrap().to_string(),
        "doubled_captions_are_no_negatives is broken at seed 0: 3 texts of 2 videos, two of them of one: they cost \
         53.333333333333336, but expected at most 0.17328779513998632"
    );
    // Each of two captions gets half of its video: 2 ln 2 / 3 is far from 80 nats, and too much all the same.
    assert!(doubled(Wrong::CaptionsCompete).unwrap().found.contains("they cost 0.4620"));
    let check = |wrong| laws::check(&Flawed::new(Some(wrong)), &Expected::PLAIN, 3).unwrap_err().law;
    assert_eq!(check(Wrong::CaptionsCompete), "doubled_captions_are_no_negatives");
}

#[test]
fn a_panic_breaks_the_law_that_met_it() {
    let broken = broken(Some(Wrong::Shape), &Expected::PLAIN).unwrap();
    assert!(broken.found.starts_with("the method panicked: "), "{broken}");
}

/// Says that it wants more than the laws know of, and refuses all that lacks it.
#[derive(Module, Debug)]
struct Demanding;

impl Objective for Demanding {
    fn needs(&self) -> Needs {
        Needs {
            streams: vec!["verbs"],
            codes: true,
            captions: true,
            video_ids: true,
            square: true,
            least_videos: 7,
        }
    }

    fn loss(&self, pairs: &Pairs) -> Loss {
        pairs.check(&self.needs()).unwrap();
        let diagonal: Vec<i64> = (0..pairs.similarity.dims()[0] as i64).collect();
        pairs.same.to_data().assert_eq(&TensorData::from(diagonal.as_slice()), false);
        let logits = pairs.stream("verbs").unwrap().similarity.clone() * pairs.scale.clone().unsqueeze::<2>();
        let own = pairs.same.clone().unsqueeze_dim::<2>(1);
        Loss { total: -log_softmax(logits, 1).gather(1, own).mean(), parts: Vec::new() }
    }
}

#[test]
fn an_objective_gets_what_it_needs() {
    holds(laws::check(&Demanding, &Expected::PLAIN, 0));
}
