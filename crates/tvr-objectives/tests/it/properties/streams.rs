//! One term per stream.

use burn::prelude::*;
use proptest::prelude::*;
use tvr_objectives::{
    Askers, Decoder, DualSoftmaxConfig, Loss, Ncl, NclConfig, Objective, Pairs, Stream, StreamName, Streams,
    StreamsConfig, SupportSetConfig, Symmetric, SymmetricConfig,
};

use crate::common::{
    self, Draw, Rows, VOCABULARY, WIDTH, assert_close, diagonal, floats, indices, loss, matrix, scale,
    small_decoder,
};
use crate::oracles;

const NAMES: [&str; 4] = ["entity", "action", "scene", "fusion"];

/// A batch with four streams; `available[stream][text]`.
struct Batch {
    fused: Rows,
    streams: Vec<Rows>,
    available: Vec<Vec<bool>>,
    same: Vec<usize>,
}

impl Batch {
    fn new(seed: u64, texts: usize, videos: usize) -> Self {
        let mut draw = Draw::new(seed);
        let streams = NAMES.map(|_| draw.scores(texts, videos, 1.0)).to_vec();
        let mut available: Vec<Vec<bool>> =
            NAMES.map(|_| (0..texts).map(|_| draw.uniform() < 0.6).collect()).to_vec();
        available[3] = vec![true; texts];
        Self { fused: draw.scores(texts, videos, 1.0), streams, available, same: draw.same(texts, videos) }
    }

    /// The loss at scale 10, its parts, and the gradients of the fused matrix and of the streams.
    fn judge<O: Objective>(&self, objective: &O) -> (f64, Vec<f64>, Vec<Vec<f64>>) {
        let leaf = |rows: &Rows| Tensor::from_inner(matrix(rows)).require_grad();
        let (fused, leaves) = (leaf(&self.fused), self.streams.iter().map(leaf).collect::<Vec<_>>());
        let device = fused.device();
        let streams: Vec<Stream> = (0..4)
            .map(|stream| Stream {
                name: NAMES[stream],
                similarity: leaves[stream].clone(),
                available: Tensor::from_data(
                    TensorData::new(self.available[stream].clone(), [self.same.len()]),
                    &device,
                ),
            })
            .collect();
        let same = indices(&self.same).to_device(&device);
        let pairs = Pairs { streams: &streams, ..Pairs::new(&fused, Tensor::from_inner(scale(10.0)), &same) };
        let objective = objective.clone().train();
        pairs.check(&objective.needs()).unwrap();
        let loss = objective.loss(&pairs);
        let parts = loss.parts.iter().map(|(_, part)| part.clone().into_scalar()).collect();
        let (total, gradients) = (loss.total.clone().into_scalar(), loss.total.backward());
        let of = |leaf: &Tensor<2>| match leaf.grad(&gradients) {
            Some(gradient) => floats(&gradient),
            None => vec![0.0; self.fused.concat().len()],
        };
        (total, parts, std::iter::once(&fused).chain(&leaves).map(of).collect())
    }

