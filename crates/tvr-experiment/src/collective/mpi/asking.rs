//! Asking MPI whether something is done, until it is or patience is over.

use std::ffi::c_int;
use std::time::Duration;

use mpi_sys as raw;

use crate::collective::waited::Waited;

/// How long to ask without a pause while others may still be computing.
pub(super) const OTHERS_COMPUTE: Duration = Duration::from_millis(2);

/// How long to ask without a pause while others are sending: MPI moves bytes when it is asked.
pub(super) const OTHERS_SEND: Duration = Duration::from_secs(1);

/// The pause between two questions afterwards.
const PAUSE: Duration = Duration::from_micros(50);

/// Asks until the answer is yes, or until patience is over: whether it was yes. The first `eager` of it without a pause.
pub(super) fn asked(
    eager: Duration,
    patience: Duration,
    mut done: impl FnMut() -> Result<bool, c_int>,
) -> Result<bool, c_int> {
    let mut waited = Waited::begin();
    loop {
        if done()? {
            return Ok(true);
        }
        match waited.so_far() {
            waited if waited > patience => return Ok(false),
            waited if waited > eager => std::thread::sleep(PAUSE),
            _ => std::thread::yield_now(),
        }
    }
}

/// Whether a request is done, or MPI's code.
pub(super) fn done(request: &mut raw::MPI_Request) -> Result<bool, c_int> {
    let mut done: c_int = 0;
    // SAFETY: the request was begun, or is the null request, which is done.
    let code = unsafe { raw::MPI_Test(request, &mut done, raw::RSMPI_STATUS_IGNORE) };
    if code == 0 { Ok(done != 0) } else { Err(code) }
}

/// MPI's words for a return code.
pub(super) fn word(code: c_int) -> String {
    let mut text = [0u8; raw::MPI_MAX_ERROR_STRING as usize];
    let mut length: c_int = 0;
    // SAFETY: the buffer is as long as MPI asks for.
    unsafe { raw::MPI_Error_string(code, text.as_mut_ptr().cast(), &mut length) };
    let text = &text[..usize::try_from(length).unwrap_or_default().min(text.len())];
    format!("MPI says {:?}", String::from_utf8_lossy(text))
}
