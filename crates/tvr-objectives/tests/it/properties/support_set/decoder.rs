//! P-SS-7: the caption decoder, and what it speaks.

use super::*;

/// Value of the caption loss, and its gradients by the codes and the embedding.
fn caption_loss(
    decoder: &Decoder,
    codes: &Tensor<2>,
    captions: &CaptionTokens,
    of: Captions,
) -> [Vec<f64>; 3] {
    let decoder = decoder.clone().train();
    let codes = Tensor::from_inner(codes.clone()).require_grad();
    let [texts, _] = codes.dims();
    let device = codes.device();
    let captions = CaptionTokens {
        ids: captions.ids.clone().to_device(&device),
        mask: captions.mask.clone().to_device(&device),
    };
    let loss = decoder.loss(codes.clone(), &captions, &vec![true; texts], of);
    let gradients = loss.backward();
    let of_embedding = decoder.embedding.val().grad(&gradients).unwrap();
    [floats(&loss), floats(&codes.grad(&gradients).unwrap()), floats(&of_embedding)]
}

#[test]
fn p_ss_7_padding_changes_neither_loss_nor_gradient() {
    let decoder = decoder(5);
    let codes = matrix(&Draw::new(5).scores(4, WIDTH, 1.0));
    let device = Device::flex();
    for of in [Captions::Mean, Captions::Sum] {
        let plain = captions(&[0, 1, 2, 3], &device); // lengths 1 to 4 of 5
        let expected = caption_loss(&decoder, &codes, &plain, of);
        // Other tokens at padding, even such as the vocabulary does not have.
        let garbage = CaptionTokens {
            ids: plain.ids.clone().mask_fill(plain.mask.clone().bool_not(), 999),
            mask: plain.mask.clone(),
        };
        for (found, expected) in caption_loss(&decoder, &codes, &garbage, of).iter().zip(&expected) {
            assert_close(found, expected, 1e-12);
        }
        // The longest has four tokens; a padded place less.
        let short = CaptionTokens {
            ids: plain.ids.clone().slice_dim(1, 0..4),
            mask: plain.mask.clone().slice_dim(1, 0..4),
        };
        for (found, expected) in caption_loss(&decoder, &codes, &short, of).iter().zip(&expected) {
            assert_close(found, expected, 1e-9);
        }
        // A caption of nothing.
        let nothing = captions(&[0, 1, 2, 3, 4], &device);
        let rows = Tensor::<1, Int>::arange(0..5, &device).reshape([5, 1]).expand([5, 5]);
        let nothing = CaptionTokens { mask: nothing.mask.bool_and(rows.lower_elem(4)), ..nothing };
        let longer = Tensor::cat(vec![codes.clone(), codes.clone().slice_dim(0, 0..1) * 9.0], 0);
        let [loss, of_codes, of_embedding] = caption_loss(&decoder, &longer, &nothing, of);
        assert_close(&loss, &expected[0], 1e-9);
        assert_close(&of_codes[..4 * WIDTH], &expected[1], 1e-9);
        assert!(of_codes[4 * WIDTH..].iter().all(|&slope| slope == 0.0));
        assert_close(&of_embedding, &expected[2], 1e-9);
    }
}

#[test]
fn p_ss_7_a_caption_beyond_the_longest_is_cut() {
    let small = DecoderConfig { max_tokens: 3, ..small_decoder() };
    let decoder = built(&SupportSetConfig { decoder: small, ..config(Support::Full) }, 8).decoder;
    let codes = matrix(&Draw::new(8).scores(5, WIDTH, 1.0));
    let whole = captions(&diagonal(5), &Device::flex()); // lengths 1 to 5
    let cut = CaptionTokens {
        ids: whole.ids.clone().slice_dim(1, 0..3),
        mask: whole.mask.clone().slice_dim(1, 0..3),
    };
    for of in [Captions::Mean, Captions::Sum] {
        let expected = caption_loss(&decoder, &codes, &cut, of);
        for (found, expected) in caption_loss(&decoder, &codes, &whole, of).iter().zip(&expected) {
            assert_close(found, expected, 1e-12);
        }
    }
}

#[test]
fn p_ss_7_the_caption_loss_is_the_mean_of_what_the_logits_say() {
    let decoder = decoder(6);
    let codes = matrix(&Draw::new(6).scores(4, WIDTH, 1.0));
    let tokens = captions(&[0, 1, 2, 3], &Device::flex());
    let logits = floats(&decoder.logits(codes.clone(), tokens.ids.clone()));
    let ids: Vec<usize> = tokens.ids.to_data().iter::<i64>().map(|id| id as usize).collect();
    for of in [Captions::Mean, Captions::Sum] {
        let expected: f64 = (0..4)
            .map(|text| {
                let length = 1 + text;
                let told: f64 = (0..length)
                    .map(|at| {
                        let row = &logits[(text * 5 + at) * VOCABULARY..][..VOCABULARY];
                        row[ids[text * 5 + at]] - row.iter().map(|x| x.exp()).sum::<f64>().ln()
                    })
                    .sum();
                -told / if of == Captions::Mean { length as f64 } else { 1.0 } / 4.0
            })
            .sum();
        assert_close(&caption_loss(&decoder, &codes, &tokens, of)[0], &[expected], 1e-9);
    }
}

