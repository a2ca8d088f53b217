//! What the targets share: a limit on memory, seeds that the targets write themselves, a folder of their own.

use std::alloc::System;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use cap::Cap;

/// An allocation beyond the limit fails, which ends the process: the input counts as found.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, 1 << 30);

/// Runs `read`, which may take so many bytes beside what is allocated already.
pub fn within<T>(bytes: usize, read: impl FnOnce() -> T) -> T {
    let before = MEMORY.limit();
    MEMORY.set_limit(MEMORY.allocated() + bytes).expect("the limit lies above what is allocated");
    let value = read();
    MEMORY.set_limit(before).expect("it was the limit");
    value
}

/// Begins: writes inputs to start from to the folder that the script names.
pub fn seed<B: AsRef<[u8]>>(seeds: impl IntoIterator<Item = B>) {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        // To tell of a panic takes memory too.
        let _ = MEMORY.set_limit(usize::MAX);
        hook(info);
    }));
    let Some(folder) = std::env::var_os("FUZZ_SEEDS").map(PathBuf::from) else { return };
    for (number, seed) in seeds.into_iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:02}")), seed).expect("the folder is there");
    }
}

/// An input that says by its first byte which of `count` parsers it is for.
pub fn of_kind(bytes: &[u8], count: usize) -> Option<(usize, &[u8])> {
    let (first, rest) = bytes.split_first()?;
    Some((usize::from(*first) % count, rest))
}

/// An input for [`of_kind`].
pub fn kind(kind: u8, bytes: impl AsRef<[u8]>) -> Vec<u8> {
    [&[kind], bytes.as_ref()].concat()
}

/// The parts of an input that stands for several texts, which hold no byte 0.
pub fn parts<const N: usize>(bytes: &[u8]) -> [&[u8]; N] {
    let mut parts = bytes.splitn(N, |&byte| byte == 0);
    [(); N].map(|()| parts.next().unwrap_or_default())
}

/// A folder of this process, below the one for temporary files, which the script deletes.
pub fn folder() -> &'static Path {
    static FOLDER: LazyLock<PathBuf> =
        LazyLock::new(|| std::env::temp_dir().join(format!("fuzz-{}", std::process::id())));
    &FOLDER
}

/// The file of this name in [`folder`], with these bytes.
pub fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder().join(name);
    fs::create_dir_all(path.parent().expect("it lies in the folder")).expect("there is room");
    fs::write(&path, bytes).expect("there is room");
    path
}

/// What a person is told of an error: something, and nothing that fills a terminal.
pub fn told(error: &dyn std::error::Error) {
    said(&error.to_string());
}

/// As [`told`], of an error in words.
pub fn said(message: &str) {
    assert!(!message.trim().is_empty(), "an error that says nothing");
}
