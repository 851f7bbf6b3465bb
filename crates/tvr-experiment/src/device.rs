//! Devices: the only file that names backends.
//!
//! A device is chosen at run time among the backends compiled in. Opening one that cannot be opened is an error
//! and not a panic. Burn's constructors never fail: a driver that is missing shows itself as a panic at the first
//! operation, and in a thread of the backend. Therefore the backend is asked for its list first, and one tiny
//! operation is run under a [`guard`] before any work begins.

#[cfg(any(feature = "cuda", feature = "vulkan"))]
mod fusion;
pub(crate) mod guard;
#[cfg(feature = "cuda")]
mod together;

use std::time::Duration;

use burn::prelude::*;
#[cfg(feature = "vulkan")]
use burn::tensor::DeviceKind;
#[cfg(any(feature = "cuda", feature = "vulkan", feature = "tch"))]
use burn::tensor::DeviceType;

use crate::collective::Add;
use crate::collective::launch::Place;
use crate::error::ExperimentError;

/// The names that `--device` understands, as help shows them.
pub const DEVICE_HELP: &str = "flex | cuda:N | vulkan:N | tch:cpu | tch:cuda:N";

/// How `--devices` names several, as errors show it.
const DEVICES_HELP: &str = "flex:COUNT, cuda:FIRST-LAST, or names with commas between";

/// Devices that one name may stand for, at most: more are a slip of the finger.
const MOST: usize = 1024;

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

/// Whether this binary can do more than the one that `cargo xtask` builds.
pub fn has_more_features() -> bool {
    features().len() > 1 || cfg!(feature = "hub")
}

/// Makes the processor burn's default device, unless `BURN_DEVICE` names another. Burn puts an optimiser's moments there when it
/// loads them, and would take the first card of any backend compiled in: a run on the processor would want its driver, and every
/// process would hold memory on that card.
///
/// # Safety
/// No other thread runs yet: an environment may not be changed while another thread reads it.
pub unsafe fn default_to_processor() {
    const NAME: &str = "BURN_DEVICE";
    if std::env::var_os(NAME).is_none() {
        // SAFETY: the caller's.
        unsafe { std::env::set_var(NAME, DEFAULT_DEVICE) };
    }
}

/// Opens a device by its name.
///
/// # Errors
/// An unknown name, a backend that is not compiled in (the error names the feature), or a device that cannot
/// be opened (the error carries the driver's word).
pub fn open(name: &str) -> Result<Device, ExperimentError> {
    let parts: Vec<&str> = name.split(':').collect();
    match parts.as_slice() {
        ["flex"] => Ok(Device::flex()),
        ["cuda"] => cuda(0),
        ["cuda", index] => cuda(number(name, index)?),
        ["vulkan"] => vulkan(0),
        ["vulkan", index] => vulkan(number(name, index)?),
        ["tch"] | ["tch", "cpu"] => tch(None),
        ["tch", "cuda"] => tch(Some(0)),
        ["tch", "cuda", index] => tch(Some(number(name, index)?)),
        _ => {
            Err(ExperimentError::request(format!("unknown device {name:?}; it must be one of {DEVICE_HELP}")))
        }
    }
}

/// Opens one device or several: names with commas between, `cuda:0-3` for a range, `flex:2` for parts of the one
/// processor.
///
/// # Errors
/// As [`open`]; a device that is named twice, a range that runs backwards, or no part at all.
pub fn open_all(names: &str) -> Result<Vec<Device>, ExperimentError> {
    each(names)?.iter().map(|name| open(name)).collect()
}

