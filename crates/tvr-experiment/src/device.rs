//! Devices: the only file that names backends.
//!
//! A device is chosen at run time among the backends compiled in. Opening one that cannot be opened is an error
//! and not a panic: where the backend can list its devices it is asked first, and one tiny operation is run
//! under a guard before any work begins.

use burn::prelude::*;

use crate::error::ExperimentError;

/// The names that `--device` understands, as help shows them.
pub const DEVICE_HELP: &str = "flex | cuda:N | vulkan:N | tch:cpu | tch:cuda:N";

/// How `--devices` names several, as help shows it.
pub const DEVICES_HELP: &str = "flex:COUNT, cuda:FIRST-LAST, or names with commas between";

/// The device that needs nothing but a processor.
pub const DEFAULT_DEVICE: &str = "flex";

/// Features compiled into this binary, for the record.
pub fn features() -> Vec<&'static str> {
    let mut features = vec!["flex"];
    if cfg!(feature = "cuda") {
        features.push("cuda");
    }
    if cfg!(feature = "vulkan") {
        features.push("vulkan");
    }
    if cfg!(feature = "tch") {
        features.push("tch");
    }
    if cfg!(feature = "mpi") {
        features.push("mpi");
    }
    features
}

/// Opens a device by its name.
///
/// # Errors
/// An unknown name, a backend that is not compiled in (the error names the feature), or a device that cannot
/// be opened (the error carries the driver's word).
pub fn open(name: &str) -> Result<Device, ExperimentError> {
    let parts: Vec<&str> = name.split(':').collect();
    let device = match parts.as_slice() {
        ["flex"] => Device::flex(),
        ["cuda"] => cuda(0)?,
        ["cuda", index] => cuda(number(name, index)?)?,
        ["vulkan"] => vulkan(0)?,
        ["vulkan", index] => vulkan(number(name, index)?)?,
        ["tch"] | ["tch", "cpu"] => tch(None)?,
        ["tch", "cuda"] => tch(Some(0))?,
        ["tch", "cuda", index] => tch(Some(number(name, index)?))?,
        _ => {
            return Err(ExperimentError::request(format!(
                "unknown device {name:?}; it must be one of {DEVICE_HELP}"
            )));
        }
    };
    try_out(name, device)
}

/// Opens one device or several: names with commas between, `cuda:0-3` for a range, `flex:2` for parts of the one
/// processor.
///
/// # Errors
/// As [`open`]; a device that is named twice, a range that runs backwards, or no part at all.
pub fn open_all(names: &str) -> Result<Vec<Device>, ExperimentError> {
    let mut known: Vec<String> = Vec::new();
    for name in names.split(',').map(str::trim) {
        // Parts of one processor are ranks of their own; any other device has one.
        let named = spelled_out(name)?;
        if let Some(twice) = named.iter().find(|name| known.contains(name)) {
            return Err(ExperimentError::request(format!(
                "device {twice} is named twice in {names:?}; name each once, or write {DEFAULT_DEVICE}:2 for two parts of the processor"
            )));
        }
        known.extend(named);
    }
    known.iter().map(|name| open(name)).collect()
}

/// Whether several ranks may have this device: parts of the one processor.
pub fn is_shared(device: &Device) -> bool {
    *device == Device::flex()
}

/// The devices that a range or a count stands for.
fn spelled_out(name: &str) -> Result<Vec<String>, ExperimentError> {
    let wrong =
        |word: &str| ExperimentError::request(format!("device {name:?}: {word}; write {DEVICES_HELP}"));
    if let Some(count) = name.strip_prefix("flex:") {
        let count: usize = count.parse().map_err(|_| wrong("the count is not a number"))?;
        return if count == 0 {
            Err(wrong("the count is 0"))
        } else {
            Ok(vec![DEFAULT_DEVICE.into(); count])
        };
    }
    let range = name.rsplit_once(':').and_then(|(backend, range)| Some((backend, range.split_once('-')?)));
    let Some((backend, (first, last))) = range else {
        // The first of a kind has two names.
        let bare = matches!(name, "cuda" | "vulkan" | "tch:cuda");
        return Ok(vec![if bare { format!("{name}:0") } else { name.into() }]);
    };
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong("the range is not of numbers"));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(wrong("the range runs backwards"));
    }
    Ok((first..=last).map(|index| format!("{backend}:{index}")).collect())
}

fn number(name: &str, index: &str) -> Result<usize, ExperimentError> {
    index.parse().map_err(|_| {
        ExperimentError::request(format!("device {name:?}: {index:?} is not a number; write {DEVICE_HELP}"))
    })
}

#[cfg_attr(
    all(feature = "cuda", feature = "vulkan", feature = "tch"),
    allow(dead_code, reason = "only absent backends need it")
)]
fn absent(feature: &str) -> ExperimentError {
    ExperimentError::request(format!(
        "device {feature}: this binary was built without it; build again with `cargo run -p xtask --features {feature} -- ...`"
    ))
}

#[cfg(feature = "cuda")]
fn cuda(index: usize) -> Result<Device, ExperimentError> {
    listed("cuda", index, Device::enumerate(burn::tensor::DeviceType::Cuda).len())?;
    Ok(Device::cuda(index))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Result<Device, ExperimentError> {
    Err(absent("cuda"))
}

#[cfg(feature = "vulkan")]
fn vulkan(index: usize) -> Result<Device, ExperimentError> {
    use burn::tensor::{DeviceKind, DeviceType};
    listed("vulkan", index, Device::enumerate(DeviceType::Vulkan).len())?;
    Ok(Device::vulkan(DeviceKind::DiscreteGpu(index)))
}

#[cfg(not(feature = "vulkan"))]
fn vulkan(_index: usize) -> Result<Device, ExperimentError> {
    Err(absent("vulkan"))
}

#[cfg(feature = "tch")]
#[allow(
    deprecated,
    reason = "burn 0.22 deprecates its tch backend; the feature is offered as long as it is there"
)]
fn tch(cuda: Option<usize>) -> Result<Device, ExperimentError> {
    Ok(match cuda {
        Some(index) => Device::libtorch_cuda(index),
        None => Device::libtorch(),
    })
}

#[cfg(not(feature = "tch"))]
fn tch(_cuda: Option<usize>) -> Result<Device, ExperimentError> {
    Err(absent("tch"))
}

#[cfg(any(feature = "cuda", feature = "vulkan"))]
fn listed(backend: &str, index: usize, found: usize) -> Result<(), ExperimentError> {
    if index < found {
        return Ok(());
    }
    Err(ExperimentError::work(format!(
        "device {backend}:{index}: the driver lists {found} such devices; is the driver installed, and the index below {found}?"
    )))
}

/// Runs one tiny operation: a missing driver shows itself here, as an error, and not later as a panic.
fn try_out(name: &str, device: Device) -> Result<Device, ExperimentError> {
    if name == "flex" {
        return Ok(device);
    }
    let probe = device.clone();
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        Tensor::<1>::from_data([1.0f32, 2.0], &probe).sum().into_data()
    }));
    match outcome {
        Ok(_) => Ok(device),
        Err(cause) => {
            let word = cause
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| cause.downcast_ref::<&str>().map(ToString::to_string))
                .unwrap_or_else(|| "it gave no reason".to_string());
            Err(ExperimentError::work(format!("device {name}: it cannot be opened: {word}")))
        }
    }
}
