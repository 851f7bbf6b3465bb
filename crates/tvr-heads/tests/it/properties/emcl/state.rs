//! P-EM-10 to P-EM-12: the average, the start and the edges; what is refused.

use tvr_heads::CamoeConfig;
use tvr_heads::camoe::aggregators::AggregatorConfig;

use super::*;

/// A head of mean pooling with EM, and codes to judge.
fn stateful(config: &EmclConfig, seed: u64) -> (Emcl<MeanPooling>, TextCodes, VideoCodes) {
    let head = config.init(mean_pooling(), 8, &Device::flex()).unwrap();
    let mut draw = Draw::new(seed);
    let (texts, videos) = (head.code_texts(draw.texts(5)), head.code_videos(draw.videos(6, 3)));
    (head, texts, videos)
}

#[test]
fn p_em_10_the_average_moves_after_a_step_and_nowhere_else() {
    for mode in MODES {
        let config = EmclConfig { mode, bases: 4, iterations: 3, ..EmclConfig::reference() };
        let (mut head, texts, videos) = stateful(&config, 6);
        let before = floats(&head.average.values.val());
        let evaluated = floats(&head.similarity(&texts, &videos).fused);
        assert_eq!(floats(&head.average.values.val()), before);
        // A training call of the same head has the same output, and leaves M as it is.
        let training = head.clone().train();
        let found = training.similarity(&texts.leaves(), &videos.leaves()).fused;
        assert_close(&floats(&found.inner()), &evaluated, 1e-6);
        assert_eq!(floats(&training.average.values.val()), before);
        head.after_step(&texts, &videos);
        let items: Rows = [rows(&videos.pooled), rows(&texts.pooled)].concat();
        let mean = solve(mode, &items, &before, 3, 1.0, 1e-6).mean_base;
        let moved: Vec<f64> = before.iter().zip(&mean).map(|(m, mean)| 0.9 * m + 0.1 * mean).collect();
        let after = floats(&head.average.values.val());
        assert_close(&after, &moved, 1e-5);
        if mode == Mode::Reference {
            for (after, before) in after.iter().zip(&before) {
                assert!(after.abs() <= 0.9 * before.abs() + 0.1 / (items.len() as f64).sqrt() + 1e-6);
            }
        }
    }
}

/// What the state moves towards is drawn from nothing: every rank must find the same.
#[test]
fn p_em_10_the_average_moves_without_dropout() {
    use tvr_heads::XPoolConfig;
    let device = Device::flex();
    for config in [EmclConfig::reference(), EmclConfig { bases: 5, ..EmclConfig::global() }] {
        let host = XPoolConfig { dropout: 0.5, ..XPoolConfig::reference() }.init(8, &device).unwrap();
        let head = config.init(host, 8, &device).unwrap().train();
        let moved = |seed: u64| {
            let (mut head, mut draw) = (head.clone(), Draw::new(9));
            let codes = head.valid();
            let (texts, videos) = (codes.code_texts(draw.texts(5)), codes.code_videos(draw.videos(6, 3)));
            device.seed(seed);
            head.after_step(&texts, &videos);
            head.valid().similarity(&texts, &videos).fused.into_data()
        };
        moved(1).assert_eq(&moved(2), true);
    }
}

/// Nothing would be left that has a gradient.
#[test]
fn p_em_11_a_reconstruction_alone_needs_a_gradient() {
    let config = EmclConfig { residual: false, ..EmclConfig::reference() };
    let refused = refused(config.init(mean_pooling(), 8, &Device::flex()));
    assert!(refused.contains("detach = \"all\" with residual = false"), "{refused}");
    for detach in [Detach::None, Detach::Projection] {
        EmclConfig { detach, ..config.clone() }.init(mean_pooling(), 8, &Device::flex()).unwrap();
    }
    config.at_inference(8, 1, &Device::flex()).unwrap();
}

