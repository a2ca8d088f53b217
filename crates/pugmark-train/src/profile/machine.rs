//! What the system says of the process and the machine, each second. Linux alone; elsewhere there are no samples.

use std::fs;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Metric, Spread};

const EVERY: Duration = Duration::from_secs(1);
/// Samples that are kept; of more every second one, and so on.
const KEPT: usize = 1 << 13;
/// Clock ticks a second in `/proc`: what Linux tells programs, whatever its kernel counts by.
const TICKS: f64 = 100.0;

/// The figures of a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Sample {
    /// When it ended.
    pub(super) at: Instant,
    /// In the order of [`METRICS`].
    pub(super) values: [f64; METRICS.len()],
}

/// Names and units.
pub(super) const METRICS: [(&str, &str); 6] = [
    ("processor, this training", "%"),
    ("processor, everything", "%"),
    ("waiting for the disk", "%"),
    ("memory, this training", "MiB"),
    ("read from disk", "MiB/s"),
    ("written to disk", "MiB/s"),
];

/// Takes samples on a thread of its own until it is dropped.
#[derive(Debug)]
pub(super) struct Sampler {
    samples: Arc<Mutex<Vec<Sample>>>,
    first: Option<Counters>,
    /// Ends the thread when it is dropped.
    running: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Sampler {
    pub(super) fn start() -> Self {
        let samples = Arc::new(Mutex::new(Vec::new()));
        let first = Counters::read();
        let (stop, stopped) = channel();
        let thread = first.map(|first| {
            let samples = Arc::clone(&samples);
            thread::Builder::new().name("profile".into()).spawn(move || {
                let (mut before, mut every) = (first, EVERY);
                while stopped.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                    let Some(now) = Counters::read() else { return };
                    let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
                    samples.push(now.since(&before));
                    before = now;
                    if samples.len() >= KEPT {
                        let mut number = 0_usize;
                        samples.retain(|_| {
                            number += 1;
                            number % 2 == 1
                        });
                        every *= 2;
                    }
                }
            })
        });
        // Without the thread there is no more than the mean.
        let running = thread.and_then(Result::ok).map(|thread| (stop, thread));
        Self { samples, first, running }
    }

    /// The samples so far; of a training shorter than a second, one over all of it.
    pub(super) fn samples(&self) -> Vec<Sample> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if !samples.is_empty() {
            return samples;
        }
        self.first.zip(Counters::read()).map(|(first, now)| now.since(&first)).into_iter().collect()
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            let _ = thread.join();
        }
    }
}

/// The samples in a few numbers each.
pub(super) fn metrics(samples: &[Sample]) -> Vec<Metric> {
    if samples.is_empty() {
        return Vec::new();
    }
    let metric = |(at, (name, unit)): (usize, (&str, &str))| Metric {
        name: name.to_owned(),
        unit: unit.to_owned(),
        values: Spread::of(samples.iter().map(|sample| sample.values[at])),
    };
    METRICS.into_iter().enumerate().map(metric).collect()
}

/// The 95th percentiles of the first three: the cores that this training uses, those in use, and those that wait for the
/// disk, in %; none without samples.
pub(super) fn busy(metrics: &[Metric]) -> Option<[f64; 3]> {
    let [own, all, disk, ..] = metrics else { return None };
    Some([own, all, disk].map(|metric| metric.values.p95))
}

/// What only grows, and the memory of now.
#[derive(Debug, Clone, Copy)]
struct Counters {
    at: Instant,
    /// Ticks of this process.
    own: f64,
    /// Ticks of all cores: all, with something to do, waiting for the disk.
    all: f64,
    busy: f64,
    waiting: f64,
    memory_mib: f64,
    /// Bytes from and to the disk.
    read: f64,
    written: f64,
}

