//! Against what published code wrote: shared/data/golden/reference, README-b.md.

use crate::oracles::{assert_close, assert_near};
use ndarray::{Array1, Array2};
use safetensors::{Dtype, SafeTensors};
use tvr_normalize::{
    DualSoftmax, Family, Marginals, MatrixSource, Normalizer, Prior, Scores, Side, Sinkhorn, Start,
};

mod banks;
mod msrvtt;

struct Golden(Vec<u8>);

impl Golden {
    fn open(name: &str) -> Option<Self> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/golden/reference");
        let path = format!("{folder}/{name}.safetensors");
        match std::fs::read(&path) {
            Ok(bytes) => Some(Self(bytes)),
            Err(error) => {
                println!("skipped: {path}: {error}");
                None
            }
        }
    }

    fn values(&self, key: &str) -> (Vec<usize>, Vec<f64>) {
        let tensors = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = tensors.tensor(key).unwrap();
        let data = tensor.data();
        let values = match tensor.dtype() {
            Dtype::F32 => data.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect(),
            Dtype::F64 => data.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect(),
            Dtype::I32 => data.as_chunks().0.iter().map(|&b| f64::from(i32::from_le_bytes(b))).collect(),
            Dtype::I64 => data.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
            other => panic!("{key}: {other:?}"),
        };
        (tensor.shape().to_vec(), values)
    }

    fn matrix(&self, key: &str) -> Array2<f64> {
        let (shape, values) = self.values(key);
        Array2::from_shape_vec((shape[0], shape[1]), values).unwrap()
    }

    fn scores(&self, key: &str) -> Array2<f32> {
        self.matrix(key).mapv(|value| value as f32)
    }

    /// With mean 0: published potentials fix their constant in other ways.
    fn potential(&self, key: &str) -> Array1<f64> {
        let values = Array1::from(self.values(key).1);
        let mean = values.mean().unwrap();
        values - mean
    }
}

fn dual(s: &Array2<f32>, temperature: f32) -> Array2<f32> {
    DualSoftmax::new(temperature).unwrap().apply(&Scores::new(s.view())).unwrap()
}

#[test]
fn dual_softmax_is_that_of_published_evaluations() {
    let Some(golden) = Golden::open("dsl") else { return };
    let (logits, cosines) = (golden.scores("dsl.logits"), golden.scores("dsl.cos"));
    let transposed = logits.t().to_owned();
    let per_text = |key: &str| golden.matrix(key) / 24.0; // published × N
    assert_close(dual(&logits, 1.0).view(), &per_text("dsl.eval.camoe_line"), 1e-5);
    assert_close(dual(&logits, 1.0).view(), &golden.matrix("dsl.eval.ts2net"), 1e-5);
    assert_close(dual(&logits, 1.0).view(), &golden.matrix("dsl.eval.internvideo.t2v"), 1e-5);
    assert_close(dual(&transposed, 1.0).view(), &golden.matrix("dsl.eval.internvideo.v2t"), 1e-5);
    assert_close(dual(&cosines, 0.01).view(), &golden.matrix("dsl.eval.clipvip"), 1e-5);
    assert_close(dual(&cosines, 0.01).view(), &golden.matrix("dsl.eval.tmass"), 1e-5);
    assert_close(dual(&cosines, 0.1).view(), &per_text("dsl.eval.languagebind"), 1e-5);
    assert_close(dual(&cosines, 0.01).view(), &per_text("dsl.eval.emclnet.t2v"), 1e-5);
    let video_to_text = DualSoftmax::new(0.01).unwrap().apply(&Scores::new(cosines.t())).unwrap();
    assert_close(video_to_text.t(), &per_text("dsl.eval.emclnet.v2t"), 1e-5);
    // One matrix, read in both directions: the shared prior.
    let shared = DualSoftmax::new(1.0).unwrap().with_prior(Prior::Shared);
    let read = shared.apply(&Scores::new(logits.t()).with_queries(Side::Videos)).unwrap();
    assert_close(read.t(), &golden.matrix("dsl.eval.ts2net"), 1e-5);
    // 40 texts and 24 videos: that code multiplies by the number of texts in both directions.
    let rect = golden.scores("dsl.rect") / 100.0; // logits, where that code has cosines
    for (key, scores) in [("t2v", Scores::new(rect.view())), ("v2t", Scores::new(rect.t()))] {
        let found = DualSoftmax::new(0.01).unwrap().apply(&scores).unwrap();
        let found = if key == "t2v" { found } else { found.t().to_owned() };
        assert_close(found.view(), &(golden.matrix(&format!("dsl.rect.emclnet.{key}")) / 40.0), 1e-5);
    }
    let Some(oracle) = Golden::open("oracle-b") else { return };
    let rect = golden.scores("dsl.rect");
    assert_close(dual(&rect, 1.0).view(), &oracle.matrix("oracle.dsl.rect.t2v"), 1e-5);
    let turned = rect.t().to_owned(); // [videos, texts]
    assert_close(dual(&turned, 1.0).view(), &oracle.matrix("oracle.dsl.rect.v2t"), 1e-5);
    let mutual = "mutual".parse::<Family>().unwrap().apply(&Scores::new(logits.view())).unwrap();
    assert_close(mutual.view(), &oracle.matrix("oracle.dsl.mutual"), 1e-5);
}

