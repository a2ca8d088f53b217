//! Who started a job.

use crate::interrupt::Requests;
use crate::printer::Printer;

/// Who started a job: hears what it says, and may end it.
pub(super) trait Attendant {
    fn line(&self, text: &str);
    fn metric(&self, name: &str, value: f64);
    fn stop(&self) -> Stop;
}

/// Whether a job is to end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Debug)]
pub(super) enum Stop {
    No,
    /// With time to save.
    Gently,
    AtOnce,
}

/// A person who looks on. Ctrl-C is StopTrainingJob and its like, and the second one no more patience.
pub(super) struct Foreground<'a> {
    pub(super) printer: &'a Printer,
    pub(super) requests: &'a Requests,
}

impl Attendant for Foreground<'_> {
    fn line(&self, text: &str) {
        self.printer.note(text);
    }

    fn metric(&self, _: &str, _: f64) {}

    fn stop(&self) -> Stop {
        match self.requests.count() {
            0 => Stop::No,
            1 => Stop::Gently,
            _ => Stop::AtOnce,
        }
    }
}
