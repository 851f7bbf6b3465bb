//! One sum that several devices make together, before a run depends on it.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::Duration;

use burn::prelude::*;

use super::guard;

/// Has every device give a row of its own, from a thread of its own.
///
/// # Errors
/// Words with a mend: a device panicked, the sum is wrong, or a device did not come back within `patience`. Its thread
/// stays behind then, since none can be ended from outside.
pub(super) fn add_up(
    devices: &[Device],
    add: &Arc<dyn Fn(Tensor<1>) -> Tensor<1> + Send + Sync>,
    patience: Duration,
) -> Result<(), String> {
    let expected = [1.0, 2.0].map(|number| number * devices.len() as f32);
    let found = guard::run(|| {
        let (send, receive) = sync_channel(devices.len());
        for device in devices {
            let (device, add, send) = (device.clone(), add.clone(), send.clone());
            std::thread::spawn(move || {
                let sum = || add(Tensor::from_data([1.0f32, 2.0], &device)).into_data().iter().collect();
                let _ = send.send(catch_unwind(AssertUnwindSafe(sum)));
            });
        }
        for _ in devices {
            let sum: Vec<f32> = match receive.recv_timeout(patience) {
                Ok(Ok(sum)) => sum,
                Ok(Err(cause)) => resume_unwind(cause),
                Err(_) => {
                    return Err(format!(
                        "they do not answer each other within {} s; NCCL_DEBUG=INFO in the environment says where it stops",
                        patience.as_secs_f64()
                    ));
                }
            };
            if sum != expected {
                return Err(format!("they add up {sum:?} where it is {expected:?}; look at driver and NCCL"));
            }
        }
        Ok(())
    });
    found.unwrap_or_else(|word| {
        Err(format!(
            "{word}; NCCL must be found as libnccl.so (Debian's libnccl-dev has it; of the Python package nvidia-nccl-cu13 link \
             libnccl.so.2 to that name, in a folder of LD_LIBRARY_PATH) and suit the driver, or take one device"
        ))
    })
}
