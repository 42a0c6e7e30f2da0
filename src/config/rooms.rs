//! `[rooms]`: in the gateway, or on a media server.

use super::file::{self, File};
use super::resolve::{Origin, Reader, written};
use super::values::{self, Problem};
use super::{ConfigError, MediaServer, Rooms, Sip};

/// A month: no token of ours holds longer.
const LONGEST_S: u64 = 30 * 86_400;
/// A caller waits for two requests, and no HTTP request to us may take longer
/// than 30 s.
const LONGEST_TIMEOUT_S: u64 = 10;

/// Where rooms are, in a word.
#[derive(Clone, Copy)]
pub enum Backend {
    Local,
    External,
}

pub(super) fn rooms(reader: &Reader<'_>, file: &File, sip: &Sip) -> Result<Rooms, ConfigError> {
    let rooms = &file.rooms;
    let backend = match (&rooms.backend, &rooms.url) {
        (Some(setting), _) => values::room_backend(setting.get_ref())
            .map_err(|problem| reader.fail(&written(setting), problem))?,
        (None, None) => Backend::Local,
        (None, Some(url)) => {
            let problem = "is not used: rooms.backend is missing; set it to \"external\", or to \"local\" to keep rooms here";
            return Err(reader.fail(&written(url), problem));
        }
    };
    match backend {
        Backend::Local => Ok(Rooms::Local),
        Backend::External => external(reader, rooms, sip),
    }
}

fn external(reader: &Reader<'_>, rooms: &file::Rooms, sip: &Sip) -> Result<Rooms, ConfigError> {
    let Some(setting) = &rooms.url else {
        let problem = "is missing; rooms.backend = \"external\" needs the URL of the media server";
        return Err(reader.fail(&Origin::Default("rooms.url"), problem));
    };
    let (url, literal_ipv6) =
        base_url(setting.get_ref()).map_err(|problem| reader.fail(&written(setting), problem))?;
    let ipv6 = match &rooms.address_family {
        Some(setting) => values::address_family(setting.get_ref())
            .map_err(|problem| reader.fail(&written(setting), problem))?,
        // Where the URL does not tell, what we are reached by.
        None => literal_ipv6.unwrap_or(sip.listen.iter().all(|socket| socket.is_ipv6())),
    };
    Ok(Rooms::External(MediaServer {
        url,
        ipv6,
        token_ttl: reader.seconds(&rooms.token_ttl_s, 3_600, 1..=LONGEST_S)?,
        timeout: reader.seconds(&rooms.timeout_s, 5, 1..=LONGEST_TIMEOUT_S)?,
        give_up: reader.seconds(&rooms.give_up_s, 3_600, 1..=LONGEST_S)?,
    }))
}

/// The URL without a slash at its end, and whether its host is an IPv6
/// address; `None` where it is a name.
fn base_url(text: &str) -> Result<(String, Option<bool>), Problem> {
    let url = url::Url::parse(text).map_err(|error| {
        format!("{text:?} is no URL ({error}); write e.g. \"http://media.example.com:3000\"")
    })?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!(
            "{text:?} is neither an http:// nor an https:// URL"
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!(
            "{text:?} has a query or a fragment; paths are put at its end"
        ));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name; the media server is shown the app's secret instead".into());
    }
    let host = url.host_str().unwrap_or_default();
    let ipv6 = match host.parse::<std::net::Ipv4Addr>() {
        Ok(_) => Some(false),
        Err(_) if host.starts_with('[') => Some(true),
        Err(_) => None,
    };
    Ok((url.as_str().trim_end_matches('/').to_string(), ipv6))
}
