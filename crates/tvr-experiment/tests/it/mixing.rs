//! Every built-in head learns under every built-in objective.

use burn::optim::AdamWConfig;
use burn::prelude::*;
use tvr_experiment::recipe::{HeadRecipe, ObjectiveRecipe};
use tvr_experiment::step::{Batch, after_step, gradients};
use tvr_heads::{
    FrameAdapterConfig, Head, MeanPoolingConfig, SeqLstmConfig, SeqTransfConfig, TightTransfConfig, Unit,
};
use tvr_objectives::{DualSoftmaxConfig, NclConfig, Objective, SymmetricConfig};

use crate::step::{WIDTH, corpus, flat, model};

fn heads() -> Vec<HeadRecipe> {
    let adapter = Some(FrameAdapterConfig { hidden_factor: 2 });
    let heads = vec![
        HeadRecipe::MeanPooling(MeanPoolingConfig::reference()),
        HeadRecipe::MeanPooling(MeanPoolingConfig { adapter: adapter.clone() }),
        HeadRecipe::SeqLstm(SeqLstmConfig { adapter }),
        HeadRecipe::SeqTransf(SeqTransfConfig { heads: 2, ..SeqTransfConfig::ours(3) }),
        HeadRecipe::TightTransf(TightTransfConfig {
            layers: 1,
            heads: 2,
            max_frames: 3,
            epsilon: 1e-5,
            dropout: 0.1,
        }),
    ];
    for head in &heads {
        // A new head does not compile here until it stands in the list above.
        match head {
            HeadRecipe::MeanPooling(_)
            | HeadRecipe::SeqLstm(_)
            | HeadRecipe::SeqTransf(_)
            | HeadRecipe::TightTransf(_) => {}
        }
    }
    heads
}

fn objectives() -> Vec<ObjectiveRecipe> {
    let objectives = vec![
        ObjectiveRecipe::Symmetric(SymmetricConfig::ours()),
        ObjectiveRecipe::Symmetric(SymmetricConfig::reference()),
        ObjectiveRecipe::DualSoftmax(DualSoftmaxConfig::paper()),
        ObjectiveRecipe::DualSoftmax(DualSoftmaxConfig::reference()),
        ObjectiveRecipe::Ncl(NclConfig::reference()),
        ObjectiveRecipe::Ncl(NclConfig::with_queue(6)),
    ];
    for objective in &objectives {
        match objective {
            ObjectiveRecipe::Symmetric(_) | ObjectiveRecipe::DualSoftmax(_) | ObjectiveRecipe::Ncl(_) => {}
        }
    }
    objectives
}

#[test]
fn every_head_takes_a_step_under_every_objective() {
    let _alone = crate::run::generator();
    let device = Device::flex();
    let training = device.clone().autodiff();
    let corpus = corpus(6);
    let batch = Batch {
        texts: vec![0, 3, 4, 7],
        videos: vec![0, 1, 2, 3],
        text_video: vec![0, 1, 2, 3],
        shuffle: None,
    };
    let mut pairs = 0;
    for head_recipe in heads() {
        for objective_recipe in objectives() {
            let name = format!("{head_recipe:?} with {objective_recipe:?}");
            training.seed(3);
            let head = head_recipe.init(WIDTH, &training).unwrap();
            let objective = objective_recipe.init(WIDTH, &training).unwrap();
            if head.unit() == Unit::Logit && objective.needs().codes {
                continue; // the plan refuses this pair
            }
            pairs += 1;
            let mut model = model(head, objective, 0.0, &training);
            let mut adam = AdamWConfig::new().init();
            // The second step is the first that a queue takes part in.
            for step in 0..2 {
                let (found, judged, seen) = gradients(&model, &corpus, &batch, 3, &device, step).unwrap();
                assert!(judged.loss.is_finite(), "{name}");
                let values = flat(&model, &found);
                assert!(values.iter().all(|value| value.is_finite()), "{name}");
                assert!(values.iter().any(|value| value.abs() > 1e-6), "{name}: no gradient");
                model = adam.step(1e-3, model, found).clamp_logit_scale();
                after_step(&mut model, &seen);
            }
        }
    }
    assert_eq!(pairs, heads().len() * objectives().len() - 1);
}