    /// The captions of one stream as a batch of their own.
    fn part(&self, stream: usize) -> (Rows, Vec<usize>) {
        let kept: Vec<usize> = (0..self.same.len()).filter(|&text| self.available[stream][text]).collect();
        let lost = |video: usize| {
            let own: Vec<usize> = (0..self.same.len()).filter(|&text| self.same[text] == video).collect();
            !own.is_empty() && !own.iter().any(|text| kept.contains(text))
        };
        let videos: Vec<usize> = (0..self.fused[0].len()).filter(|&video| !lost(video)).collect();
        let row = |text: &usize| -> Vec<f64> {
            videos.iter().map(|&video| 10.0 * self.streams[stream][*text][video]).collect()
        };
        let place = |text: &usize| videos.iter().position(|&video| video == self.same[*text]).unwrap();
        (kept.iter().map(row).collect(), kept.iter().map(place).collect())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn p_ca_8_a_caption_without_a_stream_has_no_part_in_its_term(
        texts in 1usize..8, videos in 1usize..6, seed: u64,
    ) {
        let mut batch = Batch::new(seed, texts, videos);
        let term = DualSoftmaxConfig::paper().init().unwrap();
        let terms = StreamsConfig::ours().init(term.clone(), term).unwrap();
        let (total, parts, gradients) = batch.judge(&terms);
        for stream in 0..4 {
            for text in (0..texts).filter(|&text| !batch.available[stream][text]) {
                let gradient = &gradients[1 + stream][text * videos..][..videos];
                prop_assert!(gradient.iter().all(|value| value.to_bits() << 1 == 0), "{gradient:?}");
                // Whatever it says, nothing changes.
                batch.streams[stream][text] = vec![1e6; videos];
            }
        }
        let (found, found_parts, found_gradients) = batch.judge(&terms);
        prop_assert_eq!(found.to_bits(), total.to_bits());
        prop_assert_eq!(found_parts, parts);
        prop_assert_eq!(found_gradients, gradients);
    }

    #[test]
    fn the_loss_is_the_fused_term_and_the_mean_of_the_streams(
        texts in 1usize..8, videos in 1usize..6, weight in 0f32..3.0, seed: u64,
    ) {
        let batch = Batch::new(seed, texts, videos);
        let config = StreamsConfig { weight, ..StreamsConfig::ours() };
        let term = SymmetricConfig::ours().init().unwrap();
        let (total, parts, _) = batch.judge(&config.init(term.clone(), term).unwrap());
        let scaled: Rows = batch.fused.iter().map(|row| row.iter().map(|x| 10.0 * x).collect()).collect();
        let fused = oracles::symmetric(&scaled, &batch.same);
        let mut terms = Vec::new();
        for stream in 0..4 {
            let (rows, same) = batch.part(stream);
            let term = (!rows.is_empty()).then(|| oracles::symmetric(&rows, &same));
            assert_close(&parts[1 + stream..][..1], &[term.unwrap_or(0.0)], 1e-9);
            terms.extend(term);
        }
        let mean = terms.iter().sum::<f64>() / terms.len() as f64;
        assert_close(&[parts[0], total], &[fused, fused + f64::from(weight) * mean], 1e-9);
    }

    #[test]
    fn without_a_weight_only_the_fused_term_is_left(texts in 1usize..6, videos in 1usize..5, seed: u64) {
        let batch = Batch::new(seed, texts, videos);
        let term = SymmetricConfig::ours().init().unwrap();
        let config = StreamsConfig { weight: 0.0, ..StreamsConfig::ours() };
        let (total, parts, gradients) = batch.judge(&config.init(term.clone(), term).unwrap());
        prop_assert_eq!(total.to_bits(), parts[0].to_bits());
        prop_assert!(gradients[1..].iter().flatten().all(|&value| value == 0.0));
    }
}

#[test]
fn on_the_diagonal_a_stream_keeps_its_rows_and_their_columns() {
    let mut batch = Batch::new(5, 5, 5);
    batch.same = diagonal(5);
    batch.available[0] = vec![true, false, true, true, false];
    let term = SymmetricConfig::reference().init().unwrap();
    let streams = vec![StreamName::Entity];
    let objective = StreamsConfig { streams, ..StreamsConfig::ours() };
    let objective = objective.init(term.clone(), term.clone()).unwrap();
    let (_, parts, _) = batch.judge(&objective);
    let (rows, same) = batch.part(0);
    assert_eq!((rows.len(), rows[0].len(), &same[..]), (3, 3, &[0, 1, 2][..]));
    assert_close(&parts[1..], &[loss(&term, &rows, &same)], 1e-12);
}

#[test]
fn the_fused_term_remembers_a_step() {
    let batch = |seed, ids: &[usize]| {
        let similarity = matrix(&Draw::new(seed).scores(3, 3, 1.0));
        let batch = common::Batch::new(similarity, &diagonal(3), &diagonal(3));
        common::Batch { video_ids: indices(ids), ..batch }
    };
    let ncl = |config: NclConfig| config.init(WIDTH, &Device::flex()).unwrap();
    let terms = (ncl(NclConfig::with_queue(6)), ncl(NclConfig::reference()));
    let mut objective = StreamsConfig::ours().init(terms.0, terms.1).unwrap();
    let next = batch(2, &[4, 5, 6]);
    let value = |objective: &Streams<Ncl>| objective.loss(&next.pairs()).total.into_scalar::<f64>();
    let before = value(&objective);
    objective.after_step(&batch(1, &[1, 2, 3]).pairs());
    assert_ne!(value(&objective), before);
}

/// A term with a decoder or without.
#[derive(Module, Debug)]
struct Term {
    similarities: Symmetric,
    decoder: Option<Decoder>,
}

impl Objective for Term {
    fn loss(&self, pairs: &Pairs) -> Loss {
        self.similarities.loss(pairs)
    }

