//! Settings that are written as text: each reader says what would be right.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use crate::book::values::nearest;
use crate::book::{DtmfPolicy, HookContentType};
use crate::keying::{SrtpKeying, SrtpPolicy};

use super::{LogFormat, MediaBackend, rooms};

/// What is wrong with a value and what would be right.
pub type Problem = String;

/// Cores as the kernel writes them: `0-2,5`.
pub fn cores(text: &str) -> Result<Vec<usize>, Problem> {
    let problem = || format!("{text:?} is no list of cores; write e.g. \"1-3\" or \"0,2\"");
    let mut cores = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| problem())?;
        let last: usize = last.trim().parse().map_err(|_| problem())?;
        if first > last || last > 4096 {
            return Err(problem());
        }
        cores.extend(first..=last);
    }
    Ok(cores)
}

/// An address with its port.
pub fn listen(text: &str, example: &str) -> Result<SocketAddr, Problem> {
    text.parse().map_err(|_| {
        format!(
            "{text:?} is no address with a port; write e.g. \"{example}\" (IPv6 in brackets: \"[::]:{}\")",
            example.rsplit(':').next().unwrap_or_default()
        )
    })
}

/// An address that can be told to others.
pub fn public_ip(text: &str) -> Result<IpAddr, Problem> {
    let address: IpAddr = text.parse().map_err(|_| {
        format!("{text:?} is no IP address; write e.g. \"203.0.113.7\" (a name is not looked up)")
    })?;
    if address.is_unspecified() || address.is_multicast() {
        return Err(format!(
            "{text} cannot be reached by anyone; write the address that peers send to"
        ));
    }
    Ok(address)
}

/// A range of UDP ports.
pub fn ports(text: &str) -> Result<RangeInclusive<u16>, Problem> {
    let read = || {
        let (first, last) = text.split_once('-')?;
        let first: u16 = first.trim().parse().ok()?;
        let last: u16 = last.trim().parse().ok()?;
        (first > 0 && first < last).then_some(first..=last)
    };
    read().ok_or_else(|| {
        format!(
            "{text:?} is no range of ports; write first and last, e.g. \"30000-40000\" (1 to 65535)"
        )
    })
}

/// How many pairs of an even port and the odd one after it a range holds.
pub fn port_pairs(ports: &RangeInclusive<u16>) -> usize {
    let first = usize::from(*ports.start()).next_multiple_of(2);
    (usize::from(*ports.end()) + 1).saturating_sub(first) / 2
}

/// One of a few words.
fn word<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, Problem> {
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let hint = match nearest(text, words.iter().map(|(word, _)| *word)) {
        Some(word) => format!("; did you mean {word:?}?"),
        None => String::new(),
    };
    let known: Vec<String> = words.iter().map(|(word, _)| format!("{word:?}")).collect();
    Err(format!("{text:?} is none of {}{hint}", known.join(", ")))
}

pub fn log_level(text: &str) -> Result<tracing::Level, Problem> {
    word(
        text,
        &[
            ("error", tracing::Level::ERROR),
            ("warn", tracing::Level::WARN),
            ("info", tracing::Level::INFO),
            ("debug", tracing::Level::DEBUG),
            ("trace", tracing::Level::TRACE),
        ],
    )
}

pub fn log_format(text: &str) -> Result<LogFormat, Problem> {
    word(
        text,
        &[("text", LogFormat::Text), ("json", LogFormat::Json)],
    )
}

pub fn backend(text: &str) -> Result<MediaBackend, Problem> {
    word(
        text,
        &[
            ("auto", MediaBackend::Auto),
            ("uring", MediaBackend::Uring),
            ("poll", MediaBackend::Poll),
        ],
    )
}

pub fn srtp(text: &str) -> Result<SrtpPolicy, Problem> {
    word(
        text,
        &[
            ("off", SrtpPolicy::Off),
            ("optional", SrtpPolicy::Optional),
            ("required", SrtpPolicy::Required),
        ],
    )
}

pub fn srtp_keying(text: &str) -> Result<SrtpKeying, Problem> {
    word(
        text,
        &[("sdes", SrtpKeying::Sdes), ("dtls", SrtpKeying::Dtls)],
    )
}

pub fn dtmf(text: &str) -> Result<DtmfPolicy, Problem> {
    word(text, &DtmfPolicy::ALL.map(|policy| (policy.name(), policy)))
}

pub fn hook_content_type(text: &str) -> Result<HookContentType, Problem> {
    word(
        text,
        &[
            ("Json", HookContentType::Json),
            ("Protobuf", HookContentType::Protobuf),
        ],
    )
}

pub fn room_backend(text: &str) -> Result<rooms::Backend, Problem> {
    word(
        text,
        &[
            ("local", rooms::Backend::Local),
            ("external", rooms::Backend::External),
        ],
    )
}

/// Whether it is IPv6.
pub fn address_family(text: &str) -> Result<bool, Problem> {
    word(text, &[("ipv4", false), ("ipv6", true)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_read_as_the_kernel_writes_them() {
        assert_eq!(cores("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert_eq!(cores("3").unwrap(), [3]);
        for wrong in ["", "a", "3-1", "1-", "-1", "1,,2", "0-99999"] {
            assert!(cores(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn port_pairs_start_at_an_even_port_and_end_at_an_odd_one() {
        assert_eq!(port_pairs(&(30000..=30001)), 1);
        assert_eq!(port_pairs(&(30000..=40000)), 5000);
        assert_eq!(port_pairs(&(30001..=30002)), 0);
        assert_eq!(port_pairs(&(30001..=30003)), 1);
        assert_eq!(port_pairs(&(65534..=65535)), 1);
    }

    #[test]
    fn words_are_suggested() {
        assert!(
            hook_content_type("Jason")
                .unwrap_err()
                .contains("did you mean \"Json\"")
        );
        assert!(backend("io_uring").unwrap_err().contains("\"uring\""));
        assert!(
            log_level("INFO")
                .unwrap_err()
                .contains("did you mean \"info\"")
        );
    }
}
