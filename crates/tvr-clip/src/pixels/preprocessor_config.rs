//! `preprocessor_config.json`, and what transformers 5 and OpenCLIP write in its place: `processor_config.json`, which has
//! the same keys under `image_processor` (and goes before it, as there), and `open_clip_config.json`.
//!
//! | key | read as | if absent |
//! |---|---|---|
//! | `size` | `224`, `{"shortest_edge": 224}`, or `{"height": 224, "width": 224}` (no aspect kept) | short side 224 |
//! | `crop_size` | `224` or `{"height": 224, "width": 224}` | 224 |
//! | `image_mean`, `image_std` | three numbers | CLIP's |
//! | `rescale_factor` | a number | 1/255 |
//! | `do_rescale`, `do_normalize`, `do_center_crop` | true or false; null is false | true |
//! | `do_resize`, `do_convert_rgb` | true | true |
//! | `resample` | 3, which is bicubic | 3 |
//! | `default_to_square` | true or false: whether `size` as a number means a square | false |
//! | `use_square_size`, and `do_pad` with a `pad_size` | false | false |
//!
//! Whatever else stands there does not change pixels of CLIP's processor and is not read.

use std::path::Path;

use serde_json::{Map, Value};

use super::{Preprocessor, Reference};
use crate::ClipError;

/// CLIP's mean of red, green and blue.
const MEAN: [f64; 3] = [0.481_454_66, 0.457_827_5, 0.408_210_73];

/// CLIP's standard deviation of red, green and blue.
const STD: [f64; 3] = [0.268_629_54, 0.261_302_58, 0.275_777_11];

/// Side of the square where a file does not say it.
const SIDE: usize = 224;

/// The largest size that pictures are brought to, pixels: towers take a fraction of it.
const LARGEST: usize = 4096;

/// Where settings may stand.
const FILES: [&str; 3] = ["processor_config.json", "preprocessor_config.json", "open_clip_config.json"];

/// Processors with the defaults of the table above.
const PROCESSORS: [&str; 4] =
    ["CLIPFeatureExtractor", "CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil"];

/// The size to which a picture is brought before the crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// The short side, pixels; the long one follows.
    Short(usize),
    /// Width and height, pixels; the aspect is not kept.
    Exact([usize; 2]),
}

/// Settings of a [`Preprocessor`].
#[derive(Clone, Debug, PartialEq)]
pub struct PreprocessorConfig {
    /// The size before the crop.
    pub size: Size,
    /// Side of the square that is kept, pixels; at most the short side.
    pub crop: usize,
    /// Factor of the bytes; usually 1/255.
    pub rescale: f64,
    /// Subtracted after the factor; red, green, blue.
    pub mean: [f64; 3],
    /// Divided by at last; red, green, blue.
    pub std: [f64; 3],
    /// Whose rules hold where references differ.
    pub reference: Reference,
}

impl PreprocessorConfig {
    /// CLIP's own settings for a tower of this size, pixels.
    pub fn clip(side: usize, reference: Reference) -> Self {
        Self { size: Size::Short(side), crop: side, rescale: 1.0 / 255.0, mean: MEAN, std: STD, reference }
    }

    /// The settings of a checkpoint's folder: `processor_config.json` if it speaks of images, else
    /// `preprocessor_config.json`, else `open_clip_config.json`.
    ///
    /// # Errors
    /// [`ClipError::Preprocessor`] with the file, and everything in it that is not understood.
    pub fn read(folder: &Path) -> Result<Self, ClipError> {
        let [whole, own, open_clip] = FILES.map(|name| folder.join(name));
        if whole.is_file() {
            let found = Self::parsed(&whole, |value| {
                value.get("image_processor").map(Self::from_hugging_face).transpose()
            })?;
            if let Some(config) = found {
                return Ok(config);
            }
        }
        match (own.is_file(), open_clip.is_file()) {
            (false, true) => Self::parsed(&open_clip, Self::from_open_clip),
            _ => Self::parsed(&own, Self::from_hugging_face),
        }
    }

    /// Whether a folder says how pixels are made.
    pub(crate) fn is_told(folder: &Path) -> bool {
        FILES.iter().any(|name| folder.join(name).exists())
    }

    /// What `parse` makes of a JSON file, named in every complaint.
    fn parsed<T>(path: &Path, parse: impl Fn(&Value) -> Result<T, String>) -> Result<T, ClipError> {
        let named = |reason: String| ClipError::Preprocessor { path: path.to_owned(), reason };
        let bytes = std::fs::read(path).map_err(|cause| named(format!("cannot be read: {cause}")))?;
        let value = serde_json::from_slice(&bytes).map_err(|cause| named(format!("is no JSON: {cause}")))?;
        parse(&value).map_err(named)
    }

