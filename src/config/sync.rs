//! `[sync]`: where apps and numbers are fetched from.

use std::fmt;

use crate::book::values::hook_url;

use super::file::{File, Setting};
use super::resolve::{Origin, Reader, written};
use super::{ConfigError, Sync};

/// A header with a secret in its value. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHeader {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

impl fmt::Debug for SecretHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretHeader({}, value hidden)", self.name)
    }
}

pub(super) fn sync(reader: &Reader<'_>, file: &File) -> Result<Sync, ConfigError> {
    let sync = &file.sync;
    let timeout = reader.seconds(&sync.timeout_s, 10, 1..=300)?;
    let max_bytes = reader.whole(
        &sync.max_bytes,
        16 * 1024 * 1024,
        1_024..=1_073_741_824,
        "bytes",
    )?;
    Ok(Sync {
        numbers_url: url(reader, "RINGWIRE_SYNC_NUMBERS_URL", &sync.numbers_url)?,
        apps_url: url(reader, "RINGWIRE_SYNC_APPS_URL", &sync.apps_url)?,
        interval: reader.seconds(&sync.interval_s, 30, 1..=86_400)?,
        timeout,
        max_bytes: max_bytes as usize,
        headers: headers(reader, file)?,
        allow_empty: sync.allow_empty.as_ref().is_some_and(|on| *on.get_ref()),
    })
}

fn url(
    reader: &Reader<'_>,
    variable: &'static str,
    setting: &Setting<String>,
) -> Result<Option<String>, ConfigError> {
    let found = reader.environment(variable).or_else(|| from_file(setting));
    let Some((text, origin)) = found else {
        return Ok(None);
    };
    // What is wrong is told without the address: it may hold a password.
    match hook_url(&text) {
        Ok(_) => Ok(Some(text)),
        Err(_) => Err(reader.fail(
            &origin,
            "is no URL; write e.g. \"https://example.com/numbers\"",
        )),
    }
}

fn headers(reader: &Reader<'_>, file: &File) -> Result<Vec<SecretHeader>, ConfigError> {
    let mut headers = Vec::new();
    let bearer = reader
        .environment("RINGWIRE_SYNC_BEARER")
        .or_else(|| from_file(&file.sync.bearer));
    if let Some((token, origin)) = bearer {
        crate::book::values::secret(&token).map_err(|problem| reader.fail(&origin, problem))?;
        headers.push(SecretHeader {
            name: "authorization".to_string(),
            value: format!("Bearer {token}"),
        });
    }
    if let Some((text, origin)) = from_file(&file.sync.header) {
        headers.push(header(&text).ok_or_else(|| {
            let problem = "is no header; write name and value, e.g. \"X-Api-Key: secret\"";
            reader.fail(&origin, problem)
        })?);
    }
    Ok(headers)
}

/// `Name: value`, RFC 9110 section 5.
fn header(text: &str) -> Option<SecretHeader> {
    let (name, value) = text.split_once(':')?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let value = value.trim();
    let fine = !name.is_empty()
        && name.bytes().all(token)
        && !value.is_empty()
        && value.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    fine.then(|| SecretHeader {
        name: name.to_ascii_lowercase(),
        value: value.to_string(),
    })
}

fn from_file(setting: &Setting<String>) -> Option<(String, Origin)> {
    let text = setting.as_ref()?;
    Some((text.get_ref().clone(), written(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_and_its_value_never_printed() {
        let read = header("X-Api-Key: hush").unwrap();
        assert_eq!(
            (read.name.as_str(), read.value.as_str()),
            ("x-api-key", "hush")
        );
        assert!(!format!("{read:?}").contains("hush"));
        for wrong in ["", "X-Api-Key", "X Key: a", ": a", "X-Key:", "X: a\nb"] {
            assert!(header(wrong).is_none(), "{wrong:?}");
        }
    }
}
