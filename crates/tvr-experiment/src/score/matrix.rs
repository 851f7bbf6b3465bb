//! Matrices in files of others: `.npy` of any float and layout, and tensors of a safetensors file.

use std::path::Path;

use ndarray::{Array2, Array3, ArrayD, ArrayViewD, Axis, ShapeBuilder, ShapeError};
use npyz::half::{bf16, f16};
use npyz::{DType, NpyHeader, Order, TypeChar, WriterBuilder};
use safetensors::{Dtype, SafeTensors};

use super::narrow::{narrow, refuse_lost_order};
use super::{Input, shards};
use crate::error::ExperimentError;
use crate::files;

/// Reads scores as f32, row by row in memory, and notes the file in `inputs`. Scores in f64 must keep their order.
///
/// - `name`: `FILE.npy`, or `FILE.safetensors:KEY`
/// - `axes`: what rows and columns are, for messages
pub(super) fn read(
    role: &'static str,
    axes: &str,
    name: &str,
    inputs: &mut Vec<Input>,
) -> Result<Array2<f32>, ExperimentError> {
    let ReadArray { values, wide, .. } = read_array(role, name, inputs)?;
    let values = of_two_axes(role, axes, name, values)?;
    if let Some(wide) = wide {
        refuse_lost_order(name, of_two_axes(role, axes, name, wide)?.view())?;
    }
    Ok(values)
}

/// Reads vectors as [`read`] does scores; their values have no order to keep.
pub(super) fn read_vectors(
    role: &'static str,
    axes: &str,
    name: &str,
    inputs: &mut Vec<Input>,
) -> Result<Array2<f32>, ExperimentError> {
    of_two_axes(role, axes, name, read_array(role, name, inputs)?.values)
}

fn of_two_axes<T>(
    role: &str,
    axes: &str,
    name: &str,
    array: ArrayD<T>,
) -> Result<Array2<T>, ExperimentError> {
    let shape = array.shape().to_vec();
    array.into_dimensionality().map_err(|_| {
        ExperimentError::work(format!(
            "{name}: the array has shape {shape:?}, but {role} must be 2-D, {axes}"
        ))
    })
}

/// Vectors of videos, frame by frame.
pub(super) struct Frames {
    /// `[videos, frames, width]`; one frame where the file has one vector a video.
    pub(super) values: Array3<f32>,
    /// Which are real, `[videos, frames]`.
    pub(super) mask: Vec<bool>,
}

/// Reads `[videos, width]` or `[videos, frames, width]`, the latter with its mask where the file holds one: `mask` beside
/// `frames`, `NAME.mask` beside `NAME`.
pub(super) fn read_frames(
    role: &'static str,
    name: &str,
    inputs: &mut Vec<Input>,
) -> Result<Frames, ExperimentError> {
    let ReadArray { values: array, bytes, .. } = read_array(role, name, inputs)?;
    let shape = array.shape().to_vec();
    let array = if shape.len() == 2 { array.insert_axis(Axis(1)) } else { array };
    let values: Array3<f32> = array.into_dimensionality().map_err(|_| {
        ExperimentError::work(format!(
            "{name}: the array has shape {shape:?}, but {role} must be [videos, width] or [videos, frames, width]"
        ))
    })?;
    let (videos, frames, _) = values.dim();
    let mut mask = vec![true; videos * frames];
    if let (_, Some(key)) = file_and_key(name)
        && shape.len() == 3
    {
        let beside = if key == "frames" { "mask".to_owned() } else { format!("{key}.mask") };
        if let Ok(tensor) = open_safetensors(name, &bytes)?.tensor(&beside) {
            if tensor.dtype() != Dtype::U8 || tensor.shape() != [videos, frames] {
                return Err(ExperimentError::work(format!(
                    "{name}: the mask \"{beside}\" is {} {:?}, but it must be U8 [{videos}, {frames}]",
                    tensor.dtype(),
                    tensor.shape()
                )));
            }
            mask = tensor.data().iter().map(|&byte| byte != 0).collect();
        }
    }
    Ok(Frames { values, mask })
}

/// `FILE.safetensors:KEY` in its parts.
pub(super) fn file_and_key(name: &str) -> (String, Option<&str>) {
    match name.rsplit_once(".safetensors:") {
        Some((stem, key)) => (format!("{stem}.safetensors"), Some(key)),
        None => (name.to_owned(), None),
    }
}

