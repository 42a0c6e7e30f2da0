//! STUN messages (RFC 8489), as far as ICE connectivity checks need them:
//! Binding requests, answered with success or an error. Reading allocates
//! nothing and trusts nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// Magic cookie (RFC 8489 section 5).
const MAGIC: u32 = 0x2112_a442;
/// Bytes of the header.
const HEADER: usize = 20;
/// Bytes of MESSAGE-INTEGRITY and of FINGERPRINT with their own headers.
const INTEGRITY: usize = 24;
const FINGERPRINT: usize = 8;
/// What FINGERPRINT's CRC-32 is XORed with (RFC 8489 section 14.7).
const FINGERPRINT_XOR: u32 = 0x5354_554e;
/// The one method that ICE uses.
const BINDING: u16 = 1;
/// Attributes that may be missed in silence start here (section 14).
const OPTIONAL_FROM: u16 = 0x8000;
/// Unknown attributes that an answer names at most.
const MAX_UNKNOWN: usize = 4;

mod kind {
    pub const USERNAME: u16 = 0x0006;
    pub const MESSAGE_INTEGRITY: u16 = 0x0008;
    pub const ERROR_CODE: u16 = 0x0009;
    pub const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
    pub const XOR_MAPPED_ADDRESS: u16 = 0x0020;
    pub const PRIORITY: u16 = 0x0024;
    pub const USE_CANDIDATE: u16 = 0x0025;
    pub const FINGERPRINT: u16 = 0x8028;
    pub const ICE_CONTROLLED: u16 = 0x8029;
    pub const ICE_CONTROLLING: u16 = 0x802a;
}

/// What a message is (RFC 8489 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Wants an answer.
    Request,
    /// Wants none.
    Indication,
    /// An answer.
    Success,
    /// An answer that refuses.
    Error,
}

/// Which side of ICE the sender takes itself for (RFC 8445 section 7.1.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IceRole {
    /// It chooses the pair.
    Controlling,
    /// It leaves the choice to us.
    Controlled,
}

/// Why a datagram is no STUN message for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StunError {
    /// Header, lengths or an attribute do not hold together.
    #[error("not a STUN message")]
    Malformed,
    /// FINGERPRINT is missing, or is not the message's (RFC 8445 section 7.1
    /// demands it).
    #[error("no valid FINGERPRINT")]
    Fingerprint,
}

/// A message that was read; borrows the datagram.
#[derive(Debug, Clone)]
pub struct Message<'m> {
    /// What it is.
    pub class: Class,
    /// Whether its method is Binding.
    pub is_binding: bool,
    /// Names the transaction.
    pub transaction: [u8; 12],
    /// USERNAME.
    pub username: Option<&'m str>,
    /// PRIORITY (RFC 8445 section 7.1.1).
    pub priority: Option<u32>,
    /// USE-CANDIDATE (RFC 8445 section 7.1.2).
    pub use_candidate: bool,
    /// ICE-CONTROLLING or ICE-CONTROLLED.
    pub role: Option<IceRole>,
    /// XOR-MAPPED-ADDRESS.
    pub mapped: Option<SocketAddr>,
    /// ERROR-CODE.
    pub error: Option<u16>,
    unknown: [u16; MAX_UNKNOWN],
    unknown_count: usize,
    integrity_at: Option<usize>,
    bytes: &'m [u8],
}

