//! Where the real photos are that some tests read.

use std::path::{Path, PathBuf};

/// A folder of the shared test data; none, and a line that says so, where it is absent.
pub fn test_data(folder: &str) -> Option<PathBuf> {
    let root = std::env::var_os("PUGMARK_TEST_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let path = root.join(folder);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not here; PUGMARK_TEST_DATA names the folder of test data", path.display());
    None
}
