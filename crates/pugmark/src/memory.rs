//! Memory, as Linux reports it.

use std::fs;

/// Most memory the process has held so far, in bytes; none where the system does not say.
pub(crate) fn peak() -> Option<u64> {
    field("/proc/self/status", "VmHWM:")
}

/// Memory of the machine, in bytes.
pub(crate) fn total() -> Option<u64> {
    field("/proc/meminfo", "MemTotal:")
}

/// Memory that can still be used, in bytes.
pub(crate) fn available() -> Option<u64> {
    field("/proc/meminfo", "MemAvailable:")
}

/// A line `NAME   1234 kB` of a status file.
fn field(file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    Some(kib << 10)
}
