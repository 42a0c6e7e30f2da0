//! The two transforms on packets: where what is encrypted begins, what the tag
//! covers, and where both stand (RFC 3711 section 3, RFC 7714 sections 8 and 9).

use std::fmt;

use super::authentication::Message;
use super::counter_mode::{CounterMode, DueTag, ForeseenDigest};
use super::galois::{self, Galois};
use super::{ENCRYPTED, RTCP_HEADER, RTCP_INDEX};
use crate::media::drop_reason::DropReason;

/// Session keys of one direction and kind of packet. Never printed.
pub(super) enum Cipher {
    CounterMode(Box<CounterMode>),
    Galois(Box<Galois>),
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cipher::CounterMode(_) => "CounterMode(hidden)",
            Cipher::Galois(_) => "Galois(hidden)",
        })
    }
}

impl Cipher {
    /// Length of the tag on RTCP, in bytes.
    pub(super) fn rtcp_tag_len(&self) -> usize {
        match self {
            Cipher::CounterMode(cm) => cm.tag,
            Cipher::Galois(_) => galois::TAG,
        }
    }

    /// Where the E flag and index stand in an SRTCP packet of this length: in
    /// front of the tag (RFC 3711 figure 2), or behind it (RFC 7714 figure 4).
    pub(super) fn rtcp_index_at(&self, len: usize) -> usize {
        match self {
            Cipher::CounterMode(cm) => len - cm.tag - RTCP_INDEX,
            Cipher::Galois(_) => len - RTCP_INDEX,
        }
    }

