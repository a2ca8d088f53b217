//! A decoder that panics must cost one photo, not the run.
//!
//! Decoders are other people's code run on whatever lies in a folder, and each has had panics on hostile files.

use std::any::Any;
use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `decode`; a panic in it becomes an error with its message, and is not printed.
///
/// Printing is done by the panic hook, of which a program has one. The first call puts one in front of it that
/// says nothing of guarded threads and hands everything else on.
pub(crate) fn guard<T>(decode: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                previous(info);
            }
        }));
    });
    GUARDED.set(true);
    // Whatever a panic leaves half done is dropped with the closure.
    let result = panic::catch_unwind(AssertUnwindSafe(decode));
    GUARDED.set(false);
    result.map_err(|panic| format!("the decoder failed: {}", message(panic.as_ref())))
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use super::guard;

    #[test]
    fn a_panic_becomes_an_error() {
        assert_eq!(guard(|| 3), Ok(3));
        assert_eq!(guard(|| panic!("index {}", 7)).unwrap_err(), "the decoder failed: index 7");
        let odd = |value: usize| [1, 2][value];
        assert!(guard(|| odd(std::hint::black_box(5))).unwrap_err().contains("out of bounds"));
    }
}