/// Does the work of a process on devices named as for [`open_all`]. A device that fails in the middle of it (no memory is
/// left, a kernel reads where it must not) is a panic of burn's, with several messages; it comes back as an error. A panic on the
/// processor alone is a fault of a program and stays one.
///
/// # Errors
/// The device, and what was said first; what `work` says.
pub fn guarded<T>(
    names: &str,
    work: impl FnOnce() -> Result<T, ExperimentError>,
) -> Result<T, ExperimentError> {
    if each(names).is_ok_and(|named| named.iter().all(|name| name == DEFAULT_DEVICE)) {
        return work();
    }
    let (outcome, first) = guard::around(work);
    let message = match (outcome, first) {
        // A rank broke off, or the device's own thread did and the work only learnt that nobody answers.
        (Some(Err(ExperimentError::Work { message })), Some(first)) if message.contains(&first) => message,
        (Some(Err(ExperimentError::Work { message })), Some(first)) => {
            format!("{message}; before that device {names} said: {first}")
        }
        (Some(outcome), _) => return outcome,
        (None, first) => format!(
            "device {names}: it failed in the middle of the work: {}",
            first.unwrap_or_else(|| guard::reason(""))
        ),
    };
    Err(ExperimentError::work(format!(
        "{message}; whatever is written is whole, and the same command goes on from there (train with --resume, and with a smaller \
         train.chunk where memory was short)"
    )))
}

/// How many devices are named, as for [`open_all`]; none is opened.
///
/// # Errors
/// Names that [`open_all`] refuses.
pub fn count(names: &str) -> Result<usize, ExperimentError> {
    Ok(each(names)?.len())
}

/// Of devices named as for [`open_all`], the name of the one that a process takes by its place on its machine; any number of
/// processes take parts of the one processor. Nothing is opened: each process would hold memory on every card.
///
/// # Errors
/// Names that [`open_all`] refuses, or more processes on this machine than devices.
pub fn of_place(names: &str, place: Place) -> Result<String, ExperimentError> {
    let known = each(names)?;
    let shared = known.iter().find(|name| *name == DEFAULT_DEVICE);
    known.get(place.local_rank).or(shared).cloned().ok_or_else(|| {
        ExperimentError::request(format!(
            "--devices {names} names {}, but rank {} is number {} on its machine; start fewer there, or name one for each: {DEVICES_HELP}",
            match known.len() {
                1 => "one device".into(),
                count => format!("{count} devices"),
            },
            place.rank,
            place.local_rank + 1,
        ))
    })
}

/// The devices named, each by its own name and each once, but for parts of the processor.
fn each(names: &str) -> Result<Vec<String>, ExperimentError> {
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
    Ok(known)
}

/// Whether a device is the processor, whose memory is the host's.
pub fn is_processor(device: &Device) -> bool {
    *device == Device::flex()
}

/// How devices of one process add up rows of numbers among themselves; `None` where the host does it for them.
///
/// CUDA devices do, each with a rank of its own, through NCCL. Burn would find out in the middle of a step, and in threads
/// of its own, that NCCL is missing: therefore one row is added up here first, by all of them.
///
/// # Errors
/// NCCL is missing or refuses, or the devices do not answer each other within `patience`.
#[cfg(feature = "cuda")]
pub fn adder(devices: &[Device], patience: Duration) -> Result<Option<Add>, ExperimentError> {
    let listed = Device::enumerate(DeviceType::Cuda).into_vec();
    let own =
        |(place, device): (usize, &Device)| listed.contains(device) && !devices[..place].contains(device);
    if !devices.iter().enumerate().all(own) {
        return Ok(None);
    }
    let add = crate::collective::by_all_reduce(devices.to_vec());
    let count = devices.len();
    match together::add_up(devices, &add, patience) {
        Ok(()) => Ok(Some(add)),
        Err(word) => Err(ExperimentError::work(format!(
            "the gradients of {count} CUDA devices cannot be added up among them: {word}"
        ))),
    }
}

/// How devices of one process add up rows of numbers among themselves: none of those in this binary does.
///
/// # Errors
/// None.
#[cfg(not(feature = "cuda"))]
pub fn adder(_devices: &[Device], _patience: Duration) -> Result<Option<Add>, ExperimentError> {
    Ok(None)
}

