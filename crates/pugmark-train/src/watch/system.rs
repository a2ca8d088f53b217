//! What process and machine do, as Linux tells it; elsewhere there is nothing to tell.

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::record::System;

/// Ticks of `/proc` in a second: fixed by Linux for what programs are told.
const TICKS: f64 = 100.0;

/// Reads counters, and gives their change.
pub(super) struct Meter {
    cores: f64,
    last: Option<(Instant, Counters)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    /// Ticks of this process.
    own: f64,
    /// Ticks of the machine: busy, waiting for discs, all.
    busy: f64,
    io_wait: f64,
    all: f64,
    /// Bytes that this process read from discs.
    read: f64,
}

impl Meter {
    pub(super) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        Self { cores, last: counters().map(|counters| (Instant::now(), counters)) }
    }

    /// Seconds since the last reading; none where there is nothing to read.
    pub(super) fn seconds(&self) -> Option<f64> {
        Some(self.last?.0.elapsed().as_secs_f64())
    }

    /// The change since the last reading; steps, epochs and waiting are the caller's.
    pub(super) fn read(&mut self) -> Option<System> {
        let (since, before) = self.last?;
        let (now, counters) = (Instant::now(), counters()?);
        self.last = Some((now, counters));
        let seconds = (now - since).as_secs_f64();
        let share = |part: f64, of: f64| if of > 0.0 { (part / of).clamp(0.0, 1.0) } else { 0.0 };
        let all = counters.all - before.all;
        Some(System {
            time: now_seconds(),
            seconds,
            cpu: share((counters.own - before.own) / TICKS, seconds * self.cores),
            machine: share(counters.busy - before.busy, all),
            io_wait: share(counters.io_wait - before.io_wait, all),
            read_mib: (counters.read - before.read) / f64::from(1 << 20),
            memory_mib: memory_mib()?,
            ..System::default()
        })
    }
}

/// Seconds since 1970.
pub(super) fn now_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

fn counters() -> Option<Counters> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name, in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let own = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    let machine = fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<f64> =
        machine.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal; guests are in user.
    let all = ticks.iter().take(8).sum::<f64>();
    let (idle, io_wait) = (*ticks.get(3)?, *ticks.get(4)?);
    // Some containers hide it.
    let read = fs::read_to_string("/proc/self/io")
        .ok()
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("read_bytes: ")?.parse().ok()));
    Some(Counters { own, busy: all - idle - io_wait, io_wait, all, read: read.unwrap_or(0.0) })
}

fn memory_mib() -> Option<f64> {
    let text = fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim_end().parse::<f64>().ok()? / 1024.0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_busy_thread_shows() {
        let mut meter = Meter::new();
        let clock = Instant::now();
        let mut sum = 0_u64;
        // Ten ticks at least, however fast the machine is.
        while clock.elapsed().as_secs_f64() < 0.3 {
            sum = sum.wrapping_mul(31).wrapping_add(std::hint::black_box(1));
        }
        std::hint::black_box(sum);
        let system = meter.read().expect("Linux says all of it");
        assert!(system.seconds >= 0.3 && system.cpu > 0.0 && system.machine > 0.0, "{system:?}");
        assert!(system.memory_mib > 1.0 && system.time > 1.6e9, "{system:?}");
    }
}