    /// From what stands in a `preprocessor_config.json`.
    fn from_hugging_face(value: &Value) -> Result<Self, String> {
        let mut keys = Keys::new(value)?;
        for key in ["image_processor_type", "feature_extractor_type"] {
            if let Some(name) = keys.map.get(key).and_then(Value::as_str)
                && !PROCESSORS.contains(&name)
            {
                keys.wrong(key, &format!("must be one of {}", PROCESSORS.join(", ")));
            }
        }
        for key in ["do_resize", "do_convert_rgb"] {
            if !keys.flag(key) {
                keys.wrong(key, "must be true");
            }
        }
        for (key, counts) in [("use_square_size", true), ("do_pad", keys.get("pad_size").is_some())] {
            if counts && keys.get(key).is_some() && keys.flag(key) {
                keys.wrong(key, "must be false");
            }
        }
        if keys.map.get("resample").is_some_and(|value| !value.is_null() && value.as_u64() != Some(3)) {
            keys.wrong("resample", "must be 3 (bicubic)");
        }
        let squashed = keys.get("default_to_square").is_some() && keys.flag("default_to_square");
        let size = match (keys.size("size"), keys.get("size")) {
            (Size::Short(side), Some(Value::Number(_))) if squashed => Size::Exact([side; 2]),
            (size, _) => size,
        };
        let crop = match (keys.flag("do_center_crop"), size) {
            (true, _) => keys.square("crop_size"),
            (false, Size::Exact([width, height])) if width == height => width,
            (false, _) => {
                keys.wrong("do_center_crop", "must be true, because the tower takes squares");
                SIDE
            }
        };
        let rescale = if keys.flag("do_rescale") { keys.number("rescale_factor", 1.0 / 255.0) } else { 1.0 };
        let (mean, std) = if keys.flag("do_normalize") {
            (keys.three("image_mean", MEAN), keys.three("image_std", STD))
        } else {
            ([0.0; 3], [1.0; 3])
        };
        keys.done(Self { size, crop, rescale, mean, std, reference: Reference::HuggingFace })
    }

