//! Outputs of published code and of a separate oracle: `shared/data/golden/reference`.

use std::path::Path;

use burn::prelude::*;
use burn::tensor::DType;
use safetensors::SafeTensors;
use tvr_objectives::ncl::sinkhorn::{Marginals, Start, potentials};
use tvr_objectives::support_set::Columns;
use tvr_objectives::{
    Askers, DualSoftmaxConfig, HingeConfig, NclConfig, Negatives, Objective, Pairs, Positives, Support,
    SymmetricConfig,
};

use crate::common::{
    Rows, assert_close, diagonal, floats, gradient, indices, loss, matrix, parts, scale, transposed,
};

struct Golden(Vec<u8>);

/// The file, or `None` with the reason on stderr.
fn open(name: &str) -> Option<Golden> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/golden/reference").join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(Golden(bytes)),
        Err(error) => {
            eprintln!("skipped: {}: {error}", path.display());
            None
        }
    }
}

impl Golden {
    fn values(&self, key: &str) -> Vec<f64> {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let view = file.tensor(key).unwrap_or_else(|error| panic!("{key}: {error}"));
        match view.dtype() {
            safetensors::Dtype::F32 => view
                .data()
                .chunks_exact(4)
                .map(|b| f32::from_le_bytes(b.try_into().unwrap()).into())
                .collect(),
            safetensors::Dtype::F64 => {
                view.data().chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect()
            }
            safetensors::Dtype::I64 => {
                view.data().as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect()
            }
            other => panic!("{key} is {other:?}"),
        }
    }

    fn rows(&self, key: &str) -> Rows {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let columns = file.tensor(key).unwrap_or_else(|error| panic!("{key}: {error}")).shape()[1];
        self.values(key).chunks(columns).map(<[f64]>::to_vec).collect()
    }
}

fn centred(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    values.iter().map(|x| x - mean).collect()
}

fn dual_softmax(temperature: f32, detach: bool, scale_by_batch: bool) -> tvr_objectives::DualSoftmax {
    let positives = Positives::Diagonal;
    DualSoftmaxConfig { temperature, detach, scale_by_batch, positives, ..DualSoftmaxConfig::paper() }
        .init()
        .unwrap()
}

#[test]
fn p_c4_3_symmetric_is_the_published_loss() {
    let Some(golden) = open("heads.safetensors") else { return };
    let objective = SymmetricConfig::reference().init().unwrap();
    let logits = golden.rows("heads.loss.logits");
    let same = diagonal(logits.len());
    // The published figures are f32.
    assert_close(&[loss(&objective, &logits, &same)], &golden.values("heads.loss.loss"), 1e-6);
    let expected = ["heads.loss.text_to_video", "heads.loss.video_to_text"].map(|key| golden.values(key)[0]);
    assert_close(&parts(&objective, &logits, &same), &expected, 1e-6);
}

#[test]
fn dual_softmax_is_the_published_loss() {
    let Some(golden) = open("dsl.safetensors") else { return };
    for (inputs, prefix) in [("dsl.logits", "dsl.camoe"), ("dsl.centred", "dsl.centred.camoe")] {
        let logits = golden.rows(inputs);
        let same = diagonal(logits.len());
        for temperature in [1.0f32, 100.0, 1000.0] {
            let objective = dual_softmax(temperature, false, true);
            let key = |name: &str| format!("{prefix}.{name}.t{temperature}");
            let mean = |key: String| {
                let values = golden.values(&key);
                values.iter().sum::<f64>() / values.len() as f64
            };
            let expected = [mean(key("rows")), mean(key("cols"))];
            assert_close(&parts(&objective, &logits, &same), &expected, 1e-9);
            assert_close(&[loss(&objective, &logits, &same)], &golden.values(&key("both")), 1e-9);
            let gradient = gradient(&objective, &logits, &same);
            assert_close(&gradient, &golden.values(&key("both_grad")), 1e-9);
        }
    }
}