    /// Encrypts `slot[header..len]`, and says how much is appended. GCM's tag
    /// is written; that of counter mode is left to [`Cipher::write_rtp_tag`] or
    /// [`Cipher::due_tag`].
    pub(super) fn encrypt_rtp(
        &self,
        slot: &mut [u8],
        header: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, DropReason> {
        match self {
            Cipher::CounterMode(cm) => {
                cm.apply(ssrc, index, &mut slot[header..len]);
                Ok(cm.tag)
            }
            Cipher::Galois(gcm) => {
                let (head, rest) = slot.split_at_mut(header);
                let (body, behind) = rest.split_at_mut(len - header);
                let tag = gcm.seal(gcm.rtp_iv(ssrc, index), head, body)?;
                behind[..galois::TAG].copy_from_slice(&tag);
                Ok(galois::TAG)
            }
        }
    }

    /// Writes the tag at the end of an encrypted packet, unless it is there.
    pub(super) fn write_rtp_tag(&self, packet: &mut [u8], index: u64) {
        if let Cipher::CounterMode(cm) = self {
            let (bytes, tag) = packet.split_at_mut(packet.len().saturating_sub(cm.tag));
            let digest = cm.message(bytes, Some(rollover(index))).digest();
            tag.copy_from_slice(&digest[..tag.len()]);
        }
    }

    /// What it takes to write that tag later, unless it is there.
    pub(super) fn due_tag(&self, index: u64) -> Option<DueTag> {
        match self {
            Cipher::CounterMode(cm) => Some(DueTag::new(cm, rollover(index))),
            Cipher::Galois(_) => None,
        }
    }

    /// Verifies the tag at the end of `slot[..len]`, decrypts what lies
    /// between, and says how long the tag was.
    pub(super) fn open_rtp(
        &self,
        slot: &mut [u8],
        header: usize,
        len: usize,
        (ssrc, index): (u32, u64),
        foreseen: Option<&ForeseenDigest>,
    ) -> Result<usize, DropReason> {
        match self {
            Cipher::CounterMode(cm) => {
                let end = len - cm.tag.min(len);
                if end < header {
                    return Err(DropReason::SrtpTooShort);
                }
                let (bytes, tag) = slot[..len].split_at_mut(end);
                cm.verify(bytes, Some(rollover(index)), tag, foreseen)?;
                cm.apply(ssrc, index, &mut bytes[header..]);
                Ok(cm.tag)
            }
            Cipher::Galois(gcm) => {
                if len < header + galois::TAG {
                    return Err(DropReason::SrtpTooShort);
                }
                let (head, body) = slot[..len].split_at_mut(header);
                gcm.open(gcm.rtp_iv(ssrc, index), head, body)?;
                Ok(galois::TAG)
            }
        }
    }

    /// What [`Cipher::open_rtp`] is going to authenticate; `None` for GCM.
    pub(super) fn foresee_rtp<'p>(
        &self,
        packet: &'p [u8],
        header: usize,
        index: u64,
    ) -> Option<Message<'p>> {
        let Cipher::CounterMode(cm) = self else {
            return None;
        };
        let end = packet.len().checked_sub(cm.tag)?;
        let bytes = packet.get(..end).filter(|bytes| bytes.len() >= header)?;
        Some(cm.message(bytes, Some(rollover(index))))
    }

    /// Encrypts an RTCP packet, and appends tag and index.
    pub(super) fn seal_rtcp(
        &self,
        slot: &mut [u8],
        len: usize,
        ssrc: u32,
        index: u32,
    ) -> Result<usize, DropReason> {
        let word = (index | ENCRYPTED).to_be_bytes();
        match self {
            Cipher::CounterMode(cm) => {
                cm.apply(ssrc, u64::from(index), &mut slot[RTCP_HEADER..len]);
                let end = len + RTCP_INDEX;
                slot[len..end].copy_from_slice(&word);
                let digest = cm.message(&slot[..end], None).digest();
                slot[end..end + cm.tag].copy_from_slice(&digest[..cm.tag]);
                Ok(RTCP_INDEX + cm.tag)
            }
            Cipher::Galois(gcm) => {
                let aad = rtcp_aad(slot, word);
                let (body, behind) = slot[RTCP_HEADER..].split_at_mut(len - RTCP_HEADER);
                let tag = gcm.seal(gcm.rtcp_iv(ssrc, index), &aad, body)?;
                behind[..galois::TAG].copy_from_slice(&tag);
                behind[galois::TAG..galois::TAG + RTCP_INDEX].copy_from_slice(&word);
                Ok(galois::TAG + RTCP_INDEX)
            }
        }
    }

    /// Undoes it; `word` is the E flag and index. A packet that is not
    /// encrypted but authentic is taken too (RFC 3711 section 3.4).
    pub(super) fn open_rtcp(
        &self,
        slot: &mut [u8],
        len: usize,
        ssrc: u32,
        word: u32,
    ) -> Result<usize, DropReason> {
        let (encrypted, index) = (word & ENCRYPTED != 0, word & !ENCRYPTED);
        match self {
            Cipher::CounterMode(cm) => {
                let (bytes, tag) = slot[..len].split_at_mut(len - cm.tag);
                cm.verify(bytes, None, tag, None)?;
                if encrypted {
                    let end = bytes.len() - RTCP_INDEX;
                    cm.apply(ssrc, u64::from(index), &mut bytes[RTCP_HEADER..end]);
                }
                Ok(RTCP_INDEX + cm.tag)
            }
            Cipher::Galois(gcm) => {
                if !encrypted {
                    // Nobody who speaks GCM sends it: both phases are one.
                    return Err(DropReason::SrtpAuthFailed);
                }
                let aad = rtcp_aad(slot, word.to_be_bytes());
                let body = &mut slot[RTCP_HEADER..len - RTCP_INDEX];
                gcm.open(gcm.rtcp_iv(ssrc, index), &aad, body)?;
                Ok(galois::TAG + RTCP_INDEX)
            }
        }
    }
}

/// RFC 3711 section 3.3.1: the upper part of the index.
fn rollover(index: u64) -> u32 {
    (index >> 16) as u32
}

/// RFC 7714 section 9.2: the header, then the E flag and index.
fn rtcp_aad(slot: &[u8], word: [u8; RTCP_INDEX]) -> [u8; RTCP_HEADER + RTCP_INDEX] {
    let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
    aad[..RTCP_HEADER].copy_from_slice(&slot[..RTCP_HEADER]);
    aad[RTCP_HEADER..].copy_from_slice(&word);
    aad
}
