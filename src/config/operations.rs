//! What operators watch and guard the signalling with: traces, limits, and
//! the like.

use super::ConfigError;
use super::file::File;
use super::resolve::Reader;
use crate::trace::TraceSettings;

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
