//! What operators watch and guard the signalling with: traces, a capture
//! server, limits, and whom not to listen to.

use std::time::Duration;

use ipnet::IpNet;

use super::file::{File, Setting, Whole};
use super::resolve::{Reader, written};
use super::{ConfigError, Hep, Limits, Scanners};
use crate::book::CallLimits;
use crate::book::values::{MAX_CALL_LIMIT, subnet};
use crate::trace::{HepSender, TraceSettings};

/// What programs on the same machine send is nobody's scan.
const NEVER_BAN: [&str; 2] = ["127.0.0.0/8", "::1/128"];
/// What the documentation of Homer gives its agents.
const CAPTURE_ID: u64 = 2001;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// `sip.trace` and its bounds.
pub(super) fn trace(reader: &Reader<'_>, file: &File) -> Result<TraceSettings, ConfigError> {
    let sip = &file.sip;
    let messages = reader.whole(&sip.trace_messages, 100, 2..=10_000, "messages")?;
    let call = reader.whole(&sip.trace_call_kib, 128, 4..=65_536, "KiB")?;
    let total = reader.whole(&sip.trace_total_mib, 64, 1..=65_536, "MiB")?;
    Ok(TraceSettings {
        enabled: sip.trace.as_ref().is_none_or(|on| *on.get_ref()),
        messages: messages as usize,
        bytes: (call * KIB) as usize,
        total_bytes: (total * MIB) as usize,
    })
}

/// `[limits]`
pub(super) fn limits(reader: &Reader<'_>, file: &File) -> Result<Limits, ConfigError> {
    let written = &file.limits;
    let limit = |setting: &Setting<Whole>| -> Result<Option<u32>, ConfigError> {
        let limit = reader.whole(setting, 0, 1..=MAX_CALL_LIMIT, "calls")?;
        Ok((limit > 0).then_some(limit as u32))
    };
    let lag = reader.whole(&written.max_lag_ms, 100, 0..=10_000, "milliseconds")?;
    Ok(Limits {
        max_calls_per_second: limit(&written.max_calls_per_second)?,
        per_app: CallLimits {
            max_calls: limit(&written.max_calls_per_app)?,
            max_calls_per_second: limit(&written.max_calls_per_second_per_app)?,
        },
        per_number: CallLimits {
            max_calls: limit(&written.max_calls_per_number)?,
            max_calls_per_second: limit(&written.max_calls_per_second_per_number)?,
        },
        max_lag: Duration::from_millis(lag),
    })
}

/// `[scanners]`
pub(super) fn scanners(reader: &Reader<'_>, file: &File) -> Result<Scanners, ConfigError> {
    let scanners = &file.scanners;
    let threshold = reader.whole(&scanners.threshold, 20, 1..=1_000_000, "requests")?;
    let never_ban = match &scanners.never_ban {
        Some(list) => list
            .iter()
            .map(|net| {
                let fail = |problem| reader.fail(&written(net), problem);
                subnet(net.get_ref()).map_err(fail)
            })
            .collect::<Result<Vec<IpNet>, _>>()?,
        None => NEVER_BAN
            .iter()
            .filter_map(|net| net.parse().ok())
            .collect(),
    };
    Ok(Scanners {
        enabled: scanners.enabled.as_ref().is_none_or(|on| *on.get_ref()),
        threshold: threshold as u32,
        window: reader.seconds(&scanners.window_s, 60, 1..=86_400)?,
        ban: reader.seconds(&scanners.ban_s, 600, 1..=30 * 86_400)?,
        never_ban,
    })
}

/// `[hep]`: without a collector nothing is exported.
pub(super) fn hep(reader: &Reader<'_>, file: &File) -> Result<Option<Hep>, ConfigError> {
    let hep = &file.hep;
    let capture_id = reader.whole(&hep.capture_id, CAPTURE_ID, 0..=u32::MAX.into(), "")?;
    let calls_only = match &hep.messages {
        None => true,
        Some(setting) => match setting.get_ref().as_str() {
            "calls" => true,
            "all" => false,
            other => {
                let problem = format!("{other:?} is neither \"calls\" nor \"all\"");
                return Err(reader.fail(&written(setting), problem));
            }
        },
    };
    let Some(collector) = &hep.collector else {
        return Ok(None);
    };
    let text = collector.get_ref().as_str();
    let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if !has_port {
        let problem = format!("{text:?} is no host:port; Homer listens on port 9060");
        return Err(reader.fail(&written(collector), problem));
    }
    Ok(Some(Hep {
        collector: text.to_string(),
        sender: HepSender {
            capture_id: capture_id as u32,
            auth_key: hep.auth_key.as_ref().map(|key| key.get_ref().clone()),
        },
        calls_only,
        mask: hep.mask.as_ref().is_none_or(|on| *on.get_ref()),
    }))
}