impl<'m> Message<'m> {
    /// Reads a datagram and checks its FINGERPRINT. Attributes behind
    /// MESSAGE-INTEGRITY do not count (RFC 8489 section 14.5).
    ///
    /// # Errors
    /// [`StunError`] when it is not one whole message.
    pub fn parse(bytes: &'m [u8]) -> Result<Message<'m>, StunError> {
        use StunError::Malformed;
        let header = bytes.get(..HEADER).ok_or(Malformed)?;
        let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let (kind, length) = (word(0), usize::from(word(2)));
        if kind & 0xc000 != 0
            || bytes[4..8] != MAGIC.to_be_bytes()
            || !length.is_multiple_of(4)
            || bytes.len() != HEADER + length
        {
            return Err(Malformed);
        }
        let mut message = Message {
            class: match kind & 0x0110 {
                0x0000 => Class::Request,
                0x0010 => Class::Indication,
                0x0100 => Class::Success,
                _ => Class::Error,
            },
            is_binding: kind & !0x0110 == BINDING,
            transaction: header[8..20].try_into().map_err(|_| Malformed)?,
            username: None,
            priority: None,
            use_candidate: false,
            role: None,
            mapped: None,
            error: None,
            unknown: [0; MAX_UNKNOWN],
            unknown_count: 0,
            integrity_at: None,
            bytes,
        };
        let mut at = HEADER;
        let mut has_fingerprint = false;
        while at < bytes.len() {
            let (kind, value) = attribute(bytes, at).ok_or(Malformed)?;
            if kind == kind::FINGERPRINT {
                let expected = crc32(&bytes[..at]) ^ FINGERPRINT_XOR;
                // It is the last one (section 14.7).
                has_fingerprint =
                    value == expected.to_be_bytes() && at + FINGERPRINT == bytes.len();
            } else if message.integrity_at.is_none() {
                message.take(kind, value, at)?;
            }
            at += 4 + value.len().next_multiple_of(4);
        }
        match has_fingerprint {
            true => Ok(message),
            false => Err(StunError::Fingerprint),
        }
    }

    /// Whether MESSAGE-INTEGRITY was made with this password (RFC 8489
    /// section 14.5, short-term credentials). Compared in constant time.
    pub fn is_authentic(&self, password: &str) -> bool {
        let Some(at) = self.integrity_at else {
            return false;
        };
        let Some(tag) = self.bytes.get(at + 4..at + INTEGRITY) else {
            return false;
        };
        let Some(mut mac) = keyed(password) else {
            return false;
        };
        // The length counts up to the end of MESSAGE-INTEGRITY.
        let length = (at + INTEGRITY - HEADER) as u16;
        mac.update(&self.bytes[..2]);
        mac.update(&length.to_be_bytes());
        mac.update(&self.bytes[4..at]);
        mac.verify_slice(tag).is_ok()
    }

    /// Attributes that had to be understood and were not.
    pub fn unknown(&self) -> &[u16] {
        &self.unknown[..self.unknown_count]
    }

    fn take(&mut self, kind: u16, value: &'m [u8], at: usize) -> Result<(), StunError> {
        use StunError::Malformed;
        match kind {
            kind::USERNAME => {
                self.username = Some(std::str::from_utf8(value).map_err(|_| Malformed)?);
            }
            kind::MESSAGE_INTEGRITY => {
                if value.len() != INTEGRITY - 4 {
                    return Err(Malformed);
                }
                self.integrity_at = Some(at);
            }
            kind::PRIORITY => {
                let value = value.try_into().map_err(|_| Malformed)?;
                self.priority = Some(u32::from_be_bytes(value));
            }
            kind::USE_CANDIDATE => self.use_candidate = true,
            kind::ICE_CONTROLLING => self.role = Some(IceRole::Controlling),
            kind::ICE_CONTROLLED => self.role = Some(IceRole::Controlled),
            kind::XOR_MAPPED_ADDRESS => {
                self.mapped = Some(unmask(value, &self.transaction).ok_or(Malformed)?);
            }
            kind::ERROR_CODE => {
                let [_, _, class, number, ..] = value else {
                    return Err(Malformed);
                };
                self.error = Some(u16::from(class & 7) * 100 + u16::from(*number));
            }
            kind::UNKNOWN_ATTRIBUTES => {}
            _ if kind < OPTIONAL_FROM => {
                if let Some(place) = self.unknown.get_mut(self.unknown_count) {
                    *place = kind;
                    self.unknown_count += 1;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The attribute that starts at `at`, without its padding.
fn attribute(bytes: &[u8], at: usize) -> Option<(u16, &[u8])> {
    let header = bytes.get(at..at + 4)?;
    let kind = u16::from_be_bytes([header[0], header[1]]);
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let padded = bytes.get(at + 4..at + 4 + length.next_multiple_of(4))?;
    Some((kind, &padded[..length]))
}

/// XOR-MAPPED-ADDRESS (RFC 8489 section 14.2).
fn unmask(value: &[u8], transaction: &[u8; 12]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes([*value.get(2)?, *value.get(3)?]) ^ (MAGIC >> 16) as u16;
    let mask = mask(transaction);
    let ip: IpAddr = match (value[1], &value[4..]) {
        (1, ip) => {
            let ip: [u8; 4] = ip.try_into().ok()?;
            Ipv4Addr::from_bits(u32::from_be_bytes(ip) ^ MAGIC).into()
        }
        (2, ip) => {
            let ip: [u8; 16] = ip.try_into().ok()?;
            Ipv6Addr::from_bits(u128::from_be_bytes(ip) ^ mask).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn mask(transaction: &[u8; 12]) -> u128 {
    let mut mask = [0; 16];
    mask[..4].copy_from_slice(&MAGIC.to_be_bytes());
    mask[4..].copy_from_slice(transaction);
    u128::from_be_bytes(mask)
}

fn keyed(password: &str) -> Option<Hmac<Sha1>> {
    Hmac::new_from_slice(password.as_bytes()).ok()
}

/// A message in the making.
#[derive(Debug)]
pub struct Builder {
    bytes: Vec<u8>,
}

impl Builder {
    /// A Binding message of this class.
    pub fn binding(class: Class, transaction: [u8; 12]) -> Builder {
        let class = match class {
            Class::Request => 0x0000,
            Class::Indication => 0x0010,
            Class::Success => 0x0100,
            Class::Error => 0x0110,
        };
        let mut bytes = Vec::with_capacity(128);
        bytes.extend((BINDING | class).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(MAGIC.to_be_bytes());
        bytes.extend(transaction);
        Builder { bytes }
    }

    /// USERNAME.
    pub fn username(self, name: &str) -> Builder {
        self.attribute(kind::USERNAME, name.as_bytes())
    }

    /// PRIORITY.
    pub fn priority(self, priority: u32) -> Builder {
        self.attribute(kind::PRIORITY, &priority.to_be_bytes())
    }

    /// ICE-CONTROLLING or ICE-CONTROLLED with its tie breaker.
    pub fn role(self, role: IceRole, tie_breaker: u64) -> Builder {
        let kind = match role {
            IceRole::Controlling => kind::ICE_CONTROLLING,
            IceRole::Controlled => kind::ICE_CONTROLLED,
        };
        self.attribute(kind, &tie_breaker.to_be_bytes())
    }

    /// USE-CANDIDATE.
    pub fn use_candidate(self) -> Builder {
        self.attribute(kind::USE_CANDIDATE, &[])
    }

    /// XOR-MAPPED-ADDRESS.
    pub fn mapped(self, address: SocketAddr) -> Builder {
        let transaction: [u8; 12] = self.bytes[8..HEADER].try_into().unwrap_or_default();
        let port = (address.port() ^ (MAGIC >> 16) as u16).to_be_bytes();
        let mut value = vec![0, 1, port[0], port[1]];
        match address.ip() {
            IpAddr::V4(ip) => value.extend((ip.to_bits() ^ MAGIC).to_be_bytes()),
            IpAddr::V6(ip) => {
                value[1] = 2;
                value.extend((ip.to_bits() ^ mask(&transaction)).to_be_bytes());
            }
        }
        self.attribute(kind::XOR_MAPPED_ADDRESS, &value)
    }

    /// ERROR-CODE (RFC 8489 section 14.8).
    pub fn error(self, code: u16, reason: &str) -> Builder {
        let mut value = vec![0, 0, (code / 100) as u8, (code % 100) as u8];
        value.extend(reason.as_bytes());
        self.attribute(kind::ERROR_CODE, &value)
    }

    /// UNKNOWN-ATTRIBUTES (RFC 8489 section 14.9).
    pub fn unknown(self, kinds: &[u16]) -> Builder {
        let value: Vec<u8> = kinds.iter().flat_map(|kind| kind.to_be_bytes()).collect();
        self.attribute(kind::UNKNOWN_ATTRIBUTES, &value)
    }

    /// Any attribute; its value is cut at 65,535 bytes.
    pub fn attribute(mut self, kind: u16, value: &[u8]) -> Builder {
        let value = &value[..value.len().min(usize::from(u16::MAX))];
        self.bytes.extend(kind.to_be_bytes());
        self.bytes.extend((value.len() as u16).to_be_bytes());
        self.bytes.extend(value);
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
        self.set_length(0);
        self
    }

    /// Signs it with the password and closes it with a FINGERPRINT.
    pub fn signed(mut self, password: &str) -> Vec<u8> {
        self.set_length(INTEGRITY);
        let tag: [u8; INTEGRITY - 4] = match keyed(password) {
            Some(mut mac) => {
                mac.update(&self.bytes);
                mac.finalize().into_bytes().into()
            }
            None => [0; INTEGRITY - 4],
        };
        self.attribute(kind::MESSAGE_INTEGRITY, &tag).unsigned()
    }

    /// Closes it with a FINGERPRINT alone.
    pub fn unsigned(mut self) -> Vec<u8> {
        self.set_length(FINGERPRINT);
        let crc = crc32(&self.bytes) ^ FINGERPRINT_XOR;
        self.attribute(kind::FINGERPRINT, &crc.to_be_bytes()).bytes
    }

    fn set_length(&mut self, more: usize) {
        let length = (self.bytes.len() + more - HEADER) as u16;
        self.bytes[2..4].copy_from_slice(&length.to_be_bytes());
    }
}

/// CRC-32 of ISO 3309 (as in Ethernet), by nibbles.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 16] = {
        let mut table = [0u32; 16];
        let mut n = 0;
        while n < 16 {
            let mut value = n as u32;
            let mut bit = 0;
            while bit < 4 {
                value = (value >> 1) ^ (0xedb8_8320 * (value & 1));
                bit += 1;
            }
            table[n] = value;
            n += 1;
        }
        table
    };
    let mut crc = !0u32;
    for byte in bytes {
        crc ^= u32::from(*byte);
        crc = (crc >> 4) ^ TABLE[(crc & 15) as usize];
        crc = (crc >> 4) ^ TABLE[(crc & 15) as usize];
    }
    !crc
}

#[cfg(test)]
mod tests;
