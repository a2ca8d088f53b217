use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why published weights can't be had. [`HubError::hint`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// Neither a file nor a published name.
    #[error("`{name}` is neither a file nor the name of published weights; those are {known}")]
    UnknownName {
        /// What was asked for.
        name: String,
        /// All names.
        known: String,
    },
    /// Published, and not in the cache.
    #[error("the weights {name} are not at {}", path.display())]
    NotFetched {
        /// What was asked for.
        name: &'static str,
        /// Where the file would be.
        path: PathBuf,
        /// Where it is published.
        url: String,
    },
    /// A file in the cache is not what its name says.
    #[error("{} is damaged: its sha256 is {found} and should be {expected}", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The published checksum.
        expected: String,
        /// The file's.
        found: String,
    },
    /// No server answered.
    #[error("can't reach {url}: {reason}")]
    Unreachable {
        /// The address.
        url: String,
        /// Where the file belongs.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// A server answered, but not with the file.
    #[error("{url}: the server answers {answer}")]
    Answer {
        /// The address.
        url: String,
        /// Where the file belongs.
        path: PathBuf,
        /// Such as `404 Not Found`.
        answer: String,
    },
    /// The connection ended early; what came is kept.
    #[error("{url}: the connection ended after {bytes} of {total} bytes ({reason})")]
    Cut {
        /// The address.
        url: String,
        /// Bytes kept.
        bytes: u64,
        /// Bytes of the file.
        total: u64,
        /// What went wrong.
        reason: String,
    },
    /// What was fetched is not the file; it is deleted.
    #[error("{url}: the file fetched has sha256 {found} and should have {expected}; it is deleted")]
    Checksum {
        /// The address.
        url: String,
        /// The published checksum.
        expected: String,
        /// That of what came.
        found: String,
    },
    /// Another process is fetching the same file.
    #[error("another process is writing {}", path.display())]
    Busy {
        /// The unfinished file.
        path: PathBuf,
    },
    /// The system refuses to read or write.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// No home folder, so no cache.
    #[error("there is no folder for fetched weights: the system names no home folder")]
    NoCache,
}

impl HubError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::UnknownName { .. } => "`pugmark weights list` shows what can be fetched".into(),
            Self::NotFetched { name, path, url } => {
                format!("run `pugmark weights fetch {name}`, or put {url} at {} by hand", path.display())
            }
            Self::Corrupt { .. } => "delete it and fetch it again with `pugmark weights fetch`".into(),
            Self::Unreachable { url, path, .. } | Self::Answer { url, path, .. } => format!(
                "download {url} where there is a connection and put it at {}; it is checked when it is used",
                path.display()
            ),
            Self::Cut { .. } => "run the same command again to go on from there".into(),
            Self::Checksum { .. } => {
                "run the same command again; if it repeats, the server or a proxy on the way changes the file"
                    .into()
            }
            Self::Busy { .. } => "wait until it has finished".into(),
            Self::NoCache => "name a folder in the variable PUGMARK_CACHE".into(),
            Self::Io { .. } => return None,
        };
        Some(text)
    }
}
