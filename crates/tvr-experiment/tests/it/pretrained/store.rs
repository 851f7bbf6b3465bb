//! Frames and features of a store, for frozen towers and trained ones.

use super::*;

#[test]
fn features_of_the_store_and_frames_of_the_store_give_one_matrix() {
    let _alone = generator();
    let root = root();
    // Rates at which nothing moves: the matrix is that of the checkpoint.
    let still = |encoder: &str, head: &str, runs: &str| {
        let mut recipe = recipe(root.path(), encoder, head);
        recipe.set("train.optimizer.learning_rate", "1e-30").unwrap();
        recipe.set("train.optimizer.tower_learning_rate", "1e-30").unwrap();
        recipe.set("train.optimizer.weight_decay", "0.0").unwrap();
        run(&planned(root.path(), &recipe, runs).unwrap()).0.test.logits
    };
    for head in ["kind = \"mean-pooling\"", SEQ_TRANSF] {
        let cached = still("", head, "cached");
        assert_eq!(cached.dim(), (4, 4));
        for (encoder, runs) in
            [("frames = \"trained\"", "trained"), ("frames = \"trained\"\npatches = \"3d\"", "temporal")]
        {
            let found = still(encoder, head, runs);
            let largest = (&found - &cached).iter().fold(0f32, |most, value| most.max(value.abs()));
            assert!(largest < 1e-3, "{encoder} {head}: {largest}"); // of logits, the scale is 14
        }
        let spread = cached.iter().fold(0f32, |most, value| most.max((value - cached[[0, 0]]).abs()));
        assert!(spread > 0.1, "{head}: all logits are alike, and the test sees nothing");
    }
}

#[test]
fn a_frozen_tower_looks_at_every_frame_once_and_other_weights_once_more() {
    let root = root();
    let looks = |recipe: &Recipe, runs: &str| {
        let mut looks = Vec::new();
        let mut listen = |event: Event| {
            if let Event::Begin { label, total, .. } = event
                && label == "pictures"
            {
                looks.push(total);
            }
        };
        let plan = planned(root.path(), recipe, runs).unwrap();
        experiment::open(&plan, &AtomicBool::new(false), &mut listen).unwrap();
        looks
    };
    let recipe = recipe(root.path(), "", "kind = \"mean-pooling\"");
    assert_eq!(looks(&recipe, "first"), [16 * 4], "four frames of each of 16 clips");
    assert_eq!(looks(&recipe, "second"), [0; 0]);
    let store = tvr_data::Store::open(&root.path().join("store")).unwrap().stat();
    assert_eq!((store.frames, store.features, store.shards), (16, 16, 1));

    // The same weights in another file are other weights: what a key names is bytes.
    let weights = root.path().join("weights/model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    std::fs::write(&weights, bytes).unwrap();
    assert_eq!(looks(&recipe, "other"), [16 * 4]);
    // And so are other pixels.
    let pixels = root.path().join("weights/preprocessor_config.json");
    let text = std::fs::read_to_string(&pixels).unwrap();
    std::fs::write(&pixels, text.replace("[0.5, 0.5, 0.4]", "[0.5, 0.5, 0.5]")).unwrap();
    assert_eq!(looks(&recipe, "pixels"), [16 * 4]);
    let store = tvr_data::Store::open(&root.path().join("store")).unwrap().stat();
    assert_eq!((store.frames, store.features), (16, 48));
}

#[test]
fn an_encoding_that_is_stopped_keeps_what_it_has_and_goes_on() {
    let root = root();
    let recipe = recipe(root.path(), "", "kind = \"mean-pooling\"");
    let plan = planned(root.path(), &recipe, "runs").unwrap();
    let stop = AtomicBool::new(false);
    let mut listen = |event: Event| {
        if matches!(event, Event::Begin { label, .. } if label == "pictures") {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let error = experiment::open(&plan, &stop, &mut listen).err().unwrap().to_string();
    assert!(error.ends_with("store; to go on: the same command"), "{error}");
    assert!(error.contains("stopped; what is encoded is kept in "), "{error}");
    experiment::open(&plan, &AtomicBool::new(false), &mut |_| ()).unwrap();
}
