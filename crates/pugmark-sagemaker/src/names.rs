//! What SageMaker takes as a name, a number or a place, checked before it is asked.

use std::error::Error;
use std::fmt;

/// The call was wrong: what, and what would be right.
#[derive(Debug)]
pub(crate) struct WrongName(String);

impl fmt::Display for WrongName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for WrongName {}

pub(crate) fn wrong(text: impl Into<String>) -> WrongName {
    WrongName(text.into())
}

/// A name of a job, a model or an endpoint: `[a-zA-Z0-9](-*[a-zA-Z0-9])*`, at most `most` characters.
pub(crate) fn check_name(name: &str, most: usize) -> Result<(), WrongName> {
    let letters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if name.is_empty() || name.len() > most || !letters || name.starts_with('-') || name.ends_with('-') {
        return Err(wrong(format!(
            "`{name}` can't be a name: 1 to {most} letters, digits and hyphens, none of them at an end"
        )));
    }
    Ok(())
}

/// A name of a channel, an input or a variable: letters, digits, `_`, `.` and `-`, at most 64.
pub(crate) fn check_key(key: &str, what: &str) -> Result<(), WrongName> {
    let letters = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    let variable = what != "variable"
        || !key.starts_with(|first: char| first.is_ascii_digit()) && !key.contains(['.', '-']);
    if key.is_empty() || key.len() > 64 || !letters || !variable {
        return Err(wrong(format!(
            "`{key}` can't be the name of a {what}: letters, digits and `_`, at most 64"
        )));
    }
    Ok(())
}

/// Key or value of a tag, at most `most` characters.
pub(crate) fn check_label(text: &str, most: usize) -> Result<(), WrongName> {
    let letters = text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c));
    if !letters || text.chars().count() > most {
        return Err(wrong(format!(
            "`{text}` can't be in a tag: at most {most} letters, digits, spaces and _.:/=+-@"
        )));
    }
    Ok(())
}

/// `s3://BUCKET/...`
pub(crate) fn check_s3(place: &str) -> Result<(), WrongName> {
    match place.strip_prefix("s3://").and_then(|rest| rest.split('/').next()) {
        Some(bucket) if bucket.len() >= 3 => Ok(()),
        _ => Err(wrong(format!("`{place}` is no place in S3: s3://BUCKET/PREFIX"))),
    }
}

/// A role: `arn:aws:iam::123456789012:role/NAME`.
pub(crate) fn check_role(role: &str) -> Result<(), WrongName> {
    let parts: Vec<&str> = role.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, "iam", "", account, name]
            if partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && name.strip_prefix("role/").is_some_and(|name| !name.is_empty()) =>
        {
            Ok(())
        }
        _ => Err(wrong(format!("`{role}` is no role: arn:aws:iam::123456789012:role/NAME"))),
    }
}

/// Seconds of a time such as `90s`, `20m`, `4h` or `2d`.
pub(crate) fn seconds(text: &str) -> Result<u32, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = match unit.trim() {
        "" | "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err("a time is a whole number with s, m, h or d: 4h".into()),
    };
    let number: u32 = number.parse().map_err(|_| "a time begins with a whole number: 4h".to_owned())?;
    number.checked_mul(unit).filter(|seconds| *seconds > 0).ok_or_else(|| "that is no time for a job".into())
}

/// `KEY=VALUE`
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err("it is KEY=VALUE".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_sagemaker_takes() {
        for name in ["a", "ants-1", "A--b", &"x".repeat(63)] {
            assert!(check_name(name, 63).is_ok(), "{name}");
        }
        for name in ["", "-a", "a-", "a_b", "a.b", "é", &"x".repeat(64)] {
            assert!(check_name(name, 63).is_err(), "{name}");
        }
    }

    #[test]
    fn places_roles_and_times() {
        assert!(check_s3("s3://bucket/a/b").is_ok() && check_s3("s3://bucket").is_ok());
        assert!(check_s3("/home").is_err() && check_s3("s3://").is_err() && check_s3("s3:///a").is_err());
        assert!(check_role("arn:aws:iam::123456789012:role/service-role/SageMaker").is_ok());
        for role in ["SageMaker", "arn:aws:iam::123:role/a", "arn:aws:iam::123456789012:user/a"] {
            assert!(check_role(role).is_err(), "{role}");
        }
        let times: Vec<_> = ["90", "90s", "20m", "4h", "2d"].map(seconds).into_iter().flatten().collect();
        assert_eq!(times, [90, 90, 1200, 14_400, 172_800]);
        for text in ["", "h", "0h", "1.5h", "9999999999", "99999999d", "3 weeks"] {
            assert!(seconds(text).is_err(), "{text}");
        }
        assert_eq!(pair("lr=a=b"), Ok(("lr".into(), "a=b".into())));
        assert!(pair("lr").is_err() && pair("=1").is_err());
    }
}
