use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a storage does not give or take a file. [`StorageError::hint`] says what to do.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StorageError {
    /// A URL that names no bucket, or is none.
    #[error("`{url}` is no place: {why}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong.
        why: String,
    },
    /// Nothing says who asks.
    #[error("no AWS credentials for {url}")]
    NoCredentials {
        /// The bucket and prefix.
        url: String,
    },
    /// The profile that is asked for is not in the AWS files, or says what is not understood here.
    #[error("the AWS profile `{profile}` {why}")]
    Profile {
        /// Its name.
        profile: String,
        /// What is wrong with it.
        why: String,
    },
    /// A file of this machine.
    #[error("cannot read or write {}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file that must be there.
    #[error("{place} does not exist")]
    Missing {
        /// Its URL or path.
        place: String,
    },
    /// A file that is another one than a moment ago.
    #[error("{place} was changed while it was read")]
    Changed {
        /// Its URL.
        place: String,
    },
    /// The server knows who asks and says no.
    #[error("{place}: access is denied")]
    Denied {
        /// Its URL.
        place: String,
        /// What the server says.
        source: object_store::Error,
    },
    /// What a server cannot do.
    #[error("{place}: {what}")]
    Unsupported {
        /// Its URL.
        place: String,
        /// What was asked.
        what: &'static str,
    },
    /// The server cannot be reached, or answers with an error, after all attempts.
    #[error("{place}: the server did not do what was asked")]
    Server {
        /// The file's URL.
        place: String,
        /// What the last attempt gave.
        source: object_store::Error,
    },
}

impl StorageError {
    /// What to do about it, in one or two plain sentences.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Url { .. } => "places are folders, s3://BUCKET/PREFIX or, to read, https://HOST/PATH",
            Self::NoCredentials { .. } => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile in ~/.aws; a public bucket \
                 needs --s3-anonymous"
            }
            Self::Profile { .. } => {
                "profiles with an access key are read here; for all others (SSO, roles, processes): eval \"$(aws configure \
                 export-credentials --format env)\""
            }
            Self::Io { .. } => "check that you may write there and that the disk is not full",
            Self::Missing { .. } => "check the spelling; a bucket's names are case-sensitive",
            Self::Changed { .. } => "run it again once nobody writes there",
            Self::Denied { .. } => {
                "check the credentials and the bucket's policy; a public bucket needs --s3-anonymous"
            }
            Self::Unsupported { .. } => "copy the files to a folder or to a bucket",
            Self::Server { .. } => {
                "check bucket, --s3-region, --s3-endpoint and the network; what is done is kept, and the same call goes on"
            }
        };
        Some(hint.to_owned())
    }
}
