//! Every message names the thing, its value and the mend.

use ndarray::{Array2, array};
use tvr_metrics::{
    Direction, MetricError, NonFinite, Policy, Resampling, Summary, Ties, Truth, bootstrap,
    hierarchical_bootstrap, hubness, judge, paired_bootstrap, paired_student, ranks, representation,
    student_quantile,
};

#[track_caller]
fn says<T: std::fmt::Debug>(result: Result<T, MetricError>, message: &str) {
    assert_eq!(result.unwrap_err().to_string(), message);
}

fn judged(scores: &Array2<f32>, truth: &Truth) -> Result<tvr_metrics::Judgement, MetricError> {
    judge(scores.view(), truth, &Policy::default())
}

#[test]
fn a_cell_that_is_no_number_is_refused_by_its_place() {
    let mut scores = Array2::<f32>::zeros((20, 20));
    scores[[17, 3]] = f32::NAN;
    scores[[19, 0]] = f32::INFINITY;
    let mend = "mend the model that made it, or count such queries as missed with non-finite = miss";
    says(judged(&scores, &Truth::diagonal(20)), &format!("scores[17, 3] is NaN; {mend}"));
    scores[[17, 3]] = 0.0;
    says(
        ranks(scores.view(), &Truth::diagonal(20), Direction::VideoToText, &Policy::default()),
        &format!("scores[19, 0] is inf; {mend}"),
    );
    says(
        representation(scores.view(), Direction::VideoToText),
        "scores[19, 0] is inf; mend the model that made it",
    );
}

#[test]
fn shapes_are_named_on_both_sides() {
    let scores = Array2::<f32>::zeros((3, 4));
    says(
        judged(&scores, &Truth::diagonal(3)),
        "the scores are [3, 4], but the truth has 3 texts and 3 videos; rows are texts and columns are videos",
    );
    says(
        judged(&Array2::zeros((0, 4)), &Truth::diagonal(0)),
        "the scores are [0, 4]; both sides need at least one item",
    );
}

/// A gallery without an item, a set without a query: refused on either side by all that read a matrix.
#[test]
fn a_side_without_an_item_is_refused() {
    for (texts, videos) in [(0, 4), (4, 0)] {
        let scores = Array2::<f32>::zeros((texts, videos));
        let message = format!("the scores are [{texts}, {videos}]; both sides need at least one item");
        for direction in [Direction::TextToVideo, Direction::VideoToText] {
            says(ranks(scores.view(), &Truth::diagonal(4), direction, &Policy::default()), &message);
            says(representation(scores.view(), direction), &message);
            says(hubness(scores.view(), direction, 1), &message);
        }
    }
}

#[test]
fn groups_name_the_text_or_the_video_that_is_wrong() {
    says(Truth::groups(vec![]), "the groups are empty; give the video index of every text");
    says(
        Truth::groups(vec![0, 1, 9]),
        "groups[2] = 9, but 3 texts can name no video beyond 2; video indices count from 0 without holes",
    );
    says(
        Truth::groups(vec![0, 2]),
        "groups[1] = 2, but 2 texts can name no video beyond 1; video indices count from 0 without holes",
    );
    says(
        Truth::groups(vec![0, 3, 3, 1]),
        "video 2 of 4 has no text in the groups; leave its column out and renumber the videos after it",
    );
}

#[test]
fn settings_outside_their_domain_are_named() {
    let scores = array![[1.0f32, 0.0], [0.0, 1.0]];
    let zero = Policy { cutoffs: vec![1, 0], ..Policy::default() };
    let cutoff = "cutoff = 0, but it must be at least 1";
    says(judge(scores.view(), &Truth::diagonal(2), &zero), cutoff);
    says(ranks(scores.view(), &Truth::diagonal(2), Direction::TextToVideo, &zero), cutoff);
    let ranked = ranks(scores.view(), &Truth::diagonal(2), Direction::TextToVideo, &Policy::default());
    says(Summary::new(ranked.unwrap(), &[5, 0]), cutoff);
    says(
        hubness(scores.view(), Direction::TextToVideo, 3),
        "k = 3, but it must be at least 1 and at most the size of the gallery",
    );
    says(
        "median".parse::<Ties>(),
        "ties = \"median\", but it must be one of average, optimistic, pessimistic, reference",
    );
    says("skip".parse::<NonFinite>(), "non-finite = \"skip\", but it must be one of refuse, miss");
    assert_eq!("reference".parse::<Ties>().unwrap(), Ties::Reference);
    assert_eq!("miss".parse::<NonFinite>().unwrap(), NonFinite::Miss);
    says(student_quantile(0, 0.95), "degrees of freedom = 0, but it must be at least 1");
    for level in [0.0, 1.0] {
        let message = format!("level = {level}, but it must be between 0 and 1");
        says(student_quantile(2, level), &message);
        says(paired_student(&[1.0, 2.0], &[2.0, 4.0], level), &message);
        says(bootstrap(&[1.0], &Resampling { level, ..Resampling::default() }), &message);
    }
    let none = Resampling { draws: 0, ..Resampling::default() };
    says(bootstrap(&[1.0], &none), "draws = 0, but it must be at least 1");
}

