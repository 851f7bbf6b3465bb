//! P-SS-5 and P-SS-8: the bank, gradients, and what is saved.

use super::*;

#[test]
fn p_ss_5_the_bank_has_no_gradient_and_what_is_masked_in_it_no_weight() {
    let mut objective = built(&SupportSetConfig { bank: 4, ..config(Support::Cross) }, 1);
    let plain = built(&config(Support::Cross), 1);
    let one = batch(1, 3, 3);
    // Entries of the batch's own videos: every text may see those of the others, and none its own.
    objective.after_step(&Batch { video_ids: one.video_ids.clone(), ..batch(2, 3, 3) }.pairs());
    let same = same_of(&one);
    for (text, row) in weights(&objective, &one).iter().enumerate() {
        assert_eq!(row.len(), 6);
        for column in 0..6 {
            assert_eq!(row[column] == 0.0, column % 3 == same[text], "{text}, {column}");
        }
    }
    // Under cross, with a single video, the bank's entries of that video are masked and change nothing.
    let lonely = batch(3, 2, 1);
    let mut own = built(&SupportSetConfig { bank: 4, ..config(Support::Cross) }, 1);
    own.after_step(&Batch { video_ids: lonely.video_ids.clone(), ..batch(4, 1, 1) }.pairs());
    let told = own.told(&lonely.pairs()).unwrap();
    assert!(floats(&told.weights).iter().all(|&weight| weight == 0.0));
    assert_eq!(told.supported, [false, false]);
    let loss = own.loss(&lonely.pairs());
    assert_eq!(loss.parts[1].1.clone().into_scalar::<f64>(), 0.0);
    assert!(loss.total.into_scalar::<f64>().is_finite());
    // Without the bank such a batch is refused, and with a stranger in the bank it works.
    let refused = lonely.pairs().check(&plain.needs()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the objective needs at least 2 videos in a batch, but there is 1; raise train.batch"
    );
    let mut with_bank = built(&SupportSetConfig { bank: 4, ..config(Support::Cross) }, 1);
    assert!(lonely.pairs().check(&with_bank.needs()).is_err());
    with_bank.after_step(&Batch { video_ids: indices(&[77]), ..batch(5, 1, 1) }.pairs());
    lonely.pairs().check(&with_bank.needs()).unwrap();
    assert_close(&weights(&with_bank, &lonely).concat(), &[0.0, 1.0, 0.0, 1.0], 1e-12);
    assert!(with_bank.loss(&lonely.pairs()).parts[1].1.clone().into_scalar::<f64>() > 0.0);
    // No gradient.
    let training = with_bank.train();
    let device = Device::flex().autodiff();
    let lifted = Batch {
        streams: Vec::new(),
        texts: Tensor::from_inner(lonely.texts.clone()).require_grad(),
        videos: Tensor::from_inner(lonely.videos.clone()).require_grad(),
        similarity: Tensor::from_inner(lonely.similarity.clone()),
        same: lonely.same.clone().to_device(&device),
        scale: Tensor::from_inner(scale(1.0)),
        captions: captions(&[0, 1], &device),
        video_ids: lonely.video_ids.clone().to_device(&device),
    };
    let gradients = training.loss(&lifted.pairs()).total.backward();
    let bank = training.bank.as_ref().unwrap();
    assert!(!bank.vectors.val().is_require_grad() && bank.vectors.val().grad(&gradients).is_none());
    assert!(training.decoder.embedding.val().grad(&gradients).is_some());
}

#[test]
fn p_ss_5_a_masked_item_of_the_bank_changes_nothing() {
    let one = batch(6, 3, 3);
    let same = same_of(&one);
    let without = weights(&built(&config(Support::Cross), 1), &one);
    // Every item of the bank is an earlier version of the first video: masked for that video's captions, and for no
    // other's.
    let mut objective = built(&SupportSetConfig { bank: 2, ..config(Support::Cross) }, 1);
    objective.after_step(&Batch { video_ids: indices(&[10]), ..batch(7, 1, 1) }.pairs());
    objective.after_step(&Batch { video_ids: indices(&[10]), ..batch(8, 1, 1) }.pairs());
    for (text, (row, before)) in weights(&objective, &one).iter().zip(&without).enumerate() {
        if same[text] == 0 {
            assert_eq!((&row[..3], &row[3..]), (&before[..], &[0.0, 0.0][..]), "{text}");
        } else {
            assert!(row[3] > 0.0 && row[4] > 0.0 && row[..3] != before[..], "{text}");
        }
    }
    assert!(same.contains(&0) && same.iter().any(|&video| video != 0), "{same:?}");
}

