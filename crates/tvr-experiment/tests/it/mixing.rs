//! Every built-in head learns under every built-in objective.

use burn::optim::AdamWConfig;
use burn::prelude::*;
use tvr_experiment::recipe::{HeadKind, HeadRecipe, ObjectiveRecipe, TermRecipe};
use tvr_experiment::step::{Batch, after_step, gradients};
use tvr_heads::emcl::Detach;
use tvr_heads::{
    ConditionedConfig, EmclConfig, FrameAdapterConfig, Head, MeanPoolingConfig, SeqLstmConfig,
    SeqTransfConfig, TightTransfConfig, XPoolConfig,
};
use tvr_objectives::{DualSoftmaxConfig, HingeConfig, NclConfig, Objective, SymmetricConfig};

use crate::step::{WIDTH, corpus, flat, model};

/// Every head whose needs the features of this test meet.
fn kinds() -> Vec<HeadKind> {
    let adapter = Some(FrameAdapterConfig { hidden_factor: 2 });
    let kinds = vec![
        HeadKind::MeanPooling(MeanPoolingConfig::reference()),
        HeadKind::MeanPooling(MeanPoolingConfig { adapter: adapter.clone() }),
        HeadKind::SeqLstm(SeqLstmConfig { adapter }),
        HeadKind::SeqTransf(SeqTransfConfig { heads: 2, ..SeqTransfConfig::ours(3) }),
        HeadKind::TightTransf(TightTransfConfig {
            layers: 1,
            heads: 2,
            max_frames: 3,
            epsilon: 1e-5,
            dropout: 0.1,
        }),
        HeadKind::Conditioned(ConditionedConfig::ours()),
        HeadKind::XPool(XPoolConfig::reference()),
    ];
    for kind in &kinds {
        // A new head does not compile here until it stands in the list above.
        match kind {
            HeadKind::MeanPooling(_)
            | HeadKind::SeqLstm(_)
            | HeadKind::SeqTransf(_)
            | HeadKind::TightTransf(_)
            | HeadKind::Conditioned(_)
            | HeadKind::XPool(_)
            // Needs a vector per token.
            | HeadKind::TokenWise(_) => {}
        }
    }
    kinds
}

/// Each by itself, and those made of cosines with EMCL around them.
fn heads() -> Vec<HeadRecipe> {
    let emcl = [
        EmclConfig { bases: 3, ..EmclConfig::reference() },
        EmclConfig { bases: 3, detach: Detach::Projection, ..EmclConfig::paper() },
        EmclConfig { bases: 3, ..EmclConfig::global() },
    ];
    let mut heads: Vec<HeadRecipe> = kinds().into_iter().map(HeadRecipe::plain).collect();
    for kind in kinds().into_iter().filter(|kind| !matches!(kind, HeadKind::TightTransf(_))) {
        heads.extend(emcl.iter().map(|emcl| HeadRecipe { kind: kind.clone(), emcl: Some(emcl.clone()) }));
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
        ObjectiveRecipe::Hinge(HingeConfig::paper()),
        ObjectiveRecipe::Hinge(HingeConfig::reference()),
        ObjectiveRecipe::Weighted {
            terms: vec![
                TermRecipe {
                    weight: 1.0,
                    name: None,
                    objective: ObjectiveRecipe::Symmetric(SymmetricConfig::ours()),
                },
                TermRecipe {
                    weight: 0.5,
                    name: None,
                    objective: ObjectiveRecipe::Hinge(HingeConfig::paper()),
                },
            ],
        },
    ];
    for objective in &objectives {
        match objective {
            ObjectiveRecipe::Symmetric(_)
            | ObjectiveRecipe::DualSoftmax(_)
            | ObjectiveRecipe::Ncl(_)
            | ObjectiveRecipe::Hinge(_)
            | ObjectiveRecipe::Weighted { .. } => {}
        }
    }
    objectives
}

#[test]
fn every_head_takes_a_step_under_every_objective() {
    let _alone = crate::run::generator();
    let device = Device::flex();
    let training = device.clone().autodiff();
    let corpus = corpus(8);
    // Two batches of different videos: a queue leaves the batch's own out.
    let batches = [0, 4].map(|first| Batch {
        texts: [0, 3, 4, 7].map(|text| 2 * first + text).to_vec(),
        videos: (first..first + 4).collect(),
        text_video: vec![0, 1, 2, 3],
        shuffle: None,
    });
    let (mut pairs, mut refused) = (0, 0);
    for head_recipe in heads() {
        for objective_recipe in objectives() {
            let name = format!("{head_recipe:?} with {objective_recipe:?}");
            training.seed(3);
            let head = head_recipe.init(WIDTH, &training).unwrap();
            let objective = objective_recipe.init(WIDTH, &training).unwrap();
            if head.needs().judges_pairs && objective.needs().codes {
                refused += 1; // so does the plan
                continue;
            }
            pairs += 1;
            let mut model = model(head, objective, 0.0, &training);
            let mut adam = AdamWConfig::new().init();
            // The second step is the first that a queue takes part in.
            for (step, batch) in (0..).zip(&batches) {
                let (found, judged, seen) = gradients(&model, &corpus, batch, 3, &device, step).unwrap();
                assert!(judged.loss.is_finite(), "{name}");
                let values = flat(&model, &found);
                assert!(values.iter().all(|value| value.is_finite()), "{name}");
                assert!(values.iter().any(|value| value.abs() > 1e-6), "{name}: no gradient");
                model = adam.step(1e-3, model, found).clamp_logit_scale();
                after_step(&mut model, &seen);
            }
        }
    }
    // A queue of vectors goes with four of them: mean pooling twice, the LSTM, the temporal transformer.
    assert_eq!((refused, pairs + refused), (heads().len() - 4, heads().len() * objectives().len()));
}
