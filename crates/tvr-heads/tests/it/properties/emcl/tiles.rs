//! P-EM-7: what depends on the tile, and what does not.

use super::*;

/// Unit rows of `count` items, in f64.
fn unit_items(draw: &mut Draw, count: usize, width: usize) -> Tensor<2> {
    let rows: Rows = (0..count)
        .map(|_| {
            let row = draw.normals(width);
            let length = norm(&row);
            row.iter().map(|x| x / length).collect()
        })
        .collect();
    tensor(&rows)
}

/// The module at inference with a start in f64.
fn in_f64(config: &EmclConfig, width: usize, start: &[f64]) -> Inference {
    let inference = config.at_inference(width, 0, &Device::flex()).unwrap();
    let mut average = inference.average().clone();
    average.values = Param::from_tensor(tensor(&vec![start.to_vec()])).set_require_grad(false);
    inference.with_average(average)
}

#[test]
fn p_em_7_global_bases_do_not_depend_on_the_tile() {
    let mut draw = Draw::new(1);
    let (texts, videos) = (unit_items(&mut draw, 9, 8), unit_items(&mut draw, 7, 8));
    let start = draw.normals(7);
    for mode in MODES {
        let config = EmclConfig { mode, scale: Scale::Mean, ..EmclConfig::inference() };
        let inference = in_f64(&config, 8, &start);
        let bank = inference.bank([texts.clone(), videos.clone()]).unwrap();
        let whole = floats(&inference.cosines(&texts, &videos, Scope::Bank(&bank)).unwrap());
        // The same items in other blocks, and query by query.
        let blocks = (0..9).map(|row| texts.clone().slice_dim(0, row..row + 1));
        let bank = inference.bank(blocks.chain([videos.clone()])).unwrap();
        for row in 0..9 {
            let alone = texts.clone().slice_dim(0, row..row + 1);
            let found = floats(&inference.cosines(&alone, &videos, Scope::Bank(&bank)).unwrap());
            close(&found, &whole[row * 7..][..7], 1e-8);
        }
        let everything = inference.cosines(&texts, &videos, Scope::Everything).unwrap();
        close(&floats(&everything), &whole, 1e-8);
    }
}

#[test]
fn p_em_7_global_with_sums_is_the_reference_called_once_on_everything() {
    let mut draw = Draw::new(2);
    let (texts, videos) = (unit_items(&mut draw, 9, 8), unit_items(&mut draw, 7, 8));
    let start = draw.normals(7);
    for mode in MODES {
        // At sigma 0.1 and 10 iterations two orders of summation part by up to 1e-6 of the value.
        let config = EmclConfig { mode, sigma: 0.5, ..EmclConfig::inference() };
        let inference = in_f64(&config, 8, &start);
        let once = inference.products(&texts, &videos, Scope::Tiles(tile(usize::MAX))).unwrap();
        let global = inference.products(&texts, &videos, Scope::Everything).unwrap();
        close(&floats(&global), &floats(&once), 1e-8);
    }
}

#[test]
fn unit_input_takes_the_lengths_off() {
    let mut draw = Draw::new(5);
    let longer = |items: &Tensor<2>| {
        let lengths: Rows = (0..items.dims()[0]).map(|item| vec![0.5 + item as f64]).collect();
        items.clone() * tensor(&lengths)
    };
    let (texts, videos) = (unit_items(&mut draw, 9, 8), unit_items(&mut draw, 7, 8));
    let (long_texts, long_videos) = (longer(&texts), longer(&videos));
    // At sigma 0.1 and 10 iterations roundings part by up to 1e-6 of the value.
    let config = EmclConfig { sigma: 0.5, unit_input: true, ..EmclConfig::inference() };
    let inference = in_f64(&config, 8, &draw.normals(7));
    let [bank, of_long] = [&videos, &long_videos].map(|items| inference.bank([items.clone()]).unwrap());
    for (scope, of_long) in [
        (Scope::Tiles(tile(4)), Scope::Tiles(tile(4))),
        (Scope::Everything, Scope::Everything),
        (Scope::Bank(&bank), Scope::Bank(&of_long)),
    ] {
        let expected = floats(&inference.products(&texts, &videos, scope).unwrap());
        let found = floats(&inference.products(&long_texts, &long_videos, of_long).unwrap());
        close(&found, &expected, 1e-8);
    }
}

#[test]
fn p_em_7_fails_in_reference_mode_where_the_tile_decides() {
    let mut draw = Draw::new(3);
    let (texts, videos) = (unit_items(&mut draw, 12, 8), unit_items(&mut draw, 12, 8));
    let inference = in_f64(&EmclConfig::inference(), 8, &draw.normals(7));
    let [whole, halves] =
        [12, 6].map(|size| floats(&inference.products(&texts, &videos, Scope::Tiles(tile(size))).unwrap()));
    let largest = largest_gap(&whole, &halves);
    assert!(largest > 0.01, "{largest}"); // scale 100: more than 1 logit
}

#[test]
fn p_em_7_a_trained_global_head_judges_every_pair_by_itself() {
    let mut draw = Draw::new(4);
    let config = EmclConfig { bases: 4, ..EmclConfig::global() };
    let mut head = config.init(mean_pooling(), 8, &Device::flex()).unwrap();
    head.average.values = Param::from_tensor(tensor(&vec![draw.normals(4)])).set_require_grad(false);
    let running = head.running.as_mut().unwrap();
    running.gram = Param::from_tensor(running.gram.val().cast(DType::F64)).set_require_grad(false);
    running.sum = Param::from_tensor(running.sum.val().cast(DType::F64)).set_require_grad(false);
    let (texts, videos) =
        (TextCodes::new(unit_items(&mut draw, 9, 8)), VideoCodes::new(unit_items(&mut draw, 7, 8)));
    // Without a step there is no base, and nothing changes.
    let plain = floats(&score_all(&mean_pooling(), &texts, &videos, tile(9)).unwrap());
    close(&floats(&score_all(&head, &texts, &videos, tile(9)).unwrap()), &plain, 1e-12);
    head.after_step(&texts, &videos);
    assert!(!head.needs().mixes_items && head.needs().tile.is_none());
    let whole = floats(&score_all(&head, &texts, &videos, tile(9)).unwrap());
    assert!(whole.iter().zip(&plain).any(|(a, b)| (a - b).abs() > 1e-3), "the layer does nothing");
    for size in [1, 2, 5] {
        close(&floats(&score_all(&head, &texts, &videos, tile(size)).unwrap()), &whole, 1e-8);
    }
}
