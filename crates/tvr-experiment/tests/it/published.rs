//! Published figures and the band around them.

use tvr_data::benchmarks::Benchmark;
use tvr_data::benchmarks::protocols::Protocol;
use tvr_data::galleries::GALLERIES;
use tvr_experiment::Recipe;
use tvr_experiment::reproduce::Paper;
use tvr_experiment::reproduce::published::{PUBLISHED, acceptance, gallery, of};

#[test]
fn figures_are_recalls_and_ranks() {
    for row in PUBLISHED {
        for [r1, r5, r10, median, mean] in [row.text_to_video, row.video_to_text] {
            let recalls: Vec<f64> = [r1, r5, r10].into_iter().flatten().collect();
            assert!(recalls.windows(2).all(|pair| pair[0] < pair[1]), "{}: R@1 < R@5 < R@10", row.model);
            assert!(recalls.iter().all(|recall| (1.0..100.0).contains(recall)), "{}", row.model);
            assert!([median, mean].into_iter().flatten().all(|rank| (1.0..100.0).contains(&rank)));
        }
        assert!(row.text_to_video[0].is_some(), "{}: every row has T2V R@1", row.model);
        assert!(!row.source.is_empty());
    }
    for paper in Paper::ALL {
        assert!(!of(paper, "msrvtt").is_empty(), "{paper} reports MSR-VTT");
    }
    assert!(of(Paper::Ncl, "lsmdc").is_empty(), "nothing is made up");
}

#[test]
fn figures_of_other_clips_than_a_run_s_are_shown_and_not_judged() {
    for benchmark in Benchmark::ALL {
        let known =
            GALLERIES.iter().find(|known| known.benchmark == benchmark && known.name == gallery(benchmark));
        let protocol = Protocol::of(benchmark).next().unwrap();
        assert!(known.is_some_and(|known| known.hash.is_some()), "{benchmark} {}", protocol.name);
    }
    let not = |dataset: &str, paper| -> Vec<Option<String>> {
        of(paper, dataset).iter().map(|row| row.is_not_judged()).collect()
    };
    assert_eq!(not("vatex", Paper::Clip4clip), [Some("not comparable: measured on val".into())]);
    let clips = Some("not comparable: measured on 1,003 clips".to_owned());
    assert_eq!(not("didemo", Paper::Clip4clip), [clips.clone(), clips]);
    assert!(not("msrvtt", Paper::Clip4clip).iter().all(Option::is_none));
    assert!(not("msrvtt", Paper::SupportSet).contains(&Some("from memory: not judged".into())));
}

/// A row beside which published figures stand is one that its recipe has, and sees what the published model saw.
#[test]
fn published_figures_stand_beside_rows_that_recipes_have() {
    for row in PUBLISHED {
        let Some((recipe, normalize, regime)) = row.beside else { continue };
        let path = format!("{}/../../recipes/{recipe}.toml", env!("CARGO_MANIFEST_DIR"));
        let recipe = Recipe::parse(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert!(recipe.eval.normalize.iter().any(|spec| spec == normalize), "{}: {normalize}", row.model);
        let banked = recipe.eval.bank.is_some() && normalize != "raw";
        assert_eq!(regime == "bank", banked, "{}: {path}", row.model);
        assert_eq!(
            row.model.contains("(transductive)"),
            normalize.starts_with("dual-softmax"),
            "{}",
            row.model
        );
    }
}

/// Where a paper and its own repository differ, both stand there, as docs/deviations.md says.
#[test]
fn a_paper_and_its_repository_are_both_quoted_where_they_differ() {
    for (paper, both) in [(Paper::Emcl, [46.8, 47.0]), (Paper::Camoe, [47.3, 48.8])] {
        let quoted: Vec<f64> = of(paper, "msrvtt").iter().filter_map(|row| row.text_to_video[0]).collect();
        assert!(both.iter().all(|figure| quoted.contains(figure)), "{paper}: {both:?} in {quoted:?}");
    }
}

#[test]
fn the_band_is_that_of_a_share_of_the_queries() {
    // 44.5 % of 1,000: √(0.445 · 0.555 / 1000) = 0.015715…
    assert!((acceptance(44.5, 1000) - 1.96 * 1.571_543_8).abs() < 1e-6);
    assert!((acceptance(50.0, 4) - 49.0).abs() < 1e-9);
    assert_eq!(acceptance(0.0, 10), 0.0);
}