#[test]
fn sinkhorn_is_that_of_ucofia_neighborretr_kdpror_and_dbsn() {
    let Some(golden) = Golden::open("ncl") else { return };
    for (input, case, sweeps) in [("ncl.logits", "square", [1, 4, 50]), ("ncl.bank_t2v", "bank", [1, 4, 50])]
    {
        let s = golden.scores(input);
        for sweeps in sweeps {
            let sinkhorn = Sinkhorn::new(1.0, sweeps).unwrap().with_start(Start::Column);
            let fit = sinkhorn.fit(&Scores::new(s.view())).unwrap();
            let expected = golden.potential(&format!("ncl.ucofia.{case}.n{sweeps}.col_bias"));
            assert_near(&fit.gallery_potential, &expected, 1e-4);
        }
    }
    let bank = golden.scores("ncl.bank_v2t");
    let sinkhorn = Sinkhorn::new(1.0, 4).unwrap().with_start(Start::Column);
    let fit = sinkhorn.fit(&Scores::new(bank.t())).unwrap();
    assert_near(&fit.gallery_potential, &golden.potential("ncl.ucofia.v2t.n4.text_bias"), 1e-4);

    let dbsn = golden.scores("ncl.dbsn.input");
    let sinkhorn = Sinkhorn::new(0.01, 9).unwrap().with_start(Start::Column);
    let fit = sinkhorn.fit(&Scores::new(dbsn.view())).unwrap();
    let expected = golden.potential("ncl.dbsn.tau0.01.n10.col_hubness") / -0.01;
    assert_near(&fit.gallery_potential, &expected, 1e-4);

    for (input, scale, plan, sweeps) in [
        ("ncl.kdpror.input", 1.0, "ncl.kdpror.plan.eps1.n5", 5),
        ("ncl.logits", 0.01, "ncl.neighborretr.plan", 50),
    ] {
        let s = golden.matrix(input) * scale;
        let single = s.mapv(|value| value as f32);
        let fit = Sinkhorn::new(1.0, sweeps).unwrap().fit(&Scores::new(single.view())).unwrap();
        let plan = golden.matrix(plan);
        for i in [0, 5, 23] {
            let found = plan.row(i).mapv(f64::ln) - s.row(i);
            let mean = found.mean().unwrap();
            assert_near(&fit.gallery_potential, &(found - mean), 1e-4);
        }
    }
}

#[test]
fn p_nc_6_the_published_function_overflows_where_this_one_does_not() {
    let Some(golden) = Golden::open("ncl") else { return };
    let s = golden.scores("ncl.logits") * 100.0; // README-b: NaN in f32 and f64 in the published function
    let fit = Sinkhorn::new(1.0, 4).unwrap().fit(&Scores::new(s.view())).unwrap();
    assert!(fit.gallery_potential.iter().all(|value| value.is_finite()));
}

#[test]
fn sinkhorn_is_its_oracle() {
    let Some(golden) = Golden::open("oracle-b") else { return };
    let s = golden.scores("oracle.ncl.sims");
    let (texts, videos) = (golden.scores("oracle.ncl.queue_texts"), golden.scores("oracle.ncl.queue_videos"));
    for sweeps in [1, 4, 50] {
        let settings = Sinkhorn::new(1.0, sweeps).unwrap();
        let check = |scores: Scores, key: &str| {
            let expected = golden.potential(&format!("{key}.n{sweeps}"));
            let (rows, columns) = scores.test.dim();
            let source = MatrixSource::new(scores.test);
            let streamed = settings.fit_source(&source, &Marginals::uniform(rows, columns)).unwrap();
            assert_near(&settings.fit(&scores).unwrap().gallery_potential, &expected, 1e-5);
            assert_near(&streamed.gallery_potential, &expected, 1e-5);
        };
        check(Scores::new(s.view()), "oracle.ncl.square.column");
        check(Scores::new(texts.view()), "oracle.ncl.bank_t2v.column");
        check(Scores::new(videos.t()), "oracle.ncl.bank_v2t.row");
    }
    let vector = |key: &str| Array1::from(golden.values(key).1);
    let priors = Marginals::new(vector("oracle.ncl.priors.r"), vector("oracle.ncl.priors.c")).unwrap();
    let settings = Sinkhorn::new(1.0, 3000).unwrap().with_tol(1e-6).unwrap();
    let fit = settings.fit_with(&Scores::new(s.view()), &priors).unwrap();
    assert_near(&fit.gallery_potential, &golden.potential("oracle.ncl.priors.column"), 1e-4);
    let Some(dsl) = Golden::open("dsl") else { return };
    let cosines = dsl.scores("dsl.cos");
    let fit = Sinkhorn::new(0.01, 200).unwrap().fit(&Scores::new(cosines.view())).unwrap();
    assert_near(&fit.gallery_potential, &golden.potential("oracle.ncl.tau0.01.column"), 1e-4);
}
