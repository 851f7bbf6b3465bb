//! Byte-pair encoding as CLIP's: lower case, words closed by `</w>`, marks at both ends.
//!
//! A checkpoint's folder brings its own tokenizer, and that is followed as it stands, through the `tokenizers` crate.
//! Texts are cut where the tower's positions end; a `model_max_length` of `tokenizer_config.json` is not read.
//! OpenAI's own tokenizer gives other ids for some texts: it repairs text first (ftfy: curly quotes made straight,
//! ligatures, mojibake), unescapes HTML twice, lower-cases a final sigma by context and matches its marks without
//! regard to case. Of the captions of common data sets nearly none are among them: 3 of MSR-VTT's 200,000 (one of them in
//! the full test split) and 10 of ActivityNet Captions' 71,957 sentences, all for curly quotes (`it’s`); none of MSVD's
//! or DiDeMo's.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use burn::prelude::*;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::{Lowercase, NFC, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{
    AddedToken, Decoder, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, SplitDelimiterBehavior, Trainer,
};

use crate::ClipError;

/// Mark before every text.
const START: &str = "<|startoftext|>";

/// Mark after every text.
const END: &str = "<|endoftext|>";

/// Both marks.
const MARKS: [&str; 2] = [START, END];

/// Closes a word, so that `cat` and the first half of `cattle` are different tokens.
const WORD_END: &str = "</w>";

/// Ends of words that are words of their own here.
const SHORTENED: [&str; 7] = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d"];

/// CLIP's words.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Texts to ids.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    start: u32,
    end: u32,
}

/// Ids of several texts, padded with 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenBatch {
    /// Ids, text by text; every text has `tokens` of them.
    pub ids: Vec<u32>,
    /// Real tokens of each text, marks included.
    pub lengths: Vec<usize>,
    /// Tokens of the longest text.
    pub tokens: usize,
}

impl TokenBatch {
    /// The ids as a tensor, `[texts, tokens]`.
    pub fn tensor(&self, device: &Device) -> Tensor<2, Int> {
        let ids: Vec<i64> = self.ids.iter().copied().map(i64::from).collect();
        Tensor::from_data(TensorData::new(ids, [self.lengths.len(), self.tokens]), device)
    }

    /// The lengths as a tensor, `[texts]`.
    pub fn lengths_tensor(&self, device: &Device) -> Tensor<1, Int> {
        let lengths: Vec<i64> = self.lengths.iter().map(|&length| length as i64).collect();
        Tensor::from_data(TensorData::new(lengths, [self.lengths.len()]), device)
    }
}

impl Tokenizer {
    /// Learns a tokenizer from captions, with at most `merges` merges; the same captions give the same tokenizer.
    ///
    /// The end mark has the largest id, as in CLIP. A character that the captions do not hold is dropped.
    ///
    /// # Errors
    /// [`ClipError::Tokenizer`] if the library refuses.
    pub fn train_world(captions: impl IntoIterator<Item = String>, merges: usize) -> Result<Self, ClipError> {
        let captions: Vec<String> = captions.into_iter().collect();
        // The trainer counts its alphabet into the size of the vocabulary; a run without merges tells its size.
        let alphabet = train(&captions, 0)?.get_vocab_size(false);
        let mut inner = train(&captions, alphabet + merges)?;
        let marks = MARKS.map(|mark| AddedToken::from(mark, true));
        inner.add_special_tokens(marks).map_err(refused)?;
        Self::new(inner)
    }