#[test]
fn p_ds_7_detached_and_unscaled_dual_softmax_are_the_oracle_s() {
    let (Some(dsl), Some(golden)) = (open("dsl.safetensors"), open("oracle-b.safetensors")) else { return };
    let logits = dsl.rows("dsl.logits");
    let same = diagonal(logits.len());
    for temperature in [1.0f32, 100.0, 1000.0] {
        let key = |name: &str| golden.values(&format!("oracle.dsl.{name}.t{temperature}"));
        let detached = gradient(&dual_softmax(temperature, true, true), &logits, &same);
        assert_close(&detached, &key("detached.grad"), 1e-7); // the oracle takes finite differences
        let full = dual_softmax(temperature, false, true);
        let slopes = gradient(&full, &logits, &same);
        assert_close(&slopes, &key("grad"), 1e-7);
        // P-DS-7: what is detached is no trifle, and the more the lower the temperature.
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(0f64, |most, x| most.max(x.abs()));
        let apart = most(&mut slopes.iter().zip(&detached).map(|(a, b)| a - b));
        let share = apart / most(&mut slopes.iter().copied());
        let expected = [(1.0, 0.97), (100.0, 0.34), (1000.0, 0.05)];
        let expected = expected.into_iter().find(|(t, _)| *t == temperature).unwrap().1;
        assert!((share - expected).abs() < 0.01, "at {temperature}: {share} is not {expected}");
        assert_close(&[loss(&full, &logits, &same)], &key("loss"), 1e-9);
        let unscaled = loss(&dual_softmax(temperature, false, false), &logits, &same);
        assert_close(&[unscaled], &key("unscaled.loss"), 1e-9);
    }
    let plain = loss(&SymmetricConfig::reference().init().unwrap(), &logits, &same);
    assert_close(&[plain], &golden.values("oracle.info_nce.loss"), 1e-9);
}

#[test]
fn dual_softmax_with_added_directions_is_clip_vip_s() {
    let Some(golden) = open("dsl.safetensors") else { return };
    let leaf = |rows: &Rows| Tensor::from_inner(matrix(rows)).require_grad();
    let (texts, videos) = (leaf(&golden.rows("dsl.text")), leaf(&golden.rows("dsl.video")));
    let log_scale = Tensor::from_inner(scale(100f64.ln())).require_grad();
    let same = indices(&diagonal(texts.dims()[0]));
    let similarity = texts.clone().matmul(videos.clone().transpose());
    let pairs = Pairs::new(&similarity, log_scale.clone().exp(), &same);
    let total = DualSoftmaxConfig::clip_vip().init().unwrap().loss(&pairs).total;
    assert_close(&floats(&total), &golden.values("dsl.clipvip.loss"), 1e-9);
    let gradients = total.backward();
    let gradient = |key: &str, found: Vec<f64>| assert_close(&found, &golden.values(key), 1e-9);
    gradient("dsl.clipvip.grad_text", floats(&texts.grad(&gradients).unwrap()));
    gradient("dsl.clipvip.grad_video", floats(&videos.grad(&gradients).unwrap()));
    gradient("dsl.clipvip.grad_log_scale", floats(&log_scale.grad(&gradients).unwrap()));
}

