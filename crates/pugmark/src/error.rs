//! One way to end: exit statuses, and errors as people read them.

use std::fmt;
use std::process::ExitCode;

use crate::printer::Printer;

/// What the process says when it ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ExitStatus {
    /// The work is done.
    Done,
    /// The work failed.
    Failed,
    /// The call was wrong: the same call would fail again.
    WrongCall,
    /// The work was interrupted and can go on.
    Interrupted,
}

impl ExitStatus {
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::WrongCall => 2,
            Self::Interrupted => 130,
        }
    }
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        status.code().into()
    }
}

/// The call was wrong, and what to do about it.
#[derive(Debug)]
pub(crate) struct WrongCall {
    message: String,
    hint: Option<String>,
}

impl WrongCall {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for WrongCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for WrongCall {}

/// Prints an error with its causes and its hint; the status to end with.
pub(crate) fn report(error: &anyhow::Error, printer: &Printer) -> ExitStatus {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some libraries repeat the cause in the message above it.
        if !said.contains(&cause) {
            causes.push(cause.clone());
            said.push_str(&cause);
        }
    }
    printer.error(&error.to_string(), &causes, error.chain().find_map(hint).as_deref());
    if error.chain().any(is_wrong_call) { ExitStatus::WrongCall } else { ExitStatus::Failed }
}

fn is_wrong_call(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<WrongCall>()
}

fn hint(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = error.downcast_ref::<WrongCall>() {
        return error.hint.clone();
    }
    if let Some(error) = error.downcast_ref::<pugmark_data::DataError>() {
        return error.hint();
    }
    None
}
