//! P-EM-9: what passes a gradient, and which.

use super::*;

fn leaf(rows: &Rows) -> Tensor<2> {
    Tensor::from_inner(tensor(rows)).require_grad()
}

/// A case for gradients: sigma of at least 1, at most 4 iterations.
fn gradient_case(seed: u64) -> Case {
    let mut draw = Draw::new(seed);
    let x: Rows = (0..6).map(|_| draw.normals(5)).collect();
    let start = draw.normals(3);
    Case { items: 6, width: 5, bases: 3, iterations: 4, sigma: 1.5, x, start }
}

fn gradient(mode: Mode, detach: Detach, case: &Case, weight: &Rows) -> Vec<f64> {
    let layer = EmclConfig { detach, residual: true, weight: 3.0, ..config(mode, case) }.layer().unwrap();
    let x = leaf(&case.x);
    let out = layer.of_call(x.clone(), &average(&case.start));
    let gradients = (out * Tensor::from_inner(tensor(weight))).sum().backward();
    floats(&x.grad(&gradients).unwrap())
}

#[test]
fn p_em_9_a_detached_layer_passes_the_gradient_straight_through() {
    for seed in 0..4 {
        let case = gradient_case(seed);
        let weight: Rows = (0..6).map(|_| Draw::new(seed + 9).normals(5)).collect();
        for mode in MODES {
            assert_eq!(gradient(mode, Detach::All, &case, &weight), weight.concat());
        }
    }
}

/// As it does with clusters that were found elsewhere.
#[test]
fn p_em_9_a_detached_layer_with_given_clusters_passes_it_straight_through() {
    let case = gradient_case(5);
    let weight: Rows = (0..6).map(|_| Draw::new(14).normals(5)).collect();
    for mode in MODES {
        let detach = Detach::All;
        let layer =
            EmclConfig { detach, residual: true, weight: 3.0, ..config(mode, &case) }.layer().unwrap();
        let clusters = layer.clusters(&moments(&tensor(&case.x)), &average(&case.start));
        let x = leaf(&case.x);
        let out = layer.of_clusters(x.clone(), clusters);
        let gradients = (out * Tensor::from_inner(tensor(&weight))).sum().backward();
        assert_eq!(floats(&x.grad(&gradients).unwrap()), weight.concat());
    }
}

#[test]
fn p_em_9_a_fixed_projection_passes_the_gradient_through_itself() {
    for seed in 0..4 {
        let case = gradient_case(seed);
        let mut draw = Draw::new(seed + 9);
        let weight: Rows = (0..6).map(|_| draw.normals(5)).collect();
        for mode in MODES {
            let projection = solved(mode, &case).0.projection();
            let w = tensor(&weight);
            let expected = floats(&(w.clone() + w.matmul(projection) * 3.0));
            close(&gradient(mode, Detach::Projection, &case, &weight), &expected, 1e-9);
        }
    }
}

#[test]
fn p_em_9_the_whole_layer_has_the_gradient_of_its_value() {
    for seed in 0..4 {
        let case = gradient_case(seed);
        let mut draw = Draw::new(seed + 9);
        let weight: Rows = (0..6).map(|_| draw.normals(5)).collect();
        for mode in MODES {
            let found = gradient(mode, Detach::None, &case, &weight);
            let value = |x: &Rows| -> f64 {
                let reconstruction =
                    solve(mode, x, &case.start, case.iterations, case.sigma, 1e-6).reconstruction;
                let out = x
                    .concat()
                    .iter()
                    .zip(reconstruction.concat())
                    .map(|(x, r)| x + 3.0 * r)
                    .collect::<Vec<_>>();
                out.iter().zip(weight.concat()).map(|(x, w)| x * w).sum()
            };
            for (place, found) in found.iter().enumerate() {
                let moved = |by: f64| {
                    let mut x = case.x.clone();
                    x[place / 5][place % 5] += by;
                    value(&x)
                };
                let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                assert!(
                    (found - slope).abs() <= 1e-5 * slope.abs().max(1.0),
                    "at {place}: {found} is not {slope}"
                );
            }
        }
    }
}

#[test]
fn p_em_9_the_start_never_receives_a_gradient() {
    for detach in [Detach::All, Detach::Projection, Detach::None] {
        let config = EmclConfig { detach, bases: 3, ..EmclConfig::reference() };
        let head = config.init(mean_pooling(), 8, &Device::flex()).unwrap().train();
        let mut draw = Draw::new(5);
        let texts = Tensor::from_inner(draw.tensor::<2>([4, 8])).require_grad();
        let videos = Tensor::from_inner(draw.tensor::<2>([3, 8]));
        let similarity = head.similarity(&TextCodes::new(texts.clone()), &VideoCodes::new(videos));
        let gradients = similarity.fused.sum().backward();
        assert!(texts.grad(&gradients).is_some());
        assert!(head.average.values.val().grad(&gradients).is_none(), "{detach:?}");
        assert!(!head.average.values.is_require_grad(), "{detach:?}");
    }
}