/// An array of any number of axes.
struct ReadArray {
    /// In C order.
    values: ArrayD<f32>,
    /// The same as the file has it, where that is f64, in the file's order.
    wide: Option<ArrayD<f64>>,
    /// The whole file.
    bytes: Vec<u8>,
}

fn read_array(role: &'static str, name: &str, inputs: &mut Vec<Input>) -> Result<ReadArray, ExperimentError> {
    let (path, key) = file_and_key(name);
    let bytes = files::read(Path::new(&path))?;
    let Flat { shape, fortran, values, wide } = match key {
        Some(key) => {
            shards::refuse_share(name, &bytes)?;
            from_safetensors(name, &bytes, key)?
        }
        None if name.ends_with(".safetensors") => {
            let keys = open_safetensors(name, &bytes)?.names().join(", ");
            return Err(ExperimentError::request(format!("{name} holds {keys}; name one, as in {name}:KEY")));
        }
        None => from_npy(name, &bytes)?,
    };
    let wrong = |error: ShapeError| ExperimentError::work(format!("{name}: {error}"));
    let values = ArrayD::from_shape_vec(shape.clone().set_f(fortran), values).map_err(wrong)?;
    let wide = wide.map(|wide| ArrayD::from_shape_vec(shape.clone().set_f(fortran), wide));
    let wide = wide.transpose().map_err(wrong)?;
    inputs.push(Input { role, path: name.to_owned(), shape, sha256: files::sha256(&bytes) });
    let values = if values.is_standard_layout() { values } else { values.as_standard_layout().into_owned() };
    Ok(ReadArray { values, wide, bytes })
}

/// Names a bank without a row or a column, and the first value that is NaN or infinite.
pub(super) fn refuse_unusable(name: &str, values: &Array2<f32>) -> Result<(), ExperimentError> {
    if values.is_empty() {
        let shape = values.shape();
        return Err(ExperimentError::work(format!(
            "{name}: the bank is {shape:?}; it needs at least one row and one column"
        )));
    }
    match values.indexed_iter().find(|(_, value)| !value.is_finite()) {
        None => Ok(()),
        Some(((row, column), value)) => Err(ExperimentError::work(format!(
            "{name}: [{row}, {column}] is {value}; every value of a bank must be finite"
        ))),
    }
}

/// An array as the bytes of a `.npy` file, f32, C order.
pub(super) fn npy(values: ArrayViewD<f32>) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let shape: Vec<u64> = values.shape().iter().map(|&length| length as u64).collect();
    let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(&mut bytes).begin_nd()?;
    writer.extend(values.iter().copied())?;
    writer.finish()?;
    Ok(bytes)
}

/// An array of any number of axes.
struct Flat {
    shape: Vec<usize>,
    fortran: bool,
    values: Vec<f32>,
    /// What `values` were made of, where the file has f64.
    wide: Option<Vec<f64>>,
}

/// The header of a `.npy` file and its data, whose length is what the header says.
pub(super) fn open_npy<'a>(
    name: &str,
    bytes: &'a [u8],
) -> Result<(NpyHeader, Vec<usize>, &'a [u8]), ExperimentError> {
    let wrong = |text: String| ExperimentError::work(format!("{name}: {text}"));
    if bytes.starts_with(b"PK") {
        return Err(wrong("this is an .npz archive; write one array with numpy.save".into()));
    }
    if bytes.starts_with(b"\x1f\x8b") {
        return Err(wrong("this is packed with gzip; unpack it with gunzip".into()));
    }
    let none = |cause: &str| wrong(format!("not a .npy file: {cause}; write it with numpy.save"));
    if bytes.starts_with(b"\x93NUMPY") && !is_flat(bytes) {
        return Err(none("its header has lists in lists"));
    }
    let mut rest = bytes;
    let header = NpyHeader::from_reader(&mut rest).map_err(|cause| match cause.to_string() {
        // The grammar's complaint: a drawing of several lines.
        drawing if drawing.contains('\n') => none("its header is not as numpy writes it"),
        cause => none(&cause),
    })?;
    let shape: Vec<usize> =
        header.shape().iter().map(|&axis| usize::try_from(axis).unwrap_or(usize::MAX)).collect();
    if let Some(size) = header.dtype().num_bytes() {
        let expected = shape.iter().try_fold(size, |product, &axis| product.checked_mul(axis));
        if expected != Some(rest.len()) {
            return Err(wrong(format!(
                "the header says {shape:?} of {size} bytes each, but {} bytes follow; the file is cut or damaged",
                rest.len()
            )));
        }
    }
    Ok((header, shape, rest))
}