#[test]
fn the_reference_says_so_when_it_drops_everything() {
    let scores = array![[f32::NAN, 0.0], [0.0, f32::NAN]];
    let policy = Policy { ties: Ties::Reference, non_finite: NonFinite::Miss, ..Policy::default() };
    says(
        judge(scores.view(), &Truth::diagonal(2), &policy),
        "all 2 queries have a NaN or infinite own score, and ties = reference drops those; mend the scores, or use \
         ties = average",
    );
}

#[test]
fn samples_are_named() {
    let usual = Resampling::default();
    says(bootstrap(&[], &usual), "values has 0 values, but an interval needs at least 1");
    says(bootstrap(&[0.0, f64::NAN], &usual), "values[1] is NaN; an interval needs finite values");
    says(paired_student(&[1.0], &[1.0], 0.95), "baseline has 1 values, but an interval needs at least 2");
    says(
        paired_bootstrap(&[1.0], &[1.0, 2.0], &usual),
        "baseline and treatment: 1 values against 2; a pair needs the same queries on both sides",
    );
    says(
        hierarchical_bootstrap(&[vec![1.0], vec![1.0, 2.0]], &usual),
        "queries of two seeds: 1 values against 2; a pair needs the same queries on both sides",
    );
    says(hierarchical_bootstrap(&[], &usual), "seeds has 0 values, but an interval needs at least 1");
    says(
        hierarchical_bootstrap(&[vec![]], &usual),
        "differences has 0 values, but an interval needs at least 1",
    );
    says(paired_bootstrap(&[], &[], &usual), "baseline has 0 values, but an interval needs at least 1");
    // Each side on its own, also where only one of several samples is wrong.
    let (good, bad) = ([1.0, 2.0], [1.0, f64::INFINITY]);
    let message = |what: &str| format!("{what}[1] is inf; an interval needs finite values");
    says(paired_bootstrap(&bad, &good, &usual), &message("baseline"));
    says(paired_bootstrap(&good, &bad, &usual), &message("treatment"));
    says(paired_student(&bad, &good, 0.95), &message("baseline"));
    says(paired_student(&good, &bad, 0.95), &message("treatment"));
    says(hierarchical_bootstrap(&[good.to_vec(), bad.to_vec()], &usual), &message("differences"));
    assert_eq!(paired_bootstrap(&[1.0], &[3.0], &usual).unwrap().mean, 2.0);
}

#[test]
fn a_judgement_serializes_as_the_score_table() {
    let policy = Policy { cutoffs: vec![1], ..Policy::default() };
    let judged = judge(array![[1.0f32, 0.0], [0.0, 1.0]].view(), &Truth::diagonal(2), &policy).unwrap();
    assert_eq!(
        serde_json::to_string(&judged).unwrap(),
        "{\"text_to_video\":{\"queries\":2,\"R@1\":100.0,\"MdR\":1.0,\"MnR\":1.0},\
         \"video_to_text\":{\"rule\":\"grouped\",\"queries\":2,\"R@1\":100.0,\"MdR\":1.0,\"MnR\":1.0}}"
    );
}

#[test]
fn scores_of_which_none_is_a_number_are_refused() {
    let scores = Array2::from_elem((1, 1), f32::NAN);
    let mend = "mend the model that made it, or count such queries as missed with non-finite = miss";
    says(judged(&scores, &Truth::diagonal(1)), &format!("scores[0, 0] is NaN; {mend}"));
}