impl Counters {
    fn read() -> Option<Self> {
        let text = |name: &str| fs::read_to_string(name).ok();
        let (all, busy, waiting) = machine_ticks(&text("/proc/stat")?)?;
        // A container may hide what goes to the disk.
        let (read, written) = text("/proc/self/io").and_then(|text| disk_bytes(&text)).unwrap_or_default();
        Some(Self {
            at: Instant::now(),
            own: own_ticks(&text("/proc/self/stat")?)?,
            all,
            busy,
            waiting,
            memory_mib: crate::memory::resident_mib().unwrap_or_default() as f64,
            read,
            written,
        })
    }

    fn since(&self, before: &Self) -> Sample {
        let seconds = (self.at - before.at).as_secs_f64().max(1e-9);
        let cores = thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let ticks = (self.all - before.all).max(1.0);
        let percent = |part: f64, of: f64| (100.0 * part / of).clamp(0.0, 100.0);
        let rate = |bytes: f64| (bytes / seconds / f64::from(1 << 20)).max(0.0);
        let values = [
            percent(self.own - before.own, seconds * TICKS * cores),
            percent(self.busy - before.busy, ticks),
            percent(self.waiting - before.waiting, ticks),
            self.memory_mib,
            rate(self.read - before.read),
            rate(self.written - before.written),
        ];
        Sample { at: self.at, values }
    }
}

/// User and system ticks in `/proc/self/stat`, whose second field is a name that may hold anything.
fn own_ticks(stat: &str) -> Option<f64> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let mut next = || fields.next()?.parse::<f64>().ok();
    Some(next()? + next()?)
}

/// All, busy and waiting ticks in the first line of `/proc/stat`: user nice system idle iowait irq softirq steal, and the
/// ticks of guests, which are in the first two already.
fn machine_ticks(stat: &str) -> Option<(f64, f64, f64)> {
    let line = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<f64> = line.split_whitespace().take(8).map_while(|field| field.parse().ok()).collect();
    let all = ticks.iter().sum::<f64>();
    let (idle, waiting) = (ticks.get(3)?, ticks.get(4)?);
    Some((all, all - idle - waiting, *waiting))
}

/// What this process read from the disk and wrote to it.
fn disk_bytes(io: &str) -> Option<(f64, f64)> {
    let field = |name: &str| io.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<f64>().ok());
    Some((field("read_bytes:")?, field("write_bytes:")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_system_are_read() {
        let stat = "4 (a) b (c)) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 4 0 100 1000 200\n";
        assert_eq!(own_ticks(stat), Some(300.0));
        let stat = "cpu  10 20 30 400 50 1 2 3 9 9\ncpu0 1 2 3 4 5 6 7 8 9 10\n";
        assert_eq!(machine_ticks(stat), Some((516.0, 66.0, 50.0)));
        let io =
            "rchar: 9\nwchar: 8\nsyscr: 7\nread_bytes: 4096\nwrite_bytes: 512\ncancelled_write_bytes: 0\n";
        assert_eq!(disk_bytes(io), Some((4096.0, 512.0)));
        for broken in ["", "cpu", "4 (a) S", "read_bytes: x"] {
            assert!(own_ticks(broken).is_none() && machine_ticks(broken).is_none());
            assert!(disk_bytes(broken).is_none());
        }
    }

    #[test]
    fn a_sample_is_the_difference() {
        let at = Instant::now();
        let before = Counters {
            at,
            own: 0.0,
            all: 0.0,
            busy: 0.0,
            waiting: 0.0,
            memory_mib: 1.0,
            read: 0.0,
            written: 0.0,
        };
        let later = at + Duration::from_secs(2);
        let cores = thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let now = Counters {
            at: later,
            own: 100.0 * cores,
            all: 400.0,
            busy: 300.0,
            waiting: 40.0,
            memory_mib: 64.0,
            read: f64::from(8 << 20),
            written: 0.0,
        };
        assert_eq!(now.since(&before), Sample { at: later, values: [50.0, 75.0, 10.0, 64.0, 4.0, 0.0] });
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_short_training_has_a_sample() {
        let sampler = Sampler::start();
        let metrics = metrics(&sampler.samples());
        assert!(metrics.iter().any(|metric| metric.unit == "MiB" && metric.values.max > 0.0), "{metrics:?}");
        assert!(busy(&metrics).is_some());
    }
}
