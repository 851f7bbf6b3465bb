//! Who judges what: where rows are split, a rank's similarities are its share and no more.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use burn::module::Module;
use burn::prelude::*;
use tvr_experiment::collective::{Collective, threads};
use tvr_experiment::step::{Batch, Way, gradients};
use tvr_heads::{
    Head, MeanPooling, MeanPoolingConfig, Needs, Similarity, TextCodes, TextFeatures, VideoCodes,
    VideoFeatures,
};
use tvr_objectives::{HingeConfig, NclConfig, Objective, SymmetricConfig};

const PAIRS: usize = 16;

/// Pairs of every call of [`Counting`]'s similarity.
static PAIRS_OF_CALLS: Mutex<Vec<usize>> = Mutex::new(Vec::new());

/// Mean pooling that counts what it is asked for.
#[derive(Module, Debug)]
struct Counting {
    head: MeanPooling,
}

impl Head for Counting {
    fn needs(&self) -> Needs {
        self.head.needs()
    }

    fn code_videos(&self, videos: VideoFeatures) -> VideoCodes {
        self.head.code_videos(videos)
    }

    fn code_texts(&self, texts: TextFeatures) -> TextCodes {
        self.head.code_texts(texts)
    }

    fn similarity(&self, texts: &TextCodes, videos: &VideoCodes) -> Similarity {
        let similarity = self.head.similarity(texts, videos);
        let pairs = similarity.fused.dims().iter().product();
        PAIRS_OF_CALLS.lock().unwrap_or_else(PoisonError::into_inner).push(pairs);
        similarity
    }
}

/// What all ranks of a step are asked for.
fn judged<O: Objective>(objective: O, count: usize) -> Vec<usize> {
    let training = Device::flex().autodiff();
    let head = Counting { head: MeanPoolingConfig::reference().init(crate::step::WIDTH, &training).unwrap() };
    let model = crate::step::model(head, objective, 0.0, &training);
    let forks = (0..count).map(|_| model.clone().fork(&training)).collect();
    PAIRS_OF_CALLS.lock().unwrap().clear();
    threads::run(forks, None, Duration::from_secs(60), &mut |_| (), |ranks, model, _| {
        let batch = Batch {
            texts: (0..PAIRS).map(|pair| 2 * pair).collect(),
            videos: (0..PAIRS).collect(),
            text_video: (0..PAIRS).collect(),
            shuffle: None,
        };
        let way = Way { ranks, chunk: 0, device: &Device::flex(), random: 1, draws: false };
        gradients(&model, &crate::step::corpus(PAIRS), &batch, &way).map(|_| ranks.rank())
    })
    .unwrap();
    PAIRS_OF_CALLS.lock().unwrap().clone()
}

#[test]
fn a_rank_judges_its_rows_of_both_directions_and_no_more() {
    let _alone = crate::run::generator();
    let all = PAIRS * PAIRS;
    for count in [2, 4, 8] {
        // Two calls at every rank.
        assert_eq!(judged(SymmetricConfig::ours().init().unwrap(), count), vec![all / count; 2 * count]);
        assert_eq!(judged(HingeConfig::paper().init().unwrap(), count), vec![all / count; 2 * count]);
    }
    assert_eq!(judged(SymmetricConfig::ours().init().unwrap(), 1), [all]);
    // Sweeps go over all of the matrix: every rank has it.
    let ncl = NclConfig::reference().init(crate::step::WIDTH, &Device::flex().autodiff()).unwrap();
    assert_eq!(judged(ncl, 4), vec![all; 4]);
}