    fn decoder(&self) -> Option<&Decoder> {
        self.decoder.as_ref()
    }
}

#[test]
fn streams_have_the_decoder_of_the_fused_term() {
    let config = SupportSetConfig { decoder: small_decoder(), ..SupportSetConfig::paper() };
    let decoder = config.init(WIDTH, VOCABULARY, &Device::flex()).unwrap().decoder;
    let term = |decoder| Term { similarities: SymmetricConfig::ours().init().unwrap(), decoder };
    let ours = StreamsConfig::ours();
    assert!(ours.init(term(Some(decoder)), term(None)).unwrap().decoder().is_some());
    assert!(ours.init(term(None), term(None)).unwrap().decoder().is_none());
}

#[test]
fn settings_and_terms_that_do_not_fit_are_refused_by_name() {
    let symmetric = || SymmetricConfig::ours().init().unwrap();
    let refuse = |config: StreamsConfig| config.init(symmetric(), symmetric()).unwrap_err().to_string();
    let ours = StreamsConfig::ours;
    assert_eq!(
        refuse(StreamsConfig { weight: -1.0, ..ours() }),
        "streams: weight = -1, but it must be a number of 0 or above"
    );
    assert_eq!(
        refuse(StreamsConfig { weight: f32::NAN, ..ours() }),
        "streams: weight = NaN, but it must be a number of 0 or above"
    );
    assert_eq!(
        refuse(StreamsConfig { streams: vec![], ..ours() }),
        "streams: streams = 0, but it must be names of at least one stream, each once"
    );
    let twice = vec![StreamName::Action, StreamName::Scene, StreamName::Action];
    assert_eq!(
        refuse(StreamsConfig { streams: twice, ..ours() }),
        "streams: streams = 3, but it must be names of at least one stream, each once"
    );
    let queue = NclConfig { askers: Askers::BatchAndQueue, ..NclConfig::with_queue(6) };
    let term = queue.init(4, &Device::flex()).unwrap();
    assert_eq!(
        ours().init(term.clone(), term.clone()).unwrap_err().to_string(),
        "streams: a stream has similarities alone, so its term may keep no earlier items and read no captions; \
         set queue = 0 and askers = \"batch\", or choose another objective for each"
    );
    // The fused term may keep them.
    let reference = NclConfig::reference().init(4, &Device::flex()).unwrap();
    let needs = ours().init(term, reference).unwrap().needs();
    assert!(needs.codes && needs.streams == NAMES);
    // A batch without the streams.
    let (similarity, same) = (matrix(&vec![vec![0.5]]), indices(&[0]));
    let objective = ours().init(symmetric(), symmetric()).unwrap();
    assert_eq!(
        Pairs::new(&similarity, scale(1.0), &same).check(&objective.needs()).unwrap_err().to_string(),
        "the objective needs entity, but the batch carries none"
    );
    let config: StreamsConfig = serde_json::from_str(r#"{"streams": ["scene"]}"#).unwrap();
    assert_eq!((config.weight, config.streams), (1.0, vec![StreamName::Scene]));
}
