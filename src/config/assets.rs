//! `[assets]`: sounds that apps keep here and fetch from elsewhere.

use super::file::File;
use super::resolve::{Origin, Reader, written};
use super::{Assets, ConfigError};

const MIB: u64 = 1024 * 1024;
/// A sound of an hour takes 495 MiB of memory.
const LONGEST_MINUTES: u64 = 60;
/// MiB of memory that a minute of sound takes, rounded up.
const MIB_PER_MINUTE: u64 = 9;

pub(super) fn assets(reader: &Reader<'_>, file: &File) -> Result<Assets, ConfigError> {
    let assets = &file.assets;
    let mib = |setting, default, range| Ok(reader.whole(setting, default, range, "MiB")? * MIB);
    let minutes = reader.whole(&assets.max_minutes, 15, 1..=LONGEST_MINUTES, "minutes")?;
    let cache = mib(&assets.cache_mib, 256, 1..=1_048_576)?;
    if cache < minutes * MIB_PER_MINUTE * MIB {
        let origin = match (&assets.cache_mib, &assets.max_minutes) {
            (Some(setting), _) => written(setting),
            (None, Some(setting)) => written(setting),
            (None, None) => Origin::Default("assets.cache_mib"),
        };
        let problem = format!(
            "assets.cache_mib must hold the longest sound, {minutes} minutes (assets.max_minutes): write {} or more",
            minutes * MIB_PER_MINUTE
        );
        return Err(reader.fail(&origin, problem));
    }
    Ok(Assets {
        max_file: mib(&assets.max_file_mib, 20, 1..=1_024)?,
        max_duration: std::time::Duration::from_secs(minutes * 60),
        max_files_per_app: reader.whole(
            &assets.max_files_per_app,
            1_000,
            0..=1_000_000,
            "files",
        )?,
        max_bytes_per_app: mib(&assets.max_mib_per_app, 1_024, 0..=1_048_576)?,
        cache,
        url_timeout: reader.seconds(&assets.url_timeout_s, 5, 1..=20)?,
        url_fresh: reader.seconds(&assets.url_fresh_s, 300, 0..=86_400)?,
    })
}