#[test]
fn potentials_are_the_published_biases() {
    let Some(golden) = open("ncl.safetensors") else { return };
    for (name, input) in [("square", "ncl.logits"), ("bank", "ncl.bank_t2v")] {
        let scores = golden.rows(input);
        for sweeps in [1, 4, 50] {
            let found = potentials(matrix(&scores), Start::Column, sweeps, None);
            let key =
                |side: &str| centred(&golden.values(&format!("ncl.ucofia.{name}.n{sweeps}.{side}_bias")));
            // A bias means something up to one constant.
            assert_close(&centred(&floats(&found.columns)), &key("col"), 1e-9);
            assert_close(&centred(&floats(&found.rows)), &key("row"), 1e-9);
        }
    }
    let found = potentials(matrix(&transposed(&golden.rows("ncl.bank_v2t"))), Start::Column, 4, None);
    let expected = centred(&golden.values("ncl.ucofia.v2t.n4.text_bias"));
    assert_close(&centred(&floats(&found.columns)), &expected, 1e-9);
    // In f32 on both sides.
    let single = matrix(&golden.rows("ncl.logits")).cast(DType::F32);
    let found = potentials(single, Start::Column, 4, None);
    let key = |side: &str| centred(&golden.values(&format!("ncl.ucofia.square.n4.{side}_bias_f32")));
    assert_close(&centred(&floats(&found.columns)), &key("col"), 5e-5); // logits up to 72
    assert_close(&centred(&floats(&found.rows)), &key("row"), 5e-5);
    // DBSN: ten rounds of columns, then rows; hubness is a bias the other way round, in the unit of cosines.
    let cosines = matrix(&golden.rows("ncl.dbsn.input")) / 0.01;
    let key = |side: &str| {
        let hubness = golden.values(&format!("ncl.dbsn.tau0.01.n10.{side}_hubness"));
        centred(&hubness.iter().map(|x| x / -0.01).collect::<Vec<_>>())
    };
    let found = potentials(cosines.clone(), Start::Column, 9, None);
    assert_close(&centred(&floats(&found.columns)), &key("col"), 1e-6);
    let found = potentials(cosines, Start::Column, 10, None);
    assert_close(&centred(&floats(&found.rows)), &key("row"), 1e-6);
}

#[test]
fn potentials_are_the_oracle_s() {
    let Some(golden) = open("oracle-b.safetensors") else { return };
    let sims = matrix(&golden.rows("oracle.ncl.sims"));
    for sweeps in [1, 4, 50] {
        let found = potentials(sims.clone(), Start::Row, sweeps, None);
        let key = |side: &str| golden.values(&format!("oracle.ncl.square.{side}.n{sweeps}"));
        assert_close(&floats(&found.columns), &key("column"), 1e-9);
        assert_close(&floats(&found.rows), &key("row"), 1e-9);
    }
    let column = |key: &str| matrix(&golden.values(key).iter().map(|&x| vec![x]).collect());
    let marginals =
        Marginals { rows: column("oracle.ncl.priors.r"), columns: column("oracle.ncl.priors.c").transpose() };
    // The oracle goes on until it has converged.
    let found = potentials(sims.clone(), Start::Row, 2000, Some(&marginals));
    assert_close(&floats(&found.columns), &golden.values("oracle.ncl.priors.column"), 1e-9);
    assert_close(&floats(&found.rows), &golden.values("oracle.ncl.priors.row"), 1e-9);
    let sweeps = golden.values("oracle.ncl.square.sweeps")[0] as usize;
    let found = potentials(sims.clone(), Start::Row, sweeps, None);
    assert_close(&floats(&found.columns), &golden.values("oracle.ncl.square.column.converged"), 1e-9);
    assert_close(&floats(&found.rows), &golden.values("oracle.ncl.square.row.converged"), 1e-9);
    // The dual objective, sweep by sweep.
    let duals: Vec<f64> = (1..=20)
        .map(|sweeps| {
            let found = potentials(sims.clone(), Start::Row, sweeps, None);
            let mean = |side: &Tensor<2>| floats(side).iter().sum::<f64>() / 24.0;
            let plan = (sims.clone() + found.rows.clone() + found.columns.clone()).exp();
            mean(&found.rows) + mean(&found.columns) - floats(&plan).iter().sum::<f64>()
        })
        .collect();
    assert_close(&duals, &golden.values("oracle.ncl.dual_objective"), 1e-9);
    let Some(dsl) = open("dsl.safetensors") else { return };
    let found = potentials(matrix(&dsl.rows("dsl.cos")) / 0.01, Start::Row, 200, None);
    assert_close(&floats(&found.columns), &golden.values("oracle.ncl.tau0.01.column"), 1e-6);
    assert_close(&floats(&found.rows), &golden.values("oracle.ncl.tau0.01.row"), 1e-6);
}

