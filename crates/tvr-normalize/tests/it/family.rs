//! Specs, the table, and every message.

use crate::oracles::noise;
use ndarray::{Array1, Array2};
use tvr_normalize::{
    Chain, EmbeddingSource, Family, Marginals, MatrixSource, Normalizer, Regime, Scores, Sinkhorn, Start,
};

#[track_caller]
fn refused(spec: &str, message: &str) {
    assert_eq!(spec.parse::<Chain>().unwrap_err().to_string(), message);
}

#[test]
fn every_row_of_the_table_parses_and_tells_the_truth() {
    let (s, bank) = (noise(12, 12, 1.0, 1), noise(130, 12, 1.0, 2));
    let (alone, banked) = (Scores::new(s.view()), Scores::new(s.view()).with_query_bank(bank.view()));
    for entry in Family::ALL {
        let method: Family = entry.name.parse().unwrap();
        assert_eq!(method.entry(), Some(entry));
        let settings: Vec<String> = entry
            .settings
            .iter()
            .filter(|setting| !setting.default.is_empty())
            .map(|setting| format!("{}={}", setting.name, setting.default))
            .collect();
        if !settings.is_empty() {
            assert_eq!(format!("{}:{}", entry.name, settings.join(",")).parse::<Family>().unwrap(), method);
        }
        assert_eq!(method.to_string().parse::<Family>().unwrap(), method);
        assert_eq!(method.regime(&banked), entry.with_bank);
        assert_eq!(method.bias(&banked).unwrap().is_some(), entry.bias_form);
        assert!(method.apply(&banked).is_ok());
        assert_eq!(method.apply(&alone).is_ok().then(|| method.regime(&alone)), entry.without_bank);
    }
}

#[test]
fn specs_read_back() {
    for spec in [
        "raw",
        "dual-softmax:temperature=0.01",
        "sinkhorn:tau=1,iterations=50",
        "sinkhorn:tau=0.05,iterations=4,start=column,tol=0.0001",
        "qb-norm:temperature=0.05,k=1,threshold=3",
        "csls:k=10+dual-softmax:temperature=1",
    ] {
        let chain: Chain = spec.parse().unwrap();
        assert_eq!(chain.to_string(), spec);
        let json = serde_json::to_string(&chain).unwrap();
        assert_eq!(json, format!("\"{spec}\""));
        assert_eq!(serde_json::from_str::<Chain>(&json).unwrap(), chain);
    }
    let Family::Sinkhorn(sinkhorn) = " sinkhorn : tol=1e-3 , start = column".parse().unwrap() else {
        panic!()
    };
    assert_eq!((sinkhorn.tau(), sinkhorn.iterations()), (1.0, 50));
    assert_eq!((sinkhorn.start(), sinkhorn.tol()), (Start::Column, Some(1e-3)));
    assert_eq!(serde_json::to_string(&Regime::Bank).unwrap(), "\"bank\"");
    assert_eq!(Regime::Transductive.to_string(), "transductive");
}

