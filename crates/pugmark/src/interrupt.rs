//! Ctrl-C: the first one asks for a clean end, the second one ends at once.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::Context;
use signal_hook::consts::TERM_SIGNALS;
use signal_hook::flag;

use crate::error::ExitStatus;

/// A flag that is set by the first Ctrl-C (or a polite request to end, as job schedulers send it). The second one ends
/// the process: whatever is being written then still has its temporary name.
pub(crate) fn stop_flag() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for &signal in TERM_SIGNALS {
        // In this order: the second signal finds the flag set by the first one.
        flag::register_conditional_shutdown(
            signal,
            i32::from(ExitStatus::Interrupted.code()),
            Arc::clone(&stop),
        )
        .and_then(|_| flag::register(signal, Arc::clone(&stop)))
        .context("cannot listen for Ctrl-C")?;
    }
    Ok(stop)
}