#[test]
fn ncl_is_the_oracle_s() {
    let Some(golden) = open("oracle-b.safetensors") else { return };
    let sims = golden.rows("oracle.ncl.sims");
    let same = diagonal(sims.len());
    for sweeps in [4, 50] {
        let config = NclConfig { sweeps, start: Start::Row, ..NclConfig::reference() };
        let objective = config.init(1, &Device::flex()).unwrap();
        let key = |name: &str| golden.values(&format!("oracle.ncl.{name}.n{sweeps}"));
        assert_close(&[loss(&objective, &sims, &same)], &key("loss.batch"), 1e-9);
        assert_close(&gradient(&objective, &sims, &same), &key("grad.batch"), 1e-8);
        let detached = NclConfig { detach: true, ..config }.init(1, &Device::flex()).unwrap();
        assert_close(&gradient(&detached, &sims, &same), &key("grad.detached"), 1e-8);
    }
}

/// The oracle's queue is given as logits; unit vectors of the axes turn them into vectors: the batch's videos are
/// the axes, and a queued text is the row of its logits.
#[test]
fn ncl_with_a_queue_is_the_oracle_s() {
    let Some(golden) = open("oracle-b.safetensors") else { return };
    let sims = golden.rows("oracle.ncl.sims");
    let (n, same) = (sims.len(), indices(&diagonal(sims.len())));
    let axes = Tensor::<2>::eye(n, &Device::flex()).cast(DType::F64);
    let queued_texts = matrix(&golden.rows("oracle.ncl.queue_texts")); // [96, 24]
    let queued_videos = matrix(&golden.rows("oracle.ncl.queue_videos")).transpose(); // [80, 24]
    for (askers, name) in [(Askers::BatchAndQueue, "batch_queue"), (Askers::Queue, "queue")] {
        for sweeps in [4, 50] {
            let config = NclConfig { sweeps, start: Start::Row, askers, queue: 96, ..NclConfig::reference() };
            let mut objective = config.init(n, &Device::flex()).unwrap().train();
            // Their videos are none of the batch's.
            let others = |count: usize| indices(&(n..n + count).collect::<Vec<_>>());
            objective.texts.as_mut().unwrap().push(queued_texts.clone(), others(96));
            objective.videos.as_mut().unwrap().push(queued_videos.clone(), others(80));
            let similarity = Tensor::from_inner(matrix(&sims)).require_grad();
            let axes = Tensor::from_inner(axes.clone());
            let mut pairs = Pairs::new(&similarity, Tensor::from_inner(scale(1.0)), &same);
            (pairs.texts, pairs.videos, pairs.video_ids) = (Some(&axes), Some(&axes), Some(&same));
            let total = objective.loss(&pairs).total;
            let key = |kind: &str| golden.values(&format!("oracle.ncl.{kind}.{name}.n{sweeps}"));
            assert_close(&floats(&total), &key("loss"), 1e-9);
            if askers == Askers::BatchAndQueue {
                let gradients = total.backward();
                assert_close(&floats(&similarity.grad(&gradients).unwrap()), &key("grad"), 1e-8);
            }
        }
    }
}

