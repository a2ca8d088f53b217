//! What glibc does with memory that is freed.

/// Lets glibc's allocator keep little of what is freed: for programs that live long and take blocks of all sizes. To be called before
/// the first thread is started. Elsewhere it does nothing, and neither does it where a variable (`MALLOC_ARENA_MAX`, `GLIBC_TUNABLES`)
/// already says something about that.
///
/// By itself glibc has eight arenas a core, and learns from the first large block that is freed to keep such blocks in each of them.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub fn keep_little_memory() {
    use std::ffi::c_int;

    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    /// Numbers of parameters in `malloc.h`: what may lie free at the end of an arena, from where on a block is returned at once
    /// (32 MiB is the most there may be; with less, large photos cost more time), and the number of arenas.
    const LIMITS: [(c_int, c_int); 3] = [(-1, 32 << 20), (-3, 32 << 20), (-8, 2)];
    let told = |name: &str| name.starts_with("MALLOC_") || name == "GLIBC_TUNABLES";
    if std::env::vars_os().any(|(name, _)| name.to_str().is_some_and(told)) {
        return;
    }
    for (parameter, value) in LIMITS {
        // SAFETY: glibc's `mallopt` has this signature, takes numbers alone, and refuses those it does not know.
        unsafe { mallopt(parameter, value) };
    }
}

/// Elsewhere there is nothing to say.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub fn keep_little_memory() {}