    /// Opens the tokenizer of a checkpoint's folder: `tokenizer.json`, else `vocab.json` with `merges.txt`.
    ///
    /// # Errors
    /// [`ClipError::NoCheckpoint`] if there is neither, else as [`load`](Self::load).
    pub fn open(folder: &Path) -> Result<Self, ClipError> {
        let whole = folder.join("tokenizer.json");
        if whole.exists() {
            return Self::load(&whole);
        }
        let (vocabulary, merges) = (folder.join("vocab.json"), folder.join("merges.txt"));
        if !vocabulary.exists() || !merges.exists() {
            let need = "tokenizer.json, or vocab.json and merges.txt";
            return Err(ClipError::NoCheckpoint { path: folder.into(), need });
        }
        let model = BPE::from_file(&vocabulary.to_string_lossy(), &merges.to_string_lossy())
            .end_of_word_suffix(WORD_END.into())
            .unk_token(END.into())
            .build()
            .map_err(|error| of_file(&vocabulary, error))?;
        let mut inner = pipeline(model)?;
        let marks = MARKS.into_iter().filter(|mark| inner.token_to_id(mark).is_some());
        let marks: Vec<AddedToken> = marks.map(|mark| AddedToken::from(mark, true)).collect();
        inner.add_special_tokens(marks).map_err(refused)?;
        Self::new(inner).map_err(|error| of_file(&vocabulary, error))
    }

    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// [`ClipError::TokenizerFile`] names the file and what is wrong with it, such as a missing mark.
    pub fn load(path: &Path) -> Result<Self, ClipError> {
        let bytes = std::fs::read(path).map_err(|error| of_file(path, error))?;
        // The library panics at what is no JSON inside the decoder's part.
        serde_json::from_slice::<serde_json::Value>(&bytes).map_err(|error| of_file(path, error))?;
        let inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| of_file(path, error))?;
        Self::new(inner).map_err(|error| of_file(path, error))
    }

    /// Writes a `tokenizer.json`.
    ///
    /// # Errors
    /// [`ClipError::TokenizerFile`] names the file.
    pub fn save(&self, path: &Path) -> Result<(), ClipError> {
        self.inner.save(path, true).map_err(|error| of_file(path, error))
    }

    /// Everything that ids depend on, as in a `tokenizer.json`; equal tokenizers give equal text.
    ///
    /// # Errors
    /// [`ClipError::Tokenizer`] if the library refuses.
    pub fn to_json(&self) -> Result<String, ClipError> {
        self.inner.to_string(false).map_err(refused)
    }

    fn new(mut inner: tokenizers::Tokenizer) -> Result<Self, ClipError> {
        // Both are done here, where the length is known.
        inner.with_truncation(None).map_err(refused)?;
        inner.with_padding(None);
        let mark = |token| inner.token_to_id(token).ok_or(ClipError::Mark { token });
        let (start, end) = (mark(START)?, mark(END)?);
        Ok(Self { inner, start, end })
    }

    /// One more than the largest id, marks included: as many rows a tower's embedding needs. Ids may leave numbers out.
    pub fn vocabulary(&self) -> usize {
        self.inner.get_vocab(true).values().max().map_or(0, |&largest| largest as usize + 1)
    }

    /// Id of the end mark.
    pub fn end(&self) -> u32 {
        self.end
    }

    /// Ids of one text between its marks, cut to `context` tokens with the end mark kept.
    ///
    /// # Errors
    /// [`ClipError::Setting`] for a context below 2, which has no room for the marks.
    pub fn encode(&self, text: &str, context: usize) -> Result<Vec<u32>, ClipError> {
        room_for_marks(context)?;
        let encoding = self.inner.encode_fast(text, false).map_err(refused)?;
        let words = encoding.get_ids().iter().copied().take(context - 2);
        Ok(std::iter::once(self.start).chain(words).chain([self.end]).collect())
    }

    /// As [`encode`](Self::encode), with the bytes of `text` that each id stands for; none for the marks.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_spans(
        &self,
        text: &str,
        context: usize,
    ) -> Result<(Vec<u32>, Vec<Range<usize>>), ClipError> {
        room_for_marks(context)?;
        let encoding = self.inner.encode(text, false).map_err(refused)?;
        let words = encoding.get_ids().iter().copied().take(context - 2);
        let spans = encoding.get_offsets().iter().map(|&(start, end)| start..end).take(context - 2);
        let end = text.len();
        Ok((
            std::iter::once(self.start).chain(words).chain([self.end]).collect(),
            std::iter::once(0..0).chain(spans).chain(std::iter::once(end..end)).collect(),
        ))
    }

    /// The text of some ids, without marks: lower case, one blank between words, and one around signs that [`encode`](Self::encode)
    /// takes for words, so that `t-shirt` is `t - shirt`. An id that the tokenizer does not have is passed over.
    ///
    /// # Errors
    /// [`ClipError::Tokenizer`] if the library refuses.
    pub fn decode(&self, ids: &[u32]) -> Result<String, ClipError> {
        let words = ids.iter().filter(|&&id| id != self.start && id != self.end);
        let mut pieces: Vec<String> = Vec::new();
        for token in words.filter_map(|&id| self.inner.id_to_token(id)) {
            let stem = token.strip_suffix(WORD_END).unwrap_or(&token);
            if SHORTENED.contains(&stem) && pieces.last().is_some_and(|piece| piece == " ") {
                pieces.pop();
            }
            pieces.push(stem.into());
            if stem.len() < token.len() {
                pieces.push(" ".into());
            }
        }
        let text = ByteLevel::new(false, true, true).decode_chain(pieces).map_err(refused)?.concat();
        Ok(text.trim_end().into())
    }

    /// Ids of several texts, padded with 0 to the longest of them.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub fn encode_batch(&self, texts: &[impl AsRef<str>], context: usize) -> Result<TokenBatch, ClipError> {
        let rows: Vec<Vec<u32>> =
            texts.iter().map(|text| self.encode(text.as_ref(), context)).collect::<Result<_, _>>()?;
        let lengths: Vec<usize> = rows.iter().map(Vec::len).collect();
        let tokens = lengths.iter().copied().max().unwrap_or(0);
        let mut ids = Vec::with_capacity(tokens * rows.len());
        for mut row in rows {
            row.resize(tokens, 0);
            ids.extend(row);
        }
        Ok(TokenBatch { ids, lengths, tokens })
    }
}

