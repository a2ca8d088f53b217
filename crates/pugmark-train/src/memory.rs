//! The memory of this process and of the machine; none where the system does not say it as Linux does.

/// Most memory the process has held so far, in MiB.
pub(crate) fn peak_mib() -> Option<u64> {
    Some(field("/proc/self/status", "VmHWM:")? >> 20)
}

/// Memory that the process holds now, in MiB.
pub(crate) fn resident_mib() -> Option<u64> {
    Some(field("/proc/self/status", "VmRSS:")? >> 20)
}

/// Memory that can still be used, in bytes: the machine's, or what a container leaves of it.
pub(crate) fn available() -> Option<u64> {
    let machine = field("/proc/meminfo", "MemAvailable:");
    let read = |name: &str| -> Option<u64> {
        std::fs::read_to_string(format!("/sys/fs/cgroup/memory.{name}")).ok()?.trim().parse().ok()
    };
    // Files that were read count as used there, and make room when it is needed.
    let files = field("/sys/fs/cgroup/memory.stat", "inactive_file ").unwrap_or(0);
    let container = read("max").zip(read("current")).map(|(most, used)| (most + files).saturating_sub(used));
    machine.into_iter().chain(container).min()
}

/// A line `NAME   1234 kB` of a status file, or `NAME 1234` of one in bytes, in bytes.
fn field(file: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    match line.trim().strip_suffix("kB") {
        Some(kib) => Some(kib.trim_end().parse::<u64>().ok()? << 10),
        None => line.trim().parse().ok(),
    }
}
