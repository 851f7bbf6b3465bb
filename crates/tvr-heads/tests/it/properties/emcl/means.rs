//! The moving means of `items = "global"`.

use super::*;

#[test]
fn p_em_global_means_are_those_of_the_steps_later_ones_the_more() {
    let config = EmclConfig { momentum: 0.9, ..EmclConfig::global() };
    let mut head = config.init(mean_pooling(), 8, &Device::flex()).unwrap();
    let mut draw = Draw::new(15);
    // Mean moments of a step's vectors: of their products, then of themselves.
    let mut step = |texts: usize, videos: usize| -> Vec<f64> {
        let (texts, videos) = (head.code_texts(draw.texts(texts)), head.code_videos(draw.videos(videos, 3)));
        head.after_step(&texts, &videos);
        let items: Rows = [rows(&videos.pooled), rows(&texts.pooled)].concat();
        let mean = |of: &dyn Fn(&Vec<f64>) -> f64| items.iter().map(of).sum::<f64>() / items.len() as f64;
        let products = (0..64).map(|at| mean(&|row| row[at / 8] * row[at % 8]));
        products.chain((0..8).map(|at| mean(&|row| row[at]))).collect()
    };
    let (one, two) = (step(5, 6), step(4, 3));
    // What the first step has left, 0.9 of a tenth, and a tenth of the second, over their sum.
    let expected: Vec<f64> = one.iter().zip(&two).map(|(one, two)| (0.09 * one + 0.1 * two) / 0.19).collect();
    let Gram { gram, sum, .. } = head.running.unwrap().gram(0).unwrap();
    assert_close(&[floats(&gram), floats(&sum)].concat(), &expected, 1e-6);
}