#[test]
fn support_weights_and_codes_are_the_oracle_s() {
    let opened = (open("dsl.safetensors"), open("csls.safetensors"), open("oracle-b.safetensors"));
    let (Some(dsl), Some(csls), Some(golden)) = opened else { return };
    let (texts, videos) = (matrix(&dsl.rows("dsl.text")), matrix(&dsl.rows("dsl.video")));
    let bank = matrix(&csls.rows("csls.gallery"));
    let [n, _] = texts.dims();
    for (bank, suffix) in [(None, ""), (Some(bank), ".bank")] {
        let vectors = match bank {
            Some(bank) => Tensor::cat(vec![videos.clone(), bank], 0),
            None => videos.clone(),
        };
        let [columns, _] = vectors.dims();
        let related: Vec<bool> = (0..n * columns).map(|at| at % columns == at / columns).collect();
        let related = Tensor::from_data(TensorData::new(related, [n, columns]), &Device::flex());
        let columns = Columns { vectors, own: indices(&diagonal(n)), related };
        for (support, name) in [
            (Support::Identity, "identity"),
            (Support::Full, "full"),
            (Support::Hybrid, "hybrid"),
            (Support::Cross, "cross"),
        ] {
            let weights = support.weights(texts.clone(), &columns, 0.1);
            let expected = golden.values(&format!("oracle.ss.weights.{name}.t0.1{suffix}"));
            // The vectors are f32 and of length 1 within 1e-7, which the temperature magnifies.
            assert_close(&floats(&weights), &expected, 1e-6);
            if support == Support::Cross && suffix.is_empty() {
                let codes = weights.matmul(videos.clone());
                assert_close(&floats(&codes), &golden.values("oracle.ss.codes.cross.t0.1"), 1e-6);
            }
        }
    }
}

#[test]
fn hinge_is_the_oracle_s() {
    let (Some(dsl), Some(golden)) = (open("dsl.safetensors"), open("oracle-b.safetensors")) else { return };
    let cosines = dsl.rows("dsl.cos");
    let same = diagonal(cosines.len());
    for margin in [0.05f32, 0.2] {
        let hinge = |negatives| HingeConfig { margin, negatives, ..HingeConfig::paper() }.init().unwrap();
        let key = |name: &str| golden.values(&format!("oracle.ss.hinge.{name}.m{margin}"));
        // The margin is an f32: 0.2 is 3e-9 off, in each of 24 costs and two directions.
        assert_close(&[loss(&hinge(Negatives::Hardest), &cosines, &same)], &key("hardest"), 1e-8);
        let slope = gradient(&hinge(Negatives::Hardest), &cosines, &same);
        assert_close(&slope, &key("hardest.grad"), 1e-7);
        // The oracle adds up all negatives, and the objective takes their mean, over both directions.
        let all = loss(&hinge(Negatives::All), &cosines, &same) * 2.0 * (same.len() - 1) as f64;
        assert_close(&[all], &key("all"), 1e-6);
    }
}

#[test]
fn hinge_over_all_negatives_is_mmt_s_max_margin_loss() {
    let Some(golden) = open("experts.safetensors") else { return };
    let cosines = golden.rows("experts.cos");
    let same = diagonal(cosines.len());
    for (margin, name) in [(0.05f32, "0.05"), (0.2, "0.2"), (1.0, "1.0")] {
        let objective = HingeConfig { margin, ..HingeConfig::reference() }.init().unwrap();
        let key = |what: &str| golden.values(&format!("experts.mmt.max_margin.m{name}.{what}"));
        assert_close(&[loss(&objective, &cosines, &same)], &key("loss"), 1e-8);
        assert_close(&gradient(&objective, &cosines, &same), &key("grad"), 1e-9);
        // With `fix_norm` off an own pair competes with itself too, which costs the margin and pulls on nothing.
        let n = same.len() as f64;
        let all = (loss(&objective, &cosines, &same) * (n - 1.0) + f64::from(margin)) / n;
        assert_close(&[all], &key("loss_with_diagonal"), 1e-8);
    }
    // Its InfoNCE adds the directions, on logits as they are.
    let logits = golden.rows("experts.logits");
    let both = parts(&SymmetricConfig::reference().init().unwrap(), &logits, &same).iter().sum::<f64>();
    assert_close(&[both], &golden.values("experts.mmt.info_nce.loss"), 1e-8);
}
