//! One way to end: exit statuses, and errors as people read them.

use std::error::Error;
use std::fmt;
use std::process::ExitCode;

use pugmark_data::formats::FormatError;
use pugmark_data::{DataError, PrepareError, SplitError, StorageError};
use pugmark_eval::EvalError;
use pugmark_graph::WeightsError;
use pugmark_model::hub::HubError;
use pugmark_model::{ExportError, ModelError};
use pugmark_serve::ServeError;
use pugmark_train::TrainError;
use pugmark_tune::StudyError;

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

    pub(crate) fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }
}

impl fmt::Display for WrongCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for WrongCall {}

/// The work was interrupted before anything that could be told as a result; what to do about it.
#[derive(Debug)]
pub(crate) struct Interrupted(pub(crate) &'static str);

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl Error for Interrupted {}

impl Interrupted {
    fn hint(&self) -> Option<String> {
        Some(self.0.to_owned())
    }
}

/// The work was ended on the way, and everything is saved; what to do about it.
#[derive(Debug)]
pub(crate) struct Stopped {
    pub(crate) message: String,
    pub(crate) hint: String,
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Stopped {}

impl Stopped {
    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

/// What an error's message does not say of its causes: some libraries repeat the cause in the message above it.
fn causes(error: &anyhow::Error) -> Vec<String> {
    let mut said = error.to_string();
    let mut causes = Vec::new();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said.push_str(&cause);
            causes.push(cause);
        }
    }
    causes
}

/// An error with its causes and its hint in one line.
pub(crate) fn text(error: &anyhow::Error) -> String {
    let message = [error.to_string()].into_iter().chain(causes(error)).collect::<Vec<_>>().join(": ");
    match error.chain().find_map(hint) {
        Some(hint) => format!("{message} (hint: {hint})"),
        None => message,
    }
}

/// Prints an error with its causes and its hint; the status to end with.
pub(crate) fn report(error: &anyhow::Error, printer: &Printer) -> ExitStatus {
    let causes = causes(error);
    printer.error(&error.to_string(), &causes, error.chain().find_map(hint).as_deref());
    if error.is::<Interrupted>() {
        return ExitStatus::Interrupted;
    }
    if error.chain().any(is_wrong_call) { ExitStatus::WrongCall } else { ExitStatus::Failed }
}

/// Whether the same call would fail again, whatever the data and the machine.
fn is_wrong_call(error: &(dyn Error + 'static)) -> bool {
    let model = error.downcast_ref().or_else(|| match error.downcast_ref() {
        Some(TrainError::Model(error)) => Some(error),
        _ => None,
    });
    let path = matches!(
        model,
        Some(
            ModelError::HoldsRun { .. }
                | ModelError::HoldsOtherFiles { .. }
                | ModelError::Missing { .. }
                | ModelError::NotARun { .. }
                | ModelError::OtherClasses { .. }
        )
    );
    let settings = matches!(
        error.downcast_ref(),
        Some(TrainError::Settings(_) | TrainError::Config { .. } | TrainError::SettingChanged { .. })
    );
    let data = matches!(
        error.downcast_ref(),
        Some(DataError::NotFound { .. } | DataError::NotAFolder { .. } | DataError::Shares { .. })
    );
    let fold = matches!(
        split_error(error),
        Some(
            SplitError::FoldNotChosen { .. }
                | SplitError::NoSuchFold { .. }
                | SplitError::NoSuchColumn { .. }
        )
    );
    // What is missing is said by a flag.
    let format = matches!(
        error.downcast_ref(),
        Some(DataError::Format(
            FormatError::Unknown { .. } | FormatError::Cannot { .. } | FormatError::Needs { .. }
        ))
    );
    let out = matches!(
        error.downcast_ref(),
        Some(
            PrepareError::OtherFiles { .. }
                | PrepareError::OtherPhotos { .. }
                | PrepareError::OtherSettings { .. }
                | PrepareError::AlreadyPrepared { .. }
                | PrepareError::Data(DataError::NotFound { .. } | DataError::NotAFolder { .. })
                | PrepareError::Storage(StorageError::Url { .. })
        )
    ) || matches!(error.downcast_ref(), Some(StorageError::Url { .. }));
    let study = matches!(
        error.downcast_ref(),
        Some(StudyError::NotAStudy { .. } | StudyError::OtherFiles { .. } | StudyError::Other { .. })
    );
    let name = matches!(error.downcast_ref(), Some(HubError::UnknownName { .. }));
    error.is::<WrongCall>() || path || settings || data || fold || format || out || study || name
}

/// What is wrong with a split, whichever crate found it.
fn split_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a SplitError> {
    let data = error.downcast_ref().or_else(|| match error.downcast_ref() {
        Some(TrainError::Data(error)) => Some(error),
        _ => None,
    });
    match data {
        Some(DataError::Split(error)) => Some(error),
        _ => None,
    }
}

/// What the error's own crate advises.
fn hint(error: &(dyn Error + 'static)) -> Option<String> {
    macro_rules! first_of {
        ($($kind:ty),*) => { None$(.or_else(|| error.downcast_ref::<$kind>()?.hint()))* };
    }
    first_of!(
        WrongCall,
        Interrupted,
        Stopped,
        TrainError,
        StudyError,
        ModelError,
        ExportError,
        HubError,
        WeightsError,
        EvalError,
        PrepareError,
        StorageError,
        ServeError,
        DataError
    )
}
