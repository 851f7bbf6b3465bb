//! Dual softmax and Sinkhorn on a matrix; the whole result, finite.

mod support;

use criterion::{Criterion, criterion_group, criterion_main};
use tvr_normalize::{DualSoftmax, NormalizeError, Normalizer, Scores, Sinkhorn};

use support::{cosines, measure};

/// The unit of cosines: 1 / 0.01 is CLIP's logit scale.
const TEMPERATURE: f32 = 0.01;

fn normalizers(criterion: &mut Criterion) {
    let built = || -> Result<_, NormalizeError> {
        Ok((DualSoftmax::new(TEMPERATURE)?, Sinkhorn::new(TEMPERATURE, 20)?))
    };
    let Ok((dual_softmax, sinkhorn)) = built() else { return };
    for (queries, gallery) in [(1000, 1000), (27763, 670)] {
        let matrix = cosines(queries, gallery);
        let scores = Scores::new(matrix.view());
        measure(criterion, &format!("normalize/dual-softmax/{queries}x{gallery}"), "tvr", || {
            dual_softmax.apply(&scores)
        });
        let id = format!("normalize/sinkhorn-20-tau0.01/{queries}x{gallery}");
        measure(criterion, &id, "tvr", || sinkhorn.apply(&scores));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = normalizers
}
criterion_main!(benches);
