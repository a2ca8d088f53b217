//! How far a long piece of work has come: a bar on a terminal, a plain line now and then elsewhere.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Printer;

/// Between two plain lines: often enough to see that it lives, rarely enough for a log.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// Progress of one piece of work; dropping it takes the bar away.
pub(crate) struct Progress<'a> {
    printer: &'a Printer,
    what: String,
    total: u64,
    started: Instant,
    last_line: Instant,
}

impl<'a> Progress<'a> {
    pub(super) fn new(printer: &'a Printer, what: &str, total: u64) -> Self {
        if printer.terminal && !printer.quiet {
            let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
            // The template is a constant that the tests of `indicatif` accept; a mistake in it gives the default bar.
            if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len}  {wide_msg}") {
                bar.set_style(style);
            }
            bar.set_prefix(what.to_owned());
            printer.bar.replace(Some(bar));
        }
        let now = Instant::now();
        Self { printer, what: what.to_owned(), total, started: now, last_line: now }
    }

    /// Sets the position and says something about it.
    pub(crate) fn set(&mut self, position: u64, message: &str) {
        if let Some(bar) = &*self.printer.bar.borrow() {
            bar.set_message(message.to_owned());
            bar.set_position(position);
        } else if self.last_line.elapsed() >= LINE_EVERY {
            self.last_line = Instant::now();
            self.printer.note(&format!("{} {position}/{}  {message}", self.what, self.total));
        }
    }

    /// Sets the position; the message is the rate in `unit` a second and the time left.
    pub(crate) fn set_with_rate(&mut self, position: u64, unit: &str) {
        let rate = position as f64 / self.started.elapsed().as_secs_f64().max(1e-3);
        let left = Duration::from_secs_f64(self.total.saturating_sub(position) as f64 / rate.max(1e-3));
        self.set(position, &format!("{rate:.1} {unit}/s, {} left", duration(left)));
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if let Some(bar) = self.printer.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A duration in the two largest units that matter: `42 s`, `3 min 20 s`, `2 h 5 min`.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs_f64().round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_two_units() {
        for (seconds, text) in [(0.2, "0 s"), (59.4, "59 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 5 min")] {
            assert_eq!(duration(Duration::from_secs_f64(seconds)), text);
        }
    }
}
