//! ViT-B/32 on 12 frames, and the built-in world's model: encoding, and a pass forward and back.

mod support;

use burn::prelude::*;
use criterion::{Criterion, criterion_group, criterion_main};
use tvr_clip::ClipConfig;

use support::measure;

fn clip(criterion: &mut Criterion) {
    tvr_nn::keep_freed_memory();
    let device = Device::flex();
    let training = device.clone().autodiff();
    training.seed(1);
    for (name, config, images, size) in
        [("clip/vit-b-32", ClipConfig::vit_b_32(), 12, 224), ("world", ClipConfig::world(400, 48), 128, 32)]
    {
        let Ok(model) = config.init(&training) else { continue };
        let plain = model.valid();
        let random = burn::tensor::Distribution::Normal(0.0, 1.0);
        let pixels = Tensor::<4>::random([images, 3, size, size], random, &device);
        let (encode, step) = match name {
            "world" => ("world/encode".to_string(), "world/step".to_string()),
            _ => (format!("{name}/encode-12-frames"), format!("{name}/forward-backward-12-frames")),
        };
        measure(criterion, &encode, "tvr", || plain.encode_images(pixels.clone()).into_data());
        let tracked = Tensor::<4>::from_inner(pixels);
        measure(criterion, &step, "tvr", || {
            let loss = tvr_nn::sum(model.encode_images(tracked.clone()).square());
            loss.backward()
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(std::time::Duration::from_secs(8));
    targets = clip
}
criterion_main!(benches);