#[test]
fn bad_specs_are_answered_with_the_mend() {
    refused("sinkhron:tau=1", "unknown normaliser \"sinkhron\"; did you mean \"sinkhorn\"?");
    refused(
        "zzz",
        "unknown normaliser \"zzz\"; there are raw, dual-softmax, mutual, inverted-softmax, sinkhorn, csls, nnn, qb-norm",
    );
    refused(
        "dual-softmax:tempreture=1",
        "dual-softmax: unknown setting \"tempreture\"; did you mean \"temperature\"?",
    );
    refused("sinkhorn:zzz=1", "sinkhorn: unknown setting \"zzz\"; there are tau, iterations, start, tol");
    refused("raw:tau=1", "raw: unknown setting \"tau\"; it has no settings");
    refused("sinkhorn:tau", "sinkhorn: \"tau\" has no value; write tau=VALUE");
    refused("sinkhorn:tau=", "sinkhorn: \"tau\" has no value; write tau=VALUE");
    refused("sinkhorn:tau=1,tau=2", "sinkhorn: tau is given twice; keep one");
    refused("dual-softmax:temperature=0", "dual-softmax: temperature = 0, but it must be a number above 0");
    refused(
        "inverted-softmax:temperature=-1",
        "inverted-softmax: temperature = -1, but it must be a number above 0",
    );
    refused("mutual:temperature=nan", "mutual: temperature = NaN, but it must be a number above 0");
    refused("sinkhorn:tau=much", "sinkhorn: tau = much, but it must be a number above 0");
    refused("sinkhorn:iterations=0", "sinkhorn: iterations = 0, but it must be a whole number of at least 1");
    refused(
        "sinkhorn:iterations=2.5",
        "sinkhorn: iterations = 2.5, but it must be a whole number of at least 1",
    );
    refused("sinkhorn:start=middle", "sinkhorn: start = middle, but it must be row or column");
    refused("sinkhorn:tol=-1", "sinkhorn: tol = -1, but it must be a number above 0");
    refused("nnn:alpha=-1", "nnn: alpha = -1, but it must be a number of at least 0");
}

#[test]
fn bad_scores_are_answered_with_the_mend() {
    let (s, bank) = (noise(4, 3, 1.0, 1), noise(5, 2, 1.0, 2));
    let message =
        |spec: &str, scores: Scores| spec.parse::<Family>().unwrap().apply(&scores).unwrap_err().to_string();
    assert_eq!(
        message("sinkhorn", Scores::new(s.view()).with_query_bank(bank.view())),
        "sinkhorn: the query bank has 2 columns, the scores have 3; both must score the same gallery"
    );
    assert_eq!(
        message("raw", Scores::new(s.view()).with_gallery_bank(bank.view())),
        "raw: the gallery bank has 2 columns, the scores have 3; both must score the same gallery"
    );
    assert_eq!(
        message("dual-softmax", Scores::new(Array2::zeros((0, 3)).view())),
        "dual-softmax: the scores has shape [0, 3]; it needs at least one row and one column"
    );
    assert_eq!(
        message("qb-norm", Scores::new(s.view())),
        "qb-norm: there is no query bank, and it needs one; give training queries scored against the same gallery"
    );
    assert_eq!(
        message("csls", Scores::new(s.view())),
        "csls: k = 10, but there are only 4 queries to select from; lower k or give more"
    );
}

#[test]
fn bad_marginals_and_embeddings_are_answered_with_the_mend() {
    let s = noise(4, 3, 1.0, 1);
    let error = Marginals::new(Array1::ones(4), Array1::from(vec![1.0, 0.0, 1.0])).unwrap_err();
    assert_eq!(error.to_string(), "sinkhorn: gallery marginal [1] = 0, but it must be a number above 0");
    let sinkhorn = Sinkhorn::new(1.0, 5).unwrap();
    let error = sinkhorn.fit_with(&Scores::new(s.view()), &Marginals::uniform(5, 3)).unwrap_err();
    assert_eq!(error.to_string(), "sinkhorn: the query marginal has 5 entries, the scores have 4");
    let other = noise(2, 5, 1.0, 1);
    let error = EmbeddingSource::new(s.view(), other.view(), 1.0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the queries have width 3, the gallery has width 5; both must come from one space"
    );
    let mut broken = s.clone();
    broken[[3, 1]] = f32::INFINITY;
    let error = EmbeddingSource::new(s.view(), broken.view(), 1.0).unwrap_err();
    assert_eq!(error.to_string(), "gallery embeddings[3, 1] is inf; every score must be finite");
    let error =
        sinkhorn.fit_source(&MatrixSource::new(broken.view()), &Marginals::uniform(4, 3)).unwrap_err();
    assert_eq!(error.to_string(), "scores[3, 1] is inf; every score must be finite");
}