#[test]
fn p_ss_5_gradients_flow_through_the_weights_into_both_sides() {
    let objective = built(&SupportSetConfig { caption_weight: 1.0, ..config(Support::Cross) }, 2).train();
    let plain = batch(8, 3, 3);
    let device = Device::flex().autodiff();
    let lifted = Batch {
        streams: Vec::new(),
        texts: Tensor::from_inner(plain.texts.clone()).require_grad(),
        videos: Tensor::from_inner(plain.videos.clone()).require_grad(),
        similarity: Tensor::from_inner(plain.similarity.clone()),
        same: plain.same.clone().to_device(&device),
        scale: Tensor::from_inner(scale(1.0)),
        captions: captions(&[0, 1, 2], &device),
        video_ids: plain.video_ids.clone().to_device(&device),
    };
    let gradients = objective.loss(&lifted.pairs()).total.backward();
    for side in [&lifted.texts, &lifted.videos] {
        assert!(floats(&side.grad(&gradients).unwrap()).iter().any(|slope| slope.abs() > 1e-9));
    }
}

#[test]
fn p_ss_8_without_weight_the_captions_count_for_nothing() {
    let batch = batch(9, 4, 4);
    let lambda = |caption_weight| built(&SupportSetConfig { caption_weight, ..config(Support::Cross) }, 3);
    let hinge = HingeConfig::paper().init().unwrap().loss(&batch.pairs()).total.into_scalar::<f64>();
    assert_eq!(lambda(0.0).loss(&batch.pairs()).total.into_scalar::<f64>(), hinge);
    let weighted = lambda(2.0).loss(&batch.pairs());
    let caption = weighted.parts[1].1.clone().into_scalar::<f64>();
    assert_close(&[weighted.total.into_scalar()], &[hinge + 2.0 * caption], 1e-12);
    assert!(caption > 0.0);
    // No part of the decoder has a gradient.
    let similarity = Tensor::from_inner(batch.similarity.clone()).require_grad();
    let device = similarity.device();
    let lifted = Batch {
        streams: Vec::new(),
        similarity,
        texts: Tensor::from_inner(batch.texts.clone()),
        videos: Tensor::from_inner(batch.videos.clone()),
        same: batch.same.clone().to_device(&device),
        scale: Tensor::from_inner(scale(1.0)),
        captions: captions(&[0, 1, 2, 3], &device),
        video_ids: batch.video_ids.clone().to_device(&device),
    };
    let objective = lambda(0.0).train();
    let gradients = objective.loss(&lifted.pairs()).total.backward();
    assert!(objective.decoder.embedding.val().grad(&gradients).is_none());
    assert!(objective.decoder.prefix.weight.val().grad(&gradients).is_none());
    // InfoNCE in place of the hinge.
    let contrastive = ContrastiveConfig::Symmetric(SymmetricConfig::ours());
    let objective =
        built(&SupportSetConfig { contrastive, caption_weight: 0.0, ..config(Support::Cross) }, 3);
    let expected = SymmetricConfig::ours().init().unwrap().loss(&batch.pairs()).total.into_scalar::<f64>();
    assert_eq!(objective.loss(&batch.pairs()).total.into_scalar::<f64>(), expected);
}

#[test]
fn the_parts_say_how_narrow_the_support_is() {
    let batch = batch(10, 5, 4);
    for support in SUPPORTS {
        let objective = built(&config(support), 4);
        let loss = objective.loss(&batch.pairs());
        let names: Vec<&str> = loss.parts.iter().map(|(name, _)| name.as_ref()).collect();
        assert_eq!(names, ["contrastive", "caption", "largest_weight"]);
        let rows = weights(&objective, &batch);
        let expected = rows.iter().map(|row| row.iter().copied().fold(0.0, f64::max)).sum::<f64>() / 5.0;
        assert_close(&[loss.parts[2].1.clone().into_scalar()], &[expected], 1e-12);
    }
}

#[test]
fn a_saved_bank_and_decoder_go_on_as_if_never_stopped() {
    let config = SupportSetConfig { bank: 5, ..config(Support::Cross) };
    let mut objective = built(&config, 5);
    for seed in 20..23 {
        let ids = indices(&(0..3).map(|at| 3 * seed as usize + at).collect::<Vec<_>>());
        objective.after_step(&Batch { video_ids: ids, ..batch(seed, 3, 3) }.pairs());
    }
    let next = batch(30, 3, 3);
    let value = |objective: &SupportSet| objective.loss(&next.pairs()).total.into_scalar::<f64>();
    let bytes = objective.clone().into_record().into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(bytes).unwrap();
    let resumed = built(&config, 6);
    assert_ne!(value(&resumed), value(&objective));
    assert_eq!(value(&resumed.try_load_record(record).unwrap()), value(&objective));
}