fn room_for_marks(context: usize) -> Result<(), ClipError> {
    if context < 2 {
        return Err(ClipError::Setting { setting: "context", value: context, domain: "at least 2" });
    }
    Ok(())
}

/// CLIP's way from text to words, before a model.
fn pipeline(model: BPE) -> Result<tokenizers::Tokenizer, ClipError> {
    let mut inner = tokenizers::Tokenizer::new(model);
    let spaces = Replace::new(tokenizers::normalizers::replace::ReplacePattern::Regex(r"\s+".into()), " ")
        .map_err(refused)?;
    inner
        .with_normalizer(Some(Normalizers::new(vec![NFC.into(), spaces.into(), Lowercase.into()])))
        .map_err(refused)?;
    let words = Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Removed, true)
        .map_err(refused)?;
    inner.with_pre_tokenizer(Some(PreTokenizers::new(vec![
        words.into(),
        ByteLevel::new(false, true, true).into(),
    ])));
    Ok(inner)
}

/// Learns the merges alone, up to `vocabulary` tokens.
fn train(captions: &[String], vocabulary: usize) -> Result<tokenizers::Tokenizer, ClipError> {
    let model = BPE::builder().end_of_word_suffix(WORD_END.into()).build().map_err(refused)?;
    let mut inner = pipeline(model)?;
    // The trainer numbers the last letters of words in the order of a hash map, which differs from run to run.
    // Named as its special tokens, they are numbered first, in this order; the model takes them as letters.
    let mut last = BTreeSet::new();
    for caption in captions {
        last.extend(
            words_of(&inner, caption).map_err(refused)?.iter().filter_map(|word| word.chars().last()),
        );
    }
    let last = last.into_iter().map(|letter| AddedToken::from(format!("{letter}{WORD_END}"), false));
    let mut trainer = BpeTrainer::builder()
        .show_progress(false)
        .vocab_size(vocabulary)
        .end_of_word_suffix(WORD_END.into())
        .special_tokens(last.collect())
        .build();
    trainer.feed(captions.iter(), |caption| words_of(&inner, caption)).map_err(refused)?;
    let mut model = BPE::default();
    trainer.train(&mut model).map_err(refused)?;
    inner.with_model(model);
    Ok(inner)
}

/// The words of a text, in the letters that stand for its bytes.
fn words_of(tokenizer: &tokenizers::Tokenizer, text: &str) -> tokenizers::Result<Vec<String>> {
    let mut text = NormalizedString::from(text);
    if let Some(normalizer) = tokenizer.get_normalizer() {
        normalizer.normalize(&mut text)?;
    }
    let mut text = PreTokenizedString::from(text);
    if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
        pre_tokenizer.pre_tokenize(&mut text)?;
    }
    let words = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
    Ok(words.into_iter().map(|(word, _, _)| word.to_owned()).collect())
}

/// What is wrong, with the file's name.
fn of_file(path: &Path, error: impl std::fmt::Display) -> ClipError {
    ClipError::TokenizerFile { path: path.into(), reason: error.to_string() }
}

fn refused(error: tokenizers::Error) -> ClipError {
    ClipError::Tokenizer { reason: error.to_string() }
}