#[test]
fn p_em_10_the_record_holds_all_state() {
    for config in [EmclConfig::reference(), EmclConfig { bases: 5, ..EmclConfig::global() }] {
        let (mut head, texts, videos) = stateful(&config, 7);
        head.after_step(&texts, &videos);
        head.after_step(&texts, &videos);
        let expected = head.similarity(&texts, &videos).fused.into_data();
        let bytes = head.into_record().into_bytes().unwrap();
        let (fresh, ..) = stateful(&config, 8);
        let loaded = fresh.try_load_record(burn::store::ModuleRecord::from_bytes(bytes).unwrap()).unwrap();
        loaded.similarity(&texts, &videos).fused.into_data().assert_eq(&expected, true);
        // Going to training and back keeps it as well.
        let found = loaded.train().valid().similarity(&texts, &videos).fused;
        found.into_data().assert_eq(&expected, true);
    }
}

fn fresh(init: Init, bases: usize) -> Vec<f64> {
    let config = EmclConfig { init, bases, ..EmclConfig::reference() };
    floats(&config.at_inference(8, 1, &Device::flex()).unwrap().average().values.val())
}

fn share_of_different_pairs(values: &[f64]) -> f64 {
    let (mut different, mut pairs) = (0.0, 0.0);
    for a in 0..values.len() {
        for b in 0..a {
            pairs += 1.0;
            different += f64::from(u8::from((values[a].abs() - values[b].abs()).abs() > 1e-3));
        }
    }
    different / pairs
}

#[test]
fn p_em_11_a_normal_start_has_different_values() {
    let values = fresh(Init::Normal, 32);
    let share = share_of_different_pairs(&values);
    assert!(share >= 0.9, "{share} of {values:?}");
    let deviation = (norm(&fresh(Init::Normal, 2000)).powi(2) / 2000.0).sqrt();
    assert!((deviation / (2.0f64 / 2000.0).sqrt() - 1.0).abs() < 0.08, "{deviation}"); // 5 standard errors
}

#[test]
fn p_em_11_fails_with_the_published_start() {
    let values = fresh(Init::Signs, 32);
    // All but rare draws below 1e-3, which have a chance of 3 in 1,000 each.
    let near = values.iter().filter(|value| (value.abs() - 1.0).abs() <= 1e-3).count();
    assert!(near >= 28, "{values:?}");
    assert!(share_of_different_pairs(&values) < 0.3);
}

#[test]
fn p_em_11_a_start_of_unit_bases_over_the_cosines_has_different_values() {
    let device = Device::flex();
    let config = EmclConfig { init: Init::Unit, bases: 32, ..EmclConfig::reference() };
    let camoe = CamoeConfig { fusion: AggregatorConfig::Mean {}, ..CamoeConfig::ours(3) };
    device.seed(5);
    let head = config.init(camoe.init(8, &device).unwrap(), 8, &device).unwrap();
    let values = head.average.values.val();
    assert_eq!(values.dims(), [4, 32]);
    // The guard of 1e-6 beside a length of 0.02 at least.
    close(&floats(&values.clone().square().sum_dim(0)), &[1.0; 32], 1e-4);
    for cosine in 0..4 {
        let share = share_of_different_pairs(&floats(&values.clone().slice_dim(0, cosine..cosine + 1)));
        assert!(share >= 0.9, "{share}");
    }
    // One cosine has the signs.
    let alone = floats(&config.at_inference(8, 5, &device).unwrap().average().values.val());
    let signs = EmclConfig { init: Init::Signs, ..config }.at_inference(8, 5, &device).unwrap();
    close(&alone, &floats(&signs.average().values.val()), 1e-6);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn p_em_11_equal_values_give_equal_bases_and_signs_give_rank_two(case in case()) {
        let case = Case { iterations: case.iterations.min(3), ..case };
        let signs: Vec<f64> = (0..6).map(|k| if k % 2 == 0 { 1.0 } else { -1.0 }).collect();
        let case = Case { bases: 6, start: signs, ..case };
        for mode in MODES {
            let (clusters, bases) = solved(mode, &case);
            for base in rows(&bases) {
                close(&[base[2], base[4], base[3], base[5]], &[base[0], base[0], base[1], base[1]], 1e-7);
            }
            let values = singular_values(&rows(&clusters.rebuild(bases)));
            if let Some(third) = values.get(2) {
                prop_assert!(*third <= 1e-7 * values[0], "{values:?}");
            }
        }
    }

    #[test]
    fn p_em_11_centred_items_collapse_to_one_base(case in case()) {
        let mut x = case.x.clone();
        x.extend(case.x.iter().map(|row| row.iter().map(|x| -x).collect::<Vec<_>>()));
        let case = Case { items: 2 * case.items, iterations: case.iterations.min(3), x, ..case };
        for mode in MODES {
            let (_, bases) = solved(mode, &case);
            for base in rows(&bases) {
                close(&base, &vec![base[0]; case.bases], 1e-7);
            }
        }
    }
}

