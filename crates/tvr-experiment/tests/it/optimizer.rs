//! P-C4-5 and the global norm: every parameter has one group, and the groups are the ones named.

use burn::optim::GradientsParams;
use burn::prelude::*;
use tvr_experiment::clip_norm::clip_global_norm;
use tvr_experiment::optimizer::{Group, grouped};
use tvr_experiment::recipe::Groups;
use tvr_experiment::schedule::Schedule;
use tvr_experiment::step::gradients;
use tvr_heads::SeqTransfConfig;
use tvr_objectives::SymmetricConfig;

use crate::step::{WIDTH, corpus, flat, model, way};

fn head(device: &Device) -> tvr_heads::SeqTransf {
    let config = SeqTransfConfig { heads: 2, ..SeqTransfConfig::ours(3) };
    config.init(WIDTH, device).unwrap()
}

#[test]
fn p_c4_5_ours_decays_matrices_alone() {
    let _alone = crate::run::generator();
    let device = Device::flex().autodiff();
    let model = model(head(&device), SymmetricConfig::ours().init().unwrap(), 0.0, &device);
    let groups = grouped(&model, Groups::Ours);
    assert!(groups.len() > 10);
    for (path, group) in groups {
        let spared = path.contains("bias")
            || path.contains("norm")
            || path.contains("position")
            || path == "logit_scale";
        assert_eq!(group.decays, !spared, "{path}");
        assert_eq!(group.tower, path == "logit_scale", "{path}");
    }
}

#[test]
fn p_c4_5_clip4clip_spares_only_what_is_called_bias() {
    for (path, rank, tower, decays) in [
        ("text.tower.blocks.0.query.weight", 2, true, true),
        ("text.tower.blocks.0.query.bias", 1, true, false),
        ("text.tower.final_norm.gamma", 1, true, true),
        ("text.tower.final_norm.beta", 1, true, false),
        ("text.tower.token_embedding.weight", 2, true, true),
        ("logit_scale", 1, true, true),
        ("head.positions", 2, false, true),
        ("head.blocks.0.query.bias", 1, false, false),
    ] {
        assert_eq!(Group::of(path, rank, Groups::Clip4clip), Group { tower, decays }, "{path}");
    }
}

#[test]
fn the_global_norm_is_that_of_all_parameters_together() {
    let _alone = crate::run::generator();
    let device = Device::flex();
    let training = device.clone().autodiff();
    let model = model(head(&training), SymmetricConfig::ours().init().unwrap(), 0.0, &training);
    let batch = tvr_experiment::step::Batch {
        texts: vec![0, 2, 4],
        videos: vec![0, 1, 2],
        text_video: vec![0, 1, 2],
        shuffle: None,
    };
    let (mut found, ..) = gradients(&model, &corpus(4), &batch, &way(0, &device, 0)).unwrap();
    let norm = |gradients: &GradientsParams| {
        flat(&model, gradients).iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
    };
    let before = norm(&found);
    assert!((clip_global_norm(&model, &mut found, None) - before).abs() < 1e-9 * before);
    assert!((norm(&found) - before).abs() < 1e-9 * before);
    clip_global_norm(&model, &mut found, Some(before / 2.0));
    assert!((norm(&found) - before / 2.0).abs() < 1e-4 * before);
}

#[test]
fn the_warm_up_ends_where_the_cosine_begins() {
    let factors: Vec<f64> = (0..100).map(|step| Schedule::WarmupCosine.factor(step, 100, 0.1)).collect();
    assert!((factors[9] - 1.0).abs() < 1e-12 && (factors[10] - 1.0).abs() < 1e-12);
    assert!(factors[..10].windows(2).all(|pair| pair[0] < pair[1]));
    assert!(factors[10..].windows(2).all(|pair| pair[0] > pair[1]));
    assert!(factors[0] > 0.0 && factors[99] < 1e-2);
}
