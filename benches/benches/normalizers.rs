//! Normalisers on a matrix; the whole result, finite.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use tvr_normalize::{Family, Normalizer, Scores};

use support::{bank, cosines, measure};

/// Rows of the bank.
const BANK: usize = 10_000;

/// Specs of the unit of cosines: 1 / 0.01 is CLIP's logit scale.
fn normalizers(criterion: &mut Criterion) {
    for (queries, gallery) in [(1000, 1000), (27763, 670)] {
        let matrix = cosines(queries, gallery);
        let scores = Scores::new(matrix.view());
        for (name, spec) in [
            ("dual-softmax", "dual-softmax:temperature=0.01"),
            ("sinkhorn-20-tau0.01", "sinkhorn:tau=0.01,iterations=20"),
        ] {
            let Ok(method) = spec.parse::<Family>() else { continue };
            measure(criterion, &format!("normalize/{name}/{queries}x{gallery}"), "tvr", || {
                method.apply(&scores)
            });
        }
    }
}

fn banks(criterion: &mut Criterion) {
    let (matrix, bank) = (cosines(1000, 1000), bank(BANK, 1000));
    let scores = Scores::new(matrix.view()).with_query_bank(bank.view());
    for spec in ["qb-norm:temperature=0.05", "csls:k=10", "nnn:k=128,alpha=0.75"] {
        let Ok(method) = spec.parse::<Family>() else { continue };
        let id = format!("normalize/{}/1000x1000+{BANK}", method.name());
        measure(criterion, &id, "tvr", || method.apply(&scores));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = normalizers, banks
}
criterion_main!(benches);
