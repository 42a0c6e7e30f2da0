//! `[webrtc]`: the ports that browsers share.

use super::file::File;
use super::resolve::{Origin, Reader, written};
use super::{ConfigError, Sip, WebRtc, values};

/// UDP port of shard 0.
const PORT: u64 = 7882;
/// More handshakes per second than a core can do.
const MAX_HANDSHAKES: u64 = 100_000;

pub(super) fn webrtc(
    reader: &Reader<'_>,
    file: &File,
    shards: usize,
    sip: &Sip,
) -> Result<WebRtc, ConfigError> {
    let web = &file.webrtc;
    let enabled = web.enabled.as_ref().is_none_or(|on| *on.get_ref());
    let (port, origin) = port(reader, file)?;
    if enabled && port != 0 {
        let last = usize::from(port) + shards - 1;
        if last > usize::from(u16::MAX) {
            let problem = format!("{port} leaves no port for each of the {shards} shards");
            return Err(reader.fail(&origin, problem));
        }
        let ours = usize::from(port)..=last;
        if let Some(socket) = sip
            .listen
            .iter()
            .find(|socket| ours.contains(&usize::from(socket.port())))
        {
            let problem = format!(
                "takes port {} of sip.listen; keep the two apart",
                socket.port()
            );
            return Err(reader.fail(&origin, problem));
        }
    }
    let mut advertise = Vec::new();
    if let Some(setting) = &web.advertise {
        for text in &setting.get_ref().0 {
            let address = values::public_ip(text)
                .map_err(|problem| reader.fail(&written(setting), problem))?;
            advertise.push(address);
        }
    }
    let limit = |setting, default| {
        reader
            .whole(setting, default, 1..=MAX_HANDSHAKES, "handshakes")
            .map(|limit| limit as u32)
    };
    Ok(WebRtc {
        enabled,
        port,
        advertise,
        consent_timeout: reader.seconds(&web.consent_timeout_s, 30, 5..=3_600)?,
        handshakes_per_second: limit(&web.handshakes_per_second, 200)?,
        handshakes_per_second_per_address: limit(&web.handshakes_per_second_per_address, 20)?,
    })
}

fn port(reader: &Reader<'_>, file: &File) -> Result<(u16, Origin), ConfigError> {
    if let Some((text, origin)) = reader.environment("RINGWIRE_WEBRTC_PORT") {
        let problem = format!("{text:?} is no UDP port; write 0 to 65535 (0: a free one)");
        let port = text.parse().map_err(|_| reader.fail(&origin, problem))?;
        return Ok((port, origin));
    }
    let setting = &file.webrtc.port;
    let port = reader.whole(setting, PORT, 0..=65_535, "(a UDP port; 0: a free one)")?;
    let origin = setting
        .as_ref()
        .map_or(Origin::Default("webrtc.port"), written);
    Ok((port as u16, origin))
}
