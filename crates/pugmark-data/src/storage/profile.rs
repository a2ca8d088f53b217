//! The access key of a profile in `~/.aws/credentials` and `~/.aws/config`.
//!
//! Only keys that stand there are read. Profiles that need another step (SSO, roles, processes) are refused with the advice to
//! export their credentials: what `aws-config` does for them costs more crates than all the rest of the storage.

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::StorageError;

/// What a profile says.
#[derive(PartialEq, Eq, Default, Debug)]
pub(super) struct Profile {
    pub(super) key_id: Option<String>,
    pub(super) secret: Option<String>,
    pub(super) token: Option<String>,
    pub(super) region: Option<String>,
    pub(super) endpoint: Option<String>,
}

/// Settings of profiles that stand for another way to get credentials.
const OTHER_WAYS: [&str; 5] =
    ["role_arn", "credential_process", "sso_session", "sso_start_url", "login_session"];

impl Profile {
    /// The profile that `AWS_PROFILE` names, else `default`; empty where there are no files and none is named.
    pub(super) fn of_environment(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, StorageError> {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty());
        let home = set("HOME").or_else(|| set("USERPROFILE")).map(PathBuf::from);
        let file = |name: &str, default: &str| {
            let path =
                set(name).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(".aws").join(default)));
            path.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default()
        };
        let named = set("AWS_PROFILE").map(|name| name.to_string_lossy().into_owned());
        let credentials = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config = file("AWS_CONFIG_FILE", "config");
        Self::read(named.as_deref(), &credentials, &config)
    }

    fn read(named: Option<&str>, credentials: &str, config: &str) -> Result<Self, StorageError> {
        let profile = named.unwrap_or("default");
        let header = if profile == "default" { profile.to_owned() } else { format!("profile {profile}") };
        let sections = [section(config, &header), section(credentials, profile)];
        if named.is_some() && sections.iter().all(Option::is_none) {
            return Err(StorageError::Profile { profile: profile.into(), why: "is not in ~/.aws".into() });
        }
        // As the AWS tools do: the credentials file goes first.
        let settings: HashMap<String, String> = sections.into_iter().flatten().flatten().collect();
        let get = |name: &str| settings.get(name).filter(|value| !value.is_empty()).cloned();
        let read = Self {
            key_id: get("aws_access_key_id"),
            secret: get("aws_secret_access_key"),
            token: get("aws_session_token"),
            region: get("region"),
            endpoint: get("endpoint_url"),
        };
        let other = OTHER_WAYS.iter().find(|name| settings.contains_key(**name));
        match other {
            Some(other) if read.key_id.is_none() => {
                let why = format!("gets its credentials by `{other}`, which is not understood here");
                Err(StorageError::Profile { profile: profile.into(), why })
            }
            _ => Ok(read),
        }
    }
}

/// The settings below `[name]`; nested ones, which are indented, are left out.
fn section(text: &str, name: &str) -> Option<HashMap<String, String>> {
    let mut found: Option<HashMap<String, String>> = None;
    let mut inside = false;
    for line in text.lines() {
        let trimmed = line.trim();
        if trimmed.starts_with(['#', ';']) || trimmed.is_empty() {
            continue;
        }
        if let Some(header) = trimmed.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            inside = header.split_whitespace().eq(name.split_whitespace());
            if inside {
                found.get_or_insert_default();
            }
        } else if inside && !line.starts_with([' ', '\t']) {
            let Some((key, value)) = trimmed.split_once('=') else { continue };
            // A comment after a value needs a space before it, since keys hold any character.
            let value = value.split(" #").next().unwrap_or_default().trim();
            found.get_or_insert_default().insert(key.trim().to_ascii_lowercase(), value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDENTIALS: &str = "\
# keys
[default]
aws_access_key_id = AKIDEFAULT
aws_secret_access_key=sec/ret+de#fault  # of the team
[field]
aws_access_key_id = AKIFIELD
aws_secret_access_key = secret
aws_session_token = token==
region = eu-west-1
";
    const CONFIG: &str = "\
[default]
region = us-west-2
s3 =
    endpoint_url = http://nested:9000
[profile field]
region = eu-north-1
endpoint_url = http://localhost:9000
[profile sso]
sso_session = us
";

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn profiles_are_read_as_the_aws_tools_read_them() {
        let default = Profile::read(None, CREDENTIALS, CONFIG).unwrap();
        let expected = Profile {
            key_id: some("AKIDEFAULT"),
            secret: some("sec/ret+de#fault"),
            region: some("us-west-2"),
            ..Profile::default()
        };
        assert_eq!(default, expected);
        let field = Profile::read(Some("field"), CREDENTIALS, CONFIG).unwrap();
        let expected = Profile {
            key_id: some("AKIFIELD"),
            secret: some("secret"),
            token: some("token=="),
            region: some("eu-west-1"),
            endpoint: some("http://localhost:9000"),
        };
        assert_eq!(field, expected);
        assert_eq!(Profile::read(None, "", "").unwrap(), Profile::default());
    }

    #[test]
    fn profiles_that_need_more_are_refused() {
        let error = |name| Profile::read(Some(name), CREDENTIALS, CONFIG).unwrap_err().to_string();
        assert_eq!(error("absent"), "the AWS profile `absent` is not in ~/.aws");
        assert!(error("sso").contains("by `sso_session`"), "{}", error("sso"));
    }

    #[test]
    fn files_are_found_through_variables() {
        let folder = tempfile::tempdir().unwrap();
        let aws = folder.path().join(".aws");
        std::fs::create_dir(&aws).unwrap();
        std::fs::write(aws.join("credentials"), CREDENTIALS).unwrap();
        let elsewhere = folder.path().join("config");
        std::fs::write(&elsewhere, CONFIG).unwrap();
        let profile = Profile::of_environment(|name| match name {
            "HOME" => Some(folder.path().into()),
            "AWS_CONFIG_FILE" => Some(elsewhere.clone().into()),
            "AWS_PROFILE" => Some("field".into()),
            _ => None,
        })
        .unwrap();
        assert_eq!(profile.key_id.as_deref(), Some("AKIFIELD"));
        assert_eq!(profile.endpoint.as_deref(), Some("http://localhost:9000"));
    }
}
