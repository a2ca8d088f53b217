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

/// Counts requests to end, a closed terminal among them, for work that must end others before it ends itself: none of them ends
/// this process.
#[cfg(unix)]
#[derive(Debug)]
pub(crate) struct Requests {
    one: Arc<AtomicBool>,
    count: std::sync::atomic::AtomicU32,
}

#[cfg(unix)]
impl Requests {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let one = Arc::new(AtomicBool::new(false));
        for &signal in TERM_SIGNALS.iter().chain(&[signal_hook::consts::SIGHUP]) {
            flag::register(signal, Arc::clone(&one)).context("cannot listen for Ctrl-C")?;
        }
        Ok(Self { one, count: 0.into() })
    }

    /// How many there were; two within one look count once.
    pub(crate) fn count(&self) -> u32 {
        use std::sync::atomic::Ordering::Relaxed;
        let new = u32::from(self.one.swap(false, Relaxed));
        self.count.fetch_add(new, Relaxed) + new
    }
}