#[test]
fn p_em_11_drawn_responsibilities_part_the_bases_of_centred_items() {
    let mut draw = Draw::new(10);
    let half: Rows = (0..20).map(|_| draw.normals(12)).collect();
    let mut x = half.clone();
    x.extend(half.iter().map(|row| row.iter().map(|x| -x).collect::<Vec<_>>()));
    let config = EmclConfig { init: Init::Channels, bases: 4, iterations: 3, ..EmclConfig::reference() };
    let inference = config.at_inference(12, 1, &Device::flex()).unwrap();
    let Start::Responsibilities(first) = inference.average().start(0) else { panic!("no responsibilities") };
    let start = Start::Responsibilities(first.cast(DType::F64));
    let (_, bases) = config.layer().unwrap().em().direct(&tensor(&x), &start);
    assert_eq!(distinct_columns(&rows(&bases)), 4);
    // They stay as drawn.
    let mut average = inference.average().clone();
    average.update(vec![Tensor::ones([1, 4], &Device::flex())]);
    assert_eq!(floats(&average.values.val()), floats(&inference.average().values.val()));
}

#[test]
fn p_em_12_a_single_item_a_single_channel_and_more_bases_than_channels_are_finite() {
    for (items, width, bases) in [(1, 6, 3), (5, 1, 3), (1, 1, 1), (4, 2, 8)] {
        let mut draw = Draw::new(11);
        let x: Rows = vec![draw.normals(width); items];
        let case = Case { items, width, bases, iterations: 4, sigma: 1.0, x, start: draw.normals(bases) };
        for mode in MODES {
            let (clusters, found) = solved(mode, &case);
            assert!(floats(&clusters.rebuild(found)).iter().all(|x| x.is_finite()));
        }
    }
}

/// Every channel goes to one base where sigma is small; the others are empty, and no epsilon is there.
#[test]
fn p_em_12_without_a_guard_an_empty_base_is_zeros() {
    let mut draw = Draw::new(12);
    let x: Rows = (0..6).map(|_| draw.normals(5)).collect();
    let case = Case { items: 6, width: 5, bases: 8, iterations: 4, sigma: 1e-6, x, start: draw.normals(8) };
    for mode in MODES {
        let layer = EmclConfig { epsilon: 0.0, detach: Detach::None, ..config(mode, &case) }.layer().unwrap();
        let items = tensor(&case.x).cast(DType::F32);
        let leaf = Tensor::from_inner(items.clone()).require_grad();
        let start = Start::Average(tensor(&vec![case.start.clone()]).cast(DType::F32));
        let (clusters, bases) = layer.em().direct(&items, &start);
        let channels = floats(&clusters.softmax.sum_dim(0));
        assert!(channels.contains(&0.0), "{channels:?}");
        assert!(floats(&bases).iter().all(|x| x.is_finite()), "{mode:?}");
        let moments = layer.em().gram(&moments(&items), &start).reconstruct(items);
        assert!(floats(&moments).iter().all(|x| x.is_finite()), "{mode:?}, moments");
        let out = layer.of_call(leaf.clone(), &start);
        assert!(floats(&out.clone().inner()).iter().all(|x| x.is_finite()), "{mode:?}");
        let gradient = leaf.grad(&out.square().sum().backward()).unwrap();
        assert!(floats(&gradient).iter().all(|x| x.is_finite()), "{mode:?}, gradient");
    }
}