    /// From what stands in an `open_clip_config.json`.
    fn from_open_clip(value: &Value) -> Result<Self, String> {
        let empty = Value::Object(Map::new());
        let tower = value.pointer("/model_cfg/vision_cfg/image_size");
        let mut keys = Keys::new(value.get("preprocess_cfg").unwrap_or(&empty))?;
        for (key, only) in [("interpolation", "bicubic"), ("mode", "RGB")] {
            if keys.map.get(key).is_some_and(|value| value.as_str() != Some(only)) {
                keys.wrong(key, &format!("must be {only:?}"));
            }
        }
        if let (None, Some(tower)) = (keys.map.get("size"), tower) {
            keys.map.insert("size".to_owned(), tower.clone());
        }
        let crop = keys.square("size");
        let size = match keys.map.get("resize_mode").and_then(Value::as_str) {
            None | Some("shortest") => Size::Short(crop),
            Some("squash") => Size::Exact([crop; 2]),
            Some(_) => {
                keys.wrong("resize_mode", "must be \"shortest\" or \"squash\"");
                Size::Short(crop)
            }
        };
        let (mean, std) = (keys.three("mean", MEAN), keys.three("std", STD));
        keys.done(Self { size, crop, rescale: 1.0 / 255.0, mean, std, reference: Reference::OpenAi })
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ClipError::Pixels`] names the first setting outside its domain.
    pub fn init(self) -> Result<Preprocessor, ClipError> {
        self.check().map_err(|reason| ClipError::Pixels { reason })?;
        Ok(Preprocessor::new(self))
    }

    /// What a byte becomes. The reference's order and types: f64 product, then f32.
    pub(super) fn value(&self, band: usize, byte: u16) -> f32 {
        let scaled = (f64::from(byte) * self.rescale) as f32;
        (scaled - self.mean[band] as f32) / self.std[band] as f32
    }

    fn check(&self) -> Result<(), String> {
        let least = match self.size {
            Size::Short(short) => short,
            Size::Exact(size) => size[0].min(size[1]),
        };
        let Self { crop, rescale, mean, std, .. } = self;
        if *crop == 0 {
            return Err("crop = 0, but it must be above 0".to_owned());
        }
        if *crop > least {
            return Err(format!("crop = {crop} is more than size = {least}; the rest would be black"));
        }
        let most = match self.size {
            Size::Short(short) => short,
            Size::Exact(size) => size[0].max(size[1]),
        };
        if most > LARGEST {
            return Err(format!("size = {most}, but it must be at most {LARGEST}"));
        }
        if !(rescale.is_finite() && *rescale > 0.0) {
            return Err(format!("rescale = {rescale}, but it must be above 0"));
        }
        for band in 0..3 {
            if !mean[band].is_finite() {
                return Err(format!("mean = {mean:?}, but it must be three numbers"));
            }
            if !(std[band].is_finite() && std[band] > 0.0) {
                return Err(format!("std = {std:?}, but it must be three numbers above 0"));
            }
            if [0, 255].map(|byte| self.value(band, byte)).iter().any(|value| !value.is_finite()) {
                return Err(format!(
                    "rescale = {rescale}, mean = {mean:?} and std = {std:?} together make pixels that f32 does not hold"
                ));
            }
        }
        Ok(())
    }

    /// What is done to a picture, in one line for a file's metadata.
    pub fn describe(&self) -> String {
        let size = match self.size {
            Size::Short(short) => format!("short side {short}"),
            Size::Exact([width, height]) => format!("size {width} x {height}"),
        };
        let Self { crop, rescale, mean, std, reference, .. } = self;
        format!(
            "{size} by Pillow's bicubic, centre {crop} x {crop} by {}'s rule, (byte · {rescale} − {mean:?}) / {std:?}",
            reference.name()
        )
    }
}

/// The keys of a file, and what is wrong with them so far.
struct Keys {
    map: Map<String, Value>,
    wrong: Vec<String>,
}

impl Keys {
    fn new(value: &Value) -> Result<Self, String> {
        let map = value.as_object().ok_or("is no JSON object")?;
        Ok(Self { map: map.clone(), wrong: Vec::new() })
    }

    fn wrong(&mut self, key: &str, problem: &str) {
        let value = self.map.get(key).cloned().unwrap_or_default();
        self.wrong.push(format!("{key} = {value}, but it {problem}"));
    }

    /// The settings, or all complaints in one sentence.
    fn done(self, config: PreprocessorConfig) -> Result<PreprocessorConfig, String> {
        if !self.wrong.is_empty() {
            return Err(self.wrong.join("; "));
        }
        config.check().map(|()| config)
    }

    /// A key that is there and not null.
    fn get(&self, key: &str) -> Option<Value> {
        self.map.get(key).filter(|value| !value.is_null()).cloned()
    }

    /// True if absent. Null is false, as in transformers.
    fn flag(&mut self, key: &str) -> bool {
        match self.map.get(key) {
            None => true,
            Some(Value::Null) => false,
            Some(value) => value.as_bool().unwrap_or_else(|| {
                self.wrong(key, "must be true or false");
                true
            }),
        }
    }

    fn number(&mut self, key: &str, absent: f64) -> f64 {
        let Some(value) = self.get(key) else { return absent };
        value.as_f64().unwrap_or_else(|| {
            self.wrong(key, "must be a number");
            absent
        })
    }

    fn three(&mut self, key: &str, absent: [f64; 3]) -> [f64; 3] {
        let Some(value) = self.get(key) else { return absent };
        let numbers: Option<Vec<f64>> =
            value.as_array().and_then(|list| list.iter().map(Value::as_f64).collect());
        numbers.and_then(|numbers| numbers.try_into().ok()).unwrap_or_else(|| {
            self.wrong(key, "must be three numbers");
            absent
        })
    }

    fn size(&mut self, key: &str) -> Size {
        let Some(value) = self.get(key) else { return Size::Short(SIDE) };
        let length =
            |value: Option<&Value>| value.and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let read = length(Some(&value))
            .or_else(|| length(value.get("shortest_edge")).filter(|_| value["longest_edge"].is_null()))
            .map(Size::Short)
            .or_else(|| Some(Size::Exact([length(value.get("width"))?, length(value.get("height"))?])));
        read.unwrap_or_else(|| {
            self.wrong(key, "must be a number, a shortest_edge, or height and width");
            Size::Short(SIDE)
        })
    }

    fn square(&mut self, key: &str) -> usize {
        if let Some(Value::Array(sides)) = self.get(key)
            && let [height, width] = sides.as_slice()
        {
            let pair = serde_json::json!({ "height": height, "width": width });
            self.map.insert(key.to_owned(), pair);
        }
        match self.size(key) {
            Size::Short(side) => side,
            Size::Exact([width, height]) if width == height => width,
            Size::Exact(_) => {
                self.wrong(key, "must be a square");
                SIDE
            }
        }
    }
}
