//! Everything the program says: results on stdout, the rest on stderr.

mod progress;

use std::cell::RefCell;
use std::io::{self, ErrorKind, IsTerminal, Write};

use anyhow::Context;
use indicatif::ProgressBar;
use serde::Serialize;

pub(crate) use progress::{Progress, duration};

/// The one place that writes to stdout and stderr.
pub(crate) struct Printer {
    quiet: bool,
    terminal: bool,
    colour: bool,
    /// The bar on the last line of the terminal; other lines go above it.
    bar: RefCell<Option<ProgressBar>>,
}

/// How a word before a line on stderr looks on a terminal (ANSI, SGR parameters).
#[derive(Clone, Copy)]
enum Style {
    Error,
    Warning,
    Hint,
}

impl Printer {
    /// A printer; `quiet` leaves results, warnings and errors.
    pub(crate) fn new(quiet: bool) -> Self {
        let terminal = io::stderr().is_terminal();
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { quiet, terminal, colour: terminal && !no_colour, bar: RefCell::new(None) }
    }

    /// A result, on stdout. A closed pipe (`| head`) is no error.
    pub(crate) fn result(&self, text: &str) -> anyhow::Result<()> {
        let written = self.above_the_bar(|| {
            let mut stdout = io::stdout().lock();
            writeln!(stdout, "{}", text.trim_end_matches('\n')).and_then(|()| stdout.flush())
        });
        match written {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(error).context("cannot write to stdout")
            }
            _ => Ok(()),
        }
    }

    /// A result as one JSON document, on stdout.
    pub(crate) fn json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        self.result(&serde_json::to_string_pretty(value)?)
    }

    /// Something on the way that is good to know.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.line(text);
        }
    }

    /// Something that puts a result in doubt; said even when quiet.
    pub(crate) fn warning(&self, text: &str) {
        self.line(&format!("{} {text}", self.styled("warning:", Style::Warning)));
    }

    /// What to do about a warning.
    pub(crate) fn hint(&self, text: &str) {
        self.line(&format!("{} {text}", self.styled("hint:", Style::Hint)));
    }

    /// Why the work could not be done.
    pub(crate) fn error(&self, text: &str, causes: &[String], hint: Option<&str>) {
        self.line(&format!("{} {text}", self.styled("error:", Style::Error)));
        for cause in causes {
            self.line(&format!("  caused by: {cause}"));
        }
        if let Some(hint) = hint {
            self.hint(hint);
        }
    }

    /// Shows how far `what` has come, in `total` steps.
    pub(crate) fn progress(&self, what: &str, total: u64) -> Progress<'_> {
        Progress::new(self, what, total)
    }

    fn line(&self, text: &str) {
        // Nobody can be told that stderr is closed.
        self.above_the_bar(|| drop(writeln!(io::stderr(), "{text}")));
    }

    fn above_the_bar<R>(&self, write: impl FnOnce() -> R) -> R {
        match &*self.bar.borrow() {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    fn styled(&self, word: &str, style: Style) -> String {
        let code = match style {
            Style::Error => "1;31",
            Style::Warning => "1;33",
            Style::Hint => "1;36",
        };
        if self.colour { format!("\x1b[{code}m{word}\x1b[0m") } else { word.to_owned() }
    }
}