#[test]
fn emcl_refuses_settings_and_heads_by_name() {
    let device = Device::flex();
    let refuse = |config: EmclConfig| refused(config.init(mean_pooling(), 8, &device).map(|_| ()));
    let base = EmclConfig::reference();
    let cases = [
        (EmclConfig { bases: 0, ..base.clone() }, "emcl: bases = 0, but it must be a number above 0"),
        (
            EmclConfig { iterations: 0, ..base.clone() },
            "emcl: iterations = 0, but it must be a number above 0",
        ),
        (EmclConfig { sigma: 0.0, ..base.clone() }, "emcl: sigma = 0, but it must be a number above 0"),
        (EmclConfig { sigma: -1.0, ..base.clone() }, "emcl: sigma = -1, but it must be a number above 0"),
        (
            EmclConfig { sigma: f64::NAN, ..base.clone() },
            "emcl: sigma = NaN, but it must be a number above 0",
        ),
        (
            EmclConfig { weight: f64::NAN, ..base.clone() },
            "emcl: weight = NaN, but it must be a finite number",
        ),
        (EmclConfig { momentum: 1.5, ..base.clone() }, "emcl: momentum = 1.5, but it must be from 0 to 1"),
        (
            EmclConfig { epsilon: -1.0, ..base.clone() },
            "emcl: epsilon = -1, but it must be a number of at least 0",
        ),
        (EmclConfig { tile: 0, ..base.clone() }, "emcl: tile = 0, but it must be a number above 0"),
        (
            EmclConfig { detach: Detach::None, ..EmclConfig::global() },
            "emcl: detach = \"none\" with items = \"global\": bases of earlier steps have no gradient; set detach = \
             \"projection\"",
        ),
        (
            EmclConfig { momentum: 1.0, ..EmclConfig::global() },
            "emcl: momentum = 1 with items = \"global\": moving means that never move stay empty; set momentum below 1",
        ),
        (
            EmclConfig { items: Items::Global, ..base.clone() },
            "emcl: scale = \"sum\" with items = \"global\": moving means have no number of items; set scale = \"mean\"",
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(refuse(config), expected);
    }
    // Products divided by it are infinite in f32, and their softmax is NaN.
    let cold = refuse(EmclConfig { sigma: 1e-40, ..base.clone() });
    assert!(cold.ends_with(", but it must be a number of at least 1e-20"), "{cold}");
    assert_eq!(
        refused(base.init(tight_transf(1), 8, &device).map(|_| ())),
        "emcl: the wrapped head judges pairs by no cosine of two vectors (its n_cosines is 0); leave [head.emcl] out or choose another head"
    );
    assert_eq!(
        refused(base.at_inference(0, 0, &device).map(|_| ())),
        "emcl: width = 0, but it must be a number above 0"
    );
}

#[test]
fn inference_refuses_features_by_name_and_names_its_scope() {
    let device = Device::flex();
    let inference = EmclConfig::inference().at_inference(4, 0, &device).unwrap();
    let items = |count: usize, width: usize| Tensor::<2>::ones([count, width], &device);
    let all = Scope::Everything;
    assert_eq!(
        refused(inference.cosines(&items(2, 3), &items(2, 4), all)),
        "a block of items is [2, 3], but [2, 4] is needed"
    );
    assert_eq!(
        refused(inference.cosines(&items(2, 4), &items(0, 4), all)),
        "there are no videos; at least one is needed"
    );
    let broken = items(3, 4).slice_fill(s![2, 1..2], f32::NAN);
    assert_eq!(
        refused(inference.cosines(&items(2, 4), &broken, all)),
        "video 2 has a value that is NaN or infinite"
    );
    assert_eq!(refused(inference.bank([items(2, 4), broken])), "item 4 has a value that is NaN or infinite");
    assert_eq!(
        refused(inference.cosines(&items(2, 4), &items(2, 4), Scope::Tiles(tile(0)))),
        "emcl: tile = 0, but it must be a number above 0"
    );
    let empty = Moments::new(4);
    assert_eq!(
        refused(inference.cosines(&items(2, 4), &items(2, 4), Scope::Bank(&empty))),
        "there are no items to find bases on; at least one is needed"
    );
    assert_eq!(Scope::Tiles(tile(64)).to_string(), "tiles of 64 texts x 64 videos");
}

#[test]
fn the_effective_rank_counts_directions_and_falls_to_that_of_the_bases() {
    let device = Device::flex();
    let axes = Tensor::<2>::eye(6, &device).cast(DType::F64);
    close(&[effective_rank(&axes)], &[6.0], 1e-12);
    close(&[effective_rank(&axes.clone().slice_dim(0, 0..4))], &[4.0], 1e-12);
    close(&[effective_rank(&(axes.clone() * 0.0))], &[0.0], 1e-12);
    // One direction holds all but a trifle: a rank of 2 that is nearly 1.
    let uneven = Tensor::<2>::from_data([[10.0, 0.0], [0.0, 1.0]], (&device, DType::F64));
    close(&[effective_rank(&uneven)], &[101.0f64.powi(2) / 10_001.0], 1e-12);
    let mut draw = Draw::new(12);
    let [texts, videos] = [30, 20].map(|items| draw.tensor::<2>([items, 8]));
    // Algorithm 1's reconstruction alone has the rank of its bases.
    for bases in [1, 3] {
        let config = EmclConfig { bases, ..EmclConfig::paper() };
        let inference = config.at_inference(8, 0, &device).unwrap();
        let bank = inference.bank([texts.clone(), videos.clone()]).unwrap();
        let ranks = |scope: Scope| inference.effective_ranks(&texts, &videos, scope).unwrap();
        for scope in [Scope::Everything, Scope::Bank(&bank), Scope::Tiles(tile(10))] {
            let [before, after] = ranks(scope);
            assert!(before > 4.0 && after <= bases as f64 + 1e-4, "{before} {after}");
        }
        // One tile of everything, but for f32 (there the bases come from second moments); and by hand the mean of the two tiles that hold both texts and videos.
        close(&ranks(Scope::Tiles(tile(30))), &ranks(Scope::Everything), 1e-3);
        let part = |items: &Tensor<2>, first: usize| items.clone().slice_dim(0, first..first + 10);
        let [one, two] = [0, 10].map(|first| {
            let (texts, videos) = (part(&texts, first), part(&videos, first));
            inference.effective_ranks(&texts, &videos, Scope::Everything).unwrap()
        });
        close(&ranks(Scope::Tiles(tile(10))), &[(one[0] + two[0]) / 2.0, (one[1] + two[1]) / 2.0], 1e-3);
    }
}

#[test]
fn a_wrapped_head_has_the_ranks_of_its_vectors_the_mean_over_its_cosines() {
    let config = EmclConfig { bases: 2, ..EmclConfig::paper() };
    let (head, texts, videos) = stateful(&config, 13);
    assert!(mean_pooling().effective_ranks(&texts, &videos).is_none());
    let [before, after] = head.effective_ranks(&texts, &videos).unwrap();
    let rows = Tensor::cat(vec![videos.pooled.clone(), texts.pooled.clone()], 0);
    close(&[before], &[effective_rank(&rows)], 1e-6);
    assert!(before > 3.0 && after <= 2.0 + 1e-4, "{before} {after}");
    // Before the first step a layer of moving means changes nothing.
    let global = EmclConfig { bases: 2, residual: false, weight: 1.0, ..EmclConfig::global() };
    let (mut head, texts, videos) = stateful(&global, 13);
    assert_eq!(head.effective_ranks(&texts, &videos), Some([before, before]));
    head.after_step(&texts, &videos);
    assert!(head.effective_ranks(&texts, &videos).unwrap()[1] <= 2.0 + 1e-4);
    // Four cosines.
    let device = Device::flex();
    let camoe = CamoeConfig { fusion: AggregatorConfig::Mean {}, ..CamoeConfig::ours(3) };
    let head = config.init(camoe.init(8, &device).unwrap(), 8, &device).unwrap();
    let mut draw = Draw::new(14);
    let (texts, videos) = (head.code_texts(draw.texts(5)), head.code_videos(draw.videos(6, 3)));
    let [before, after] = head.effective_ranks(&texts, &videos).unwrap();
    let of_cosines: Vec<f64> =
        head.head.vectors(&texts, &videos).iter().map(|vectors| effective_rank(&vectors.rows())).collect();
    assert_eq!(of_cosines.len(), 4);
    close(&[before], &[of_cosines.iter().sum::<f64>() / 4.0], 1e-9);
    assert!(after <= 2.0 + 1e-4, "{after}");
}

#[test]
fn a_head_that_mixes_items_says_so_and_names_its_tile() {
    let needs = emcl_reference(1).needs();
    assert!(needs.mixes_items && needs.judges_pairs);
    assert_eq!(needs.tile, Some(tile(32)));
    let config = MeanPoolingConfig::reference();
    assert!(!config.init(8, &Device::flex()).unwrap().needs().judges_pairs);
}
