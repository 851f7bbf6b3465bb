//! When val is looked at.

use proptest::prelude::*;
use tvr_experiment::select::is_look;

/// The steps by their formula, one by one.
fn listed(steps: usize, looks: usize) -> Vec<usize> {
    let mut steps: Vec<usize> =
        (1..=looks.max(1)).map(|look| (steps * look).div_ceil(looks.max(1))).collect();
    steps.dedup();
    steps
}

proptest! {
    #[test]
    fn looks_come_after_the_steps_of_the_formula(steps in 1usize..200, looks in 0usize..300) {
        let found: Vec<usize> = (1..=steps).filter(|&step| is_look(step, steps, looks)).collect();
        prop_assert_eq!(found, listed(steps, looks));
    }
}

#[test]
fn a_run_of_as_many_steps_as_can_be_counted_has_its_last_look() {
    let steps = usize::MAX;
    assert!(is_look(steps, steps, 5) && !is_look(steps - 1, steps, 5));
    assert!(is_look(1, steps, usize::MAX) && is_look(steps, steps, usize::MAX));
}