#[test]
fn p_ss_7_tied_embeddings_are_one_parameter_of_the_record() {
    let decoder = decoder(7);
    struct Sizes(Vec<usize>);
    impl burn::module::ModuleVisitor for Sizes {
        fn visit_float<const D: usize>(&mut self, parameter: &burn::module::Param<Tensor<D>>) {
            self.0.push(parameter.val().shape().num_elements());
        }
    }
    let mut sizes = Sizes(Vec::new());
    decoder.visit(&mut sizes);
    let of_words = sizes.0.iter().filter(|&&size| size == VOCABULARY * small_decoder().width).count();
    assert_eq!(of_words, 1, "{:?}", sizes.0);
    // A longer row of one word raises that word's score at every place: it is the output's parameter too.
    let codes = matrix(&Draw::new(7).scores(1, WIDTH, 1.0));
    let ids = indices(&[1, 1]).reshape([1, 2]);
    let before = floats(&decoder.logits(codes.clone(), ids.clone()));
    let mut changed = decoder.clone();
    changed.embedding = changed.embedding.map(|rows| {
        let [words, width] = rows.dims();
        let row = Tensor::<1, Int>::arange(0..words as i64, &rows.device())
            .reshape([words, 1])
            .expand([words, width]);
        rows.clone().mask_where(row.equal_elem(9), rows * 3.0)
    });
    let after = floats(&changed.logits(codes, ids));
    for place in 0..2 {
        let at = place * VOCABULARY;
        assert_close(&[after[at + 9]], &[3.0 * before[at + 9]], 1e-12);
        assert_close(&after[at..at + 9], &before[at..at + 9], 1e-12);
    }
}

/// The best caption by trying all: the largest mean among those that end.
fn best_of_all(decoder: &Decoder, code: &Tensor<2>, end: u32) -> Vec<u32> {
    let words = VOCABULARY as u32;
    let mut open: Vec<(Vec<u32>, f64)> = vec![(Vec::new(), 0.0)];
    let mut best: Option<(Vec<u32>, f64)> = None;
    for length in 0..decoder.max_tokens() {
        let mut grown = Vec::new();
        for (tokens, sum) in open {
            let mut ids: Vec<usize> = tokens.iter().map(|&token| token as usize).collect();
            ids.push(0);
            let count = ids.len();
            let row = floats(&decoder.logits(code.clone(), indices(&ids).reshape([1, count])));
            let row = &row[length * VOCABULARY..];
            let total = row.iter().map(|x| x.exp()).sum::<f64>().ln();
            for word in 0..words {
                let sum = sum + row[word as usize] - total;
                let mut tokens = tokens.clone();
                tokens.push(word);
                if word == end {
                    let mean = sum / tokens.len() as f64;
                    if best.as_ref().is_none_or(|(_, before)| mean > *before) {
                        best = Some((tokens, mean));
                    }
                } else {
                    grown.push((tokens, sum));
                }
            }
        }
        open = grown;
    }
    let mut tokens = best.unwrap().0;
    tokens.pop();
    tokens
}

#[test]
fn a_beam_of_all_beginnings_finds_the_best_caption_and_one_of_one_is_greedy() {
    let small = DecoderConfig { max_tokens: 3, ..small_decoder() };
    let device = Device::flex();
    let alone = crate::generator();
    device.seed(11);
    let objective = SupportSetConfig { decoder: small, ..config(Support::Full) };
    let objective = objective.init(WIDTH, VOCABULARY, &device).unwrap();
    tvr_nn::touch(&objective);
    drop(alone);
    let mut decoder = cast(&objective, DType::F64).decoder;
    // Weights as drawn say all words alike.
    decoder.embedding = decoder.embedding.map(|rows| rows * 40.0);
    let codes = matrix(&Draw::new(11).scores(4, WIDTH, 2.0));
    let end = 2;
    let told = beam(&decoder, &codes, end, VOCABULARY.pow(2)).unwrap();
    let first = greedy(&decoder, &codes, end).unwrap();
    assert_eq!(first, beam(&decoder, &codes, end, 1).unwrap());
    for item in 0..4 {
        let code = codes.clone().slice_dim(0, item..item + 1);
        assert_eq!(told[item], best_of_all(&decoder, &code, end), "{item}");
        // The likeliest first word, whatever else is in the batch.
        let row = floats(&decoder.logits(code.clone(), indices(&[0]).reshape([1, 1])));
        let word = (0..VOCABULARY).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as u32;
        assert_eq!(first[item].first(), (word != end).then_some(&word));
        assert_eq!(greedy(&decoder, &code, end).unwrap(), first[item..=item].to_vec());
        assert!(first[item].len() <= 3 && !first[item].contains(&end));
    }
}
