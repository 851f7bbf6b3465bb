//! Specs, the table, and every message.

use crate::oracles::{noise, noisy_world};
use ndarray::{Array1, Array2};
use tvr_normalize::{
    Chain, EmbeddingSource, Family, Grid, Marginals, MatrixSource, NormalizeError, Normalizer, Regime,
    Scores, Sinkhorn, Sources, Start, choose,
};

#[track_caller]
fn refused(spec: &str, message: &str) {
    assert_eq!(spec.parse::<Chain>().unwrap_err().to_string(), message);
}

#[test]
fn every_row_of_the_table_parses_and_tells_the_truth() {
    let world = noisy_world([12, 12, 130, 20], 1.0);
    let (alone, banked) = (Scores::new(world.test.view()), world.scores());
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
        "dual-softmax:temperature=1,prior=shared",
        "dual-softmax:temperature=1,prior=videos",
        "single-query:tau=1,iterations=20",
        "single-query:tau=0.05,iterations=2,start=bank",
        "dbsn:tau=0.01,iterations=10",
        "dual-bank:temperature=0.05,gallery_temperature=0.5",
        "dual-bank:temperature=0.05,gallery_temperature=0.5,rows=active,k=2",
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
        "unknown normaliser \"zzz\"; there are raw, dual-softmax, mutual, inverted-softmax, sinkhorn, single-query, \
         dbsn, csls, nnn, qb-norm, dual-bank",
    );
    refused(
        "dual-softmax:tempreture=1",
        "dual-softmax: unknown setting \"tempreture\"; did you mean \"temperature\"?",
    );
    refused("sinkhorn:tua=1", "sinkhorn: unknown setting \"tua\"; did you mean \"tau\"?");
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
    refused("dual-softmax:prior=mine", "dual-softmax: prior = mine, but it must be own, shared or videos");
    refused("single-query:start=row", "single-query: start = row, but it must be cold or bank");
    refused("dual-bank:rows=some", "dual-bank: rows = some, but it must be all or active");
    refused("dual-bank:k=2", "dual-bank: k = 2, but it must be 1 unless rows=active, which asks for it");
    refused(
        "dual-bank:gallery_temperature=0",
        "dual-bank: gallery_temperature = 0, but it must be a number above 0",
    );
    refused("dual-bank:rows=active,k=0", "dual-bank: k = 0, but it must be a whole number of at least 1");
    for method in ["csls", "nnn", "qb-norm"] {
        let message = format!("{method}: k = 0, but it must be a whole number of at least 1");
        refused(&format!("{method}:k=0"), &message);
    }
    refused("dbsn:iterations=0", "dbsn: iterations = 0, but it must be a whole number of at least 1");
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
        "dual-softmax: scores of shape [0, 3], but at least one row and one column are needed"
    );
    assert_eq!(
        message("qb-norm", Scores::new(s.view())),
        "qb-norm: there is no query bank, and it needs one; give training queries scored against the same gallery"
    );
    assert_eq!(
        message("dual-bank", Scores::new(s.view()).with_query_bank(s.view())),
        "dual-bank: there is no gallery bank, and it needs one; give training gallery items scored against the same gallery"
    );
    assert_eq!(
        message("dbsn", Scores::new(s.view()).with_query_bank(s.view())),
        "dbsn: there is no bank's gallery, and it needs one; give the bank queries scored against training gallery items"
    );
    assert_eq!(
        message("dbsn", Scores::new(s.view()).with_query_bank(s.view()).with_bank_gallery(bank.view())),
        "dbsn: the bank's gallery has 5 rows, the query bank has 4; both must hold the same bank queries"
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
    let error = sinkhorn.fit_with(&Scores::new(s.view()), &Marginals::uniform(4, 9)).unwrap_err();
    assert_eq!(error.to_string(), "sinkhorn: the gallery marginal has 9 entries, the scores have 3");
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

#[test]
fn a_prepared_method_refuses_another_gallery() {
    let world = noisy_world([4, 6, 9, 3], 1.0);
    let bank = MatrixSource::new(world.bank.view());
    let sources = Sources { query_bank: Some(&bank), ..Sources::default() };
    let prepared = "inverted-softmax".parse::<Family>().unwrap().prepare(&sources).unwrap();
    let error = prepared.apply(noise(2, 5, 1.0, 1).view()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the method was prepared on a gallery of 6 items, these scores have 5; prepare it again"
    );
    let nothing = "inverted-softmax".parse::<Family>().unwrap().prepare(&Sources::default()).unwrap_err();
    assert_eq!(
        nothing.to_string(),
        "inverted-softmax: there is no query bank, and it needs one; give training queries scored against the same gallery"
    );
}

#[test]
fn a_setting_is_chosen_on_val() {
    let grid: Grid = "dual-softmax:temperature=0.5|1|2+csls:k=2|3".parse().unwrap();
    let specs: Vec<String> = grid.candidates().iter().map(ToString::to_string).collect();
    assert_eq!(
        specs[..2],
        ["dual-softmax:temperature=0.5+csls:k=2", "dual-softmax:temperature=0.5+csls:k=3"]
    );
    assert_eq!((specs.len(), specs[5].as_str()), (6, "dual-softmax:temperature=2+csls:k=3"));
    assert_eq!("raw".parse::<Grid>().unwrap().candidates().len(), 1);
    let error = "sinkhorn:tau=1|0".parse::<Grid>().unwrap_err();
    assert_eq!(error.to_string(), "sinkhorn: tau = 0, but it must be a number above 0");

    let val = noise(8, 8, 1.0, 1);
    let grid: Grid = "inverted-softmax:temperature=0.1|1|10".parse().unwrap();
    // The figure prefers the second; of equal ones the first wins.
    let mut figures = [1.0, 3.0, 3.0].into_iter();
    let figure = |candidate: &Chain| {
        candidate.apply(&Scores::new(val.view()))?;
        Ok(figures.next().unwrap())
    };
    let choice = choose::<NormalizeError>(grid.candidates(), figure).unwrap();
    assert_eq!((choice.best.to_string().as_str(), choice.figure), ("inverted-softmax:temperature=1", 3.0));
    assert_eq!(choice.tried.len(), 3);
    let refused = |candidates: &[Chain], value: f64| {
        choose::<NormalizeError>(candidates, |_| Ok(value)).unwrap_err().to_string()
    };
    assert_eq!(
        refused(grid.candidates(), f64::NAN),
        "inverted-softmax:temperature=0.1 has the figure NaN on val; it must be a number"
    );
    assert_eq!(refused(&[], 0.0), "there is no setting to choose; give at least one");
}

/// No step, one, or several that do nothing: the scores themselves, prepared without a matrix.
#[test]
fn chains_that_do_nothing_are_raw() {
    let scores = ndarray::array![[1.0f32, -2.0], [0.5, 3.0]];
    let raw = || Family::Raw(tvr_normalize::Raw);
    for steps in [vec![], vec![raw()], vec![raw(), raw()]] {
        let chain = Chain::new(steps).unwrap();
        let given = Scores::new(scores.view());
        assert_eq!(chain.regime(&given), Regime::Raw);
        assert_eq!(chain.apply(&given).unwrap(), scores);
        assert_eq!(chain.bias(&given).unwrap(), Some(Array1::zeros(2)));
    }
    assert_eq!(Chain::new(vec![]).unwrap().name(), "raw");
}
