//! What is refused, by name.

use super::*;

#[test]
fn settings_outside_their_domain_are_refused_by_name() {
    let refuse = |config: SupportSetConfig| {
        config.init(WIDTH, VOCABULARY, &Device::flex()).map(|_| ()).unwrap_err().to_string()
    };
    let cross = || config(Support::Cross);
    assert_eq!(
        refuse(SupportSetConfig { temperature: 0.0, ..cross() }),
        "support-set: temperature = 0, but it must be a number above 0"
    );
    let cold = refuse(SupportSetConfig { temperature: 1e-40, ..cross() });
    assert!(cold.ends_with(", but it must be a number of at least 1e-20"), "{cold}");
    assert_eq!(
        refuse(SupportSetConfig { caption_weight: -1.0, ..cross() }),
        "support-set: caption_weight = -1, but it must be a number of 0 or above"
    );
    assert_eq!(
        refuse(SupportSetConfig { bank: 4, ..config(Support::Identity) }),
        "support-set: bank = 4, but it must be 0 where support = \"identity\""
    );
    let decoder = |change: &dyn Fn(&mut DecoderConfig)| {
        let mut config = cross();
        change(&mut config.decoder);
        refuse(config)
    };
    assert_eq!(
        decoder(&|decoder| decoder.layers = 0),
        "support-set: decoder.layers = 0, but it must be a number above 0"
    );
    assert_eq!(
        decoder(&|decoder| decoder.heads = 3),
        "support-set: decoder: block: width = 8 is not a multiple of heads = 3"
    );
    let none = config(Support::Cross).init(WIDTH, 0, &Device::flex()).map(|_| ()).unwrap_err().to_string();
    assert_eq!(none, "support-set: vocabulary = 0, but it must be a number above 0");
    let told = |end, width| {
        let codes = matrix(&Draw::new(1).scores(1, WIDTH, 1.0));
        beam(&decoder_of_one(), &codes, end, width).unwrap_err().to_string()
    };
    assert_eq!(told(0, 0), "support-set: beam width = 0, but it must be a number above 0");
    assert_eq!(told(99, 1), "support-set: end token = 99, but it must be below the decoder's vocabulary");
}

fn decoder_of_one() -> Decoder {
    decoder(1)
}

#[test]
fn a_text_row_of_a_recipe_makes_the_settings() {
    let text = r#"{"support": "full", "bank": 64, "contrastive": {"kind": "symmetric"}}"#;
    let config: SupportSetConfig = serde_json::from_str(text).unwrap();
    assert_eq!((config.support, config.bank, config.temperature), (Support::Full, 64, 0.1));
    assert_eq!(config.contrastive, ContrastiveConfig::Symmetric(SymmetricConfig::ours()));
    assert_eq!(config.decoder, DecoderConfig::ours());
    let silent: SupportSetConfig = serde_json::from_str("{}").unwrap();
    assert_eq!(silent, SupportSetConfig::paper());
    let ContrastiveConfig::Hinge(hinge) = silent.contrastive else { panic!("no hinge") };
    assert_eq!((silent.caption_weight, hinge.margin), (1.0, 0.2));
    let error = serde_json::from_str::<SupportSetConfig>(r#"{"lambda": 1.0}"#).unwrap_err();
    assert!(error.to_string().contains("unknown field `lambda`"), "{error}");
}

#[test]
fn a_batch_without_vectors_or_captions_is_refused_by_name() {
    let batch = batch(1, 3, 3);
    let needs = built(&config(Support::Full), 1).needs();
    let refuse = |pairs: Pairs| pairs.check(&needs).unwrap_err().to_string();
    assert_eq!(
        refuse(Pairs { videos: None, ..batch.pairs() }),
        "the objective needs video vectors, but the batch carries none"
    );
    assert_eq!(
        refuse(Pairs { captions: None, ..batch.pairs() }),
        "the objective needs caption tokens, but the batch carries none"
    );
    assert_eq!(
        refuse(Pairs { video_ids: None, ..batch.pairs() }),
        "the objective needs video numbers, but the batch carries none"
    );
}
