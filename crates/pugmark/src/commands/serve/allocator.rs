//! What glibc does with memory that a server no longer needs.

/// Starts the process again with an allocator that gives large blocks back, unless it is told something about that already.
///
/// By itself glibc learns from the first large block that is freed to keep such blocks, in each of its arenas: a server of photos of all
/// sizes grew from 40 to some 200 MiB within 100,000 requests, and stays below 60 MiB with these limits. It reads them when a process starts
/// and at no other time. The process keeps its id.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(super) fn give_memory_back() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    /// Bytes of a block that is returned at once, and of what may lie free at the end of the heap.
    const LIMIT: &str = "1048576";
    let told = |name: &str| name.starts_with("MALLOC_") || name == "GLIBC_TUNABLES";
    if std::env::vars_os().any(|(name, _)| name.to_str().is_some_and(told)) {
        return;
    }
    let mut words = std::env::args_os();
    let (Ok(program), Some(name)) = (std::env::current_exe(), words.next()) else { return };
    let limits = [("MALLOC_MMAP_THRESHOLD_", LIMIT), ("MALLOC_TRIM_THRESHOLD_", LIMIT)];
    // It returns where it fails: the server is the same then, and larger.
    let _ = Command::new(program).arg0(name).args(words).envs(limits).exec();
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(super) fn give_memory_back() {}
