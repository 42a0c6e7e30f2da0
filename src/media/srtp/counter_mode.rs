//! AES in counter mode with HMAC-SHA1 (RFC 3711 section 4).

use aes::Aes128Enc;
use aes::cipher::KeyInit;
use subtle::ConstantTimeEq;

use super::authentication::{Digest, Keyed, Message};
use super::keystream;
use crate::media::drop_reason::DropReason;

pub(super) struct CounterMode {
    key: Aes128Enc,
    /// In the upper 112 bits (section 4.1.1); below is the block counter.
    salt: u128,
    keyed: Keyed,
    /// Length of the tag in bytes.
    pub(super) tag: usize,
}

impl CounterMode {
    pub(super) fn new(
        key: &[u8],
        salt: &[u8],
        authentication: &[u8; 20],
        tag: usize,
    ) -> Result<CounterMode, DropReason> {
        let mut padded = [0; 16];
        padded[..salt.len()].copy_from_slice(salt);
        Ok(CounterMode {
            key: Aes128Enc::new_from_slice(key).map_err(|_| DropReason::NotYetSecured)?,
            salt: u128::from_be_bytes(padded),
            keyed: Keyed::new(authentication),
            tag,
        })
    }

    /// Encrypts or decrypts (section 4.1.1).
    pub(super) fn apply(&self, ssrc: u32, index: u64, bytes: &mut [u8]) {
        let counter = u128::from(ssrc) << 64 | u128::from(index) << 16;
        keystream::apply(&self.key, counter ^ self.salt, bytes);
    }

    /// What the tag of these bytes is made of.
    pub(super) fn message<'b>(&self, bytes: &'b [u8], rollover: Option<u32>) -> Message<'b> {
        Message {
            keyed: self.keyed,
            bytes,
            rollover,
        }
    }

    /// Whether the tag is that of the bytes, in constant time.
    pub(super) fn verify(
        &self,
        bytes: &[u8],
        rollover: Option<u32>,
        tag: &[u8],
        foreseen: Option<&ForeseenDigest>,
    ) -> Result<(), DropReason> {
        let message = self.message(bytes, rollover);
        let digest = match foreseen {
            Some(foreseen) if foreseen.is_of(&message) => foreseen.digest,
            Some(_) | None => message.digest(),
        };
        match bool::from(digest[..self.tag].ct_eq(tag)) {
            true => Ok(()),
            false => Err(DropReason::SrtpAuthFailed),
        }
    }
}

/// A tag that is yet to be written behind its packet, in the room that was
/// left for it.
#[derive(Clone, Copy)]
pub(super) struct DueTag {
    keyed: Keyed,
    rollover: u32,
    tag: usize,
}

impl DueTag {
    pub(super) fn new(cipher: &CounterMode, rollover: u32) -> DueTag {
        DueTag {
            keyed: cipher.keyed,
            rollover,
            tag: cipher.tag,
        }
    }

    /// What it is made of.
    pub(super) fn message<'b>(&self, packet: &'b [u8]) -> Message<'b> {
        Message {
            keyed: self.keyed,
            bytes: &packet[..packet.len().saturating_sub(self.tag)],
            rollover: Some(self.rollover),
        }
    }

    pub(super) fn write(&self, packet: &mut [u8], digest: &Digest) {
        let at = packet.len().saturating_sub(self.tag);
        let tag = &mut packet[at..];
        tag.copy_from_slice(&digest[..tag.len()]);
    }
}

/// The digest of a packet that was received, worked out beside others before
/// its turn came.
#[derive(Clone, Copy)]
pub(super) struct ForeseenDigest {
    keyed: Keyed,
    /// Where in the packet its tag begins.
    end: usize,
    rollover: u32,
    digest: Digest,
}

impl ForeseenDigest {
    pub(super) fn new(message: &Message<'_>, digest: Digest) -> ForeseenDigest {
        ForeseenDigest {
            keyed: message.keyed,
            end: message.bytes.len(),
            rollover: message.rollover.unwrap_or(0),
            digest,
        }
    }

    /// Packets in front of it may have brought new keys or a rollover.
    fn is_of(&self, message: &Message<'_>) -> bool {
        self.keyed == message.keyed
            && self.end == message.bytes.len()
            && Some(self.rollover) == message.rollover
    }
}