/// The devices that a range or a count stands for.
fn spelled_out(name: &str) -> Result<Vec<String>, ExperimentError> {
    let wrong =
        |word: &str| ExperimentError::request(format!("device {name:?}: {word}; write {DEVICES_HELP}"));
    let too_many = format!("that is more than {MOST} devices");
    if let Some(count) = name.strip_prefix("flex:") {
        let count: usize = count.parse().map_err(|_| wrong("the count is not a number"))?;
        return match count {
            0 => Err(wrong("the count is 0")),
            1..=MOST => Ok(vec![DEFAULT_DEVICE.into(); count]),
            _ => Err(wrong(&too_many)),
        };
    }
    let range = name.rsplit_once(':').and_then(|(backend, range)| Some((backend, range.split_once('-')?)));
    let Some((backend, (first, last))) = range else {
        // The first of a kind has two names, and a number may have more.
        let number =
            name.rsplit_once(':').and_then(|(kind, index)| Some((kind, index.parse::<usize>().ok()?)));
        return Ok(vec![match (name, number) {
            ("cuda" | "vulkan" | "tch:cuda", _) => format!("{name}:0"),
            ("tch", _) => "tch:cpu".into(),
            (_, Some((kind, index))) => format!("{kind}:{index}"),
            _ => name.into(),
        }]);
    };
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong("the range is not of numbers"));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(wrong("the range runs backwards"));
    }
    if last - first >= MOST {
        return Err(wrong(&too_many));
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
    opened(&format!("cuda:{index}"), || {
        let device = nth(index, Device::enumerate(DeviceType::Cuda).into_vec())?;
        fusion::keep_off()?;
        Ok(device)
    })
}

#[cfg(not(feature = "cuda"))]
fn cuda(_index: usize) -> Result<Device, ExperimentError> {
    Err(absent("cuda"))
}

/// Burn lists graphics cards before what is built into a processor. A driver that draws on the processor is left
/// out: flex is many times as fast.
#[cfg(feature = "vulkan")]
fn vulkan(index: usize) -> Result<Device, ExperimentError> {
    let on_the_processor = Device::vulkan(DeviceKind::Cpu);
    let listed = || Device::enumerate(DeviceType::Vulkan).into_iter().filter(|it| *it != on_the_processor);
    opened(&format!("vulkan:{index}"), || {
        let device = nth(index, listed().collect())?;
        fusion::keep_off()?;
        Ok(device)
    })
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
    match cuda {
        // libtorch lists what CUDA it sees, and not the processor.
        Some(index) => {
            let listed = || Device::enumerate(DeviceType::LibTorch).into_vec();
            opened(&format!("tch:cuda:{index}"), || nth(index, listed()))
        }
        None => opened("tch:cpu", || Ok(Device::libtorch())),
    }
}

#[cfg(not(feature = "tch"))]
fn tch(_cuda: Option<usize>) -> Result<Device, ExperimentError> {
    Err(absent("tch"))
}

/// One of the devices that a backend lists.
#[cfg(any(feature = "cuda", feature = "vulkan", feature = "tch"))]
fn nth(index: usize, listed: Vec<Device>) -> Result<Device, String> {
    let count = listed.len();
    listed.into_iter().nth(index).ok_or_else(|| match count {
        0 => format!("none is found here; install its driver, or take {DEFAULT_DEVICE}"),
        1 => "only one is found here, and its number is 0".into(),
        _ => format!("only {count} are found here; the number must be below {count}"),
    })
}

/// Finds a device and runs one tiny operation on it: a driver that is missing or broken shows itself here, as an
/// error, and not later as a panic.
#[cfg(any(feature = "cuda", feature = "vulkan", feature = "tch"))]
fn opened(name: &str, find: impl FnOnce() -> Result<Device, String>) -> Result<Device, ExperimentError> {
    let found = guard::run(|| {
        let device = find()?;
        match Tensor::<1>::from_data([1.0f32, 2.0], &device).sum().into_scalar::<f32>() {
            3.0 => Ok(device),
            wrong => Err(format!("it computes 1 + 2 = {wrong}")),
        }
    });
    let outcome = found.unwrap_or_else(|word| Err(format!("it cannot be opened: {word}")));
    outcome.map_err(|word| ExperimentError::work(format!("device {name}: {word}")))
}
