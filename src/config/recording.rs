//! `[recording]`: what is recorded how, how long it is kept, and where it goes.

use std::time::Duration;

use url::Url;

use super::file::{File, Setting};
use super::resolve::{Reader, written};
use super::{ConfigError, Recording, S3, Secret};
use crate::sound::file::{Channels, FileFormat};

const DAY_S: u64 = 86_400;
const MIB: u64 = 1024 * 1024;

pub(super) fn recording(reader: &Reader<'_>, file: &File) -> Result<Recording, ConfigError> {
    let recording = &file.recording;
    let word = |setting: &Option<toml::Spanned<String>>| {
        setting
            .as_ref()
            .map(|word| (word.get_ref().clone(), written(word)))
    };
    let format = match word(&recording.format) {
        None => FileFormat::OggOpus,
        Some((text, origin)) => FileFormat::from_name(&text).ok_or_else(|| {
            let problem = format!("{text:?} is neither \"ogg_opus\" nor \"wav\"");
            reader.fail(&origin, problem)
        })?,
    };
    let channels = match word(&recording.channels) {
        None => Channels::Mono,
        Some((text, origin)) => Channels::from_name(&text).ok_or_else(|| {
            let problem = format!("{text:?} is neither \"mono\" nor \"stereo\"");
            reader.fail(&origin, problem)
        })?,
    };
    let days = reader.whole(&recording.keep_days, 30, 1..=36_500, "days")?;
    let free = reader.whole(&recording.minimum_free_mb, 512, 0..=1_000_000_000, "MiB")?;
    Ok(Recording {
        format,
        channels,
        keep: Duration::from_secs(days * DAY_S),
        minimum_free: free * MIB,
        announcement: is_on(&recording.announcement),
        s3: s3(reader, file)?,
    })
}

/// `[recording.s3]`: an empty table uploads nothing.
fn s3(reader: &Reader<'_>, file: &File) -> Result<Option<S3>, ConfigError> {
    let Some(table) = &file.recording.s3 else {
        return Ok(None);
    };
    let s3 = table.get_ref();
    if s3.is_empty() {
        return Ok(None);
    }
    let place = written(table);
    let missing = |field: &str, what: &str| {
        let problem = format!("{field} is missing; write {what}, or remove [recording.s3]");
        reader.fail(&place, problem)
    };
    let given = |setting: &Setting<String>| {
        let text = setting
            .as_ref()
            .map(|text| text.get_ref().trim().to_owned());
        text.filter(|text| !text.is_empty())
    };
    let allow_http = is_on(&s3.allow_http);
    let endpoint = match &s3.endpoint {
        None => None,
        Some(setting) => Some(endpoint(reader, setting, allow_http)?),
    };
    let secret = |variable, setting: &Setting<String>| {
        let of_environment = reader.environment(variable).map(|(secret, _)| secret);
        of_environment.or_else(|| given(setting))
    };
    let access_key = secret("RINGWIRE_S3_ACCESS_KEY", &s3.access_key);
    let secret_key = secret("RINGWIRE_S3_SECRET_KEY", &s3.secret_key);
    let key_hint = "the store's key, or set RINGWIRE_S3_ACCESS_KEY and RINGWIRE_S3_SECRET_KEY";
    let prefix = given(&s3.prefix).unwrap_or_default();
    Ok(Some(S3 {
        endpoint,
        bucket: given(&s3.bucket).ok_or_else(|| missing("bucket", "the bucket's name"))?,
        region: given(&s3.region).unwrap_or_else(|| "us-east-1".to_owned()),
        access_key: access_key.ok_or_else(|| missing("access_key", key_hint))?,
        secret_key: Secret(secret_key.ok_or_else(|| missing("secret_key", key_hint))?),
        prefix: prefix.trim_matches('/').to_owned(),
        allow_http,
        timeout: Duration::from_secs(reader.whole(&s3.timeout_s, 60, 1..=3_600, "seconds")?),
        checksums: s3.checksums.as_ref().is_none_or(|on| *on.get_ref()),
        delete_local_after_upload: is_on(&s3.delete_local_after_upload),
        delete_expired: is_on(&s3.delete_expired),
    }))
}

fn endpoint(
    reader: &Reader<'_>,
    setting: &toml::Spanned<String>,
    allow_http: bool,
) -> Result<String, ConfigError> {
    let text = setting.get_ref();
    let fail = |problem: String| Err(reader.fail(&written(setting), problem));
    match Url::parse(text) {
        Ok(url) if url.scheme() == "https" && url.has_host() => {}
        Ok(url) if url.scheme() == "http" && url.has_host() => {
            if !allow_http {
                return fail(format!(
                    "{text:?} is not encrypted; write https, or set allow_http = true"
                ));
            }
        }
        Ok(_) | Err(_) => {
            return fail(format!(
                "{text:?} is no URL; write e.g. \"https://s3.example.com\""
            ));
        }
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn is_on(setting: &Setting<bool>) -> bool {
    setting.as_ref().is_some_and(|on| *on.get_ref())
}