/// Whether no list of the header lies deeper than those of a structured type. The time of the header's grammar doubles
/// with the depth.
fn is_flat(bytes: &[u8]) -> bool {
    const DEEPEST: usize = 6;
    let wide = bytes.get(6).is_some_and(|&version| version > 1);
    let start = if wide { 12 } else { 10 };
    let length = match bytes {
        [_, _, _, _, _, _, _, _, a, b, c, d, ..] if wide => u32::from_le_bytes([*a, *b, *c, *d]) as usize,
        [_, _, _, _, _, _, _, _, a, b, ..] => usize::from(u16::from_le_bytes([*a, *b])),
        _ => 0,
    };
    let mut depth = 0usize;
    bytes.iter().skip(start).take(length).all(|byte| {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth <= DEEPEST
    })
}

/// A dtype as numpy writes it: `<f4`.
pub(super) fn dtype_name(header: &NpyHeader) -> String {
    header.dtype().descr().trim_matches('\'').to_owned()
}

/// The kind and size of plain numbers.
pub(super) fn plain(header: &NpyHeader) -> Option<(TypeChar, u64)> {
    match header.dtype() {
        DType::Plain(kind) => Some((kind.type_char(), kind.size_field())),
        _ => None,
    }
}

fn from_npy(name: &str, bytes: &[u8]) -> Result<Flat, ExperimentError> {
    let (header, shape, data) = open_npy(name, bytes)?;
    let kind = plain(&header);
    let dtype = dtype_name(&header);
    let fortran = header.order() == Order::Fortran;
    let file = npyz::NpyFile::with_header(header, data);
    let values = match kind {
        Some((TypeChar::Float, 2)) => {
            file.into_vec::<f16>().map(|v| v.into_iter().map(f16::to_f32).collect())
        }
        Some((TypeChar::Float, 4)) => file.into_vec::<f32>(),
        Some((TypeChar::Float, 8)) => match file.into_vec::<f64>() {
            Ok(wide) => {
                return Ok(Flat { shape, fortran, values: narrow(name, &wide)?, wide: Some(wide) });
            }
            Err(cause) => Err(cause),
        },
        _ => {
            return Err(ExperimentError::work(format!(
                "{name}: the array holds {dtype}, but scores must be f16, f32 or f64"
            )));
        }
    };
    let values = values.map_err(ExperimentError::file(Path::new(name), "read"))?;
    Ok(Flat { shape, fortran, values, wide: None })
}

pub(super) fn open_safetensors<'a>(name: &str, bytes: &'a [u8]) -> Result<SafeTensors<'a>, ExperimentError> {
    SafeTensors::deserialize(bytes)
        .map_err(|cause| ExperimentError::work(format!("{name}: not a safetensors file: {cause}")))
}

fn from_safetensors(name: &str, bytes: &[u8], key: &str) -> Result<Flat, ExperimentError> {
    let file = open_safetensors(name, bytes)?;
    let Ok(tensor) = file.tensor(key) else {
        let mut keys = file.names();
        keys.sort_unstable();
        let keys = keys.join(", ");
        return Err(ExperimentError::request(format!(
            "{name}: no tensor \"{key}\" in the file; it holds {keys}"
        )));
    };
    let data = tensor.data();
    let mut wide = None;
    let values = match tensor.dtype() {
        Dtype::F16 => data.as_chunks::<2>().0.iter().map(|&b| f16::from_le_bytes(b).to_f32()).collect(),
        Dtype::BF16 => data.as_chunks::<2>().0.iter().map(|&b| bf16::from_le_bytes(b).to_f32()).collect(),
        Dtype::F32 => data.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(),
        Dtype::F64 => {
            let values: Vec<f64> = data.as_chunks::<8>().0.iter().map(|&b| f64::from_le_bytes(b)).collect();
            narrow(name, wide.insert(values))?
        }
        other => {
            return Err(ExperimentError::work(format!(
                "{name}: the tensor holds {other}, but scores must be f16, bf16, f32 or f64"
            )));
        }
    };
    Ok(Flat { shape: tensor.shape().to_vec(), fortran: false, values, wide })
}
