//! SRTP and SRTCP (RFC 3711, RFC 7714): packets are protected and unprotected
//! in their slot, without allocation. Key schedules and the HMAC's first block
//! are worked out once per key.
//!
//! No MKI and no encrypted header extensions are spoken; neither is ever
//! offered.

mod authentication;
mod cipher;
mod counter_mode;
mod derive;
mod galois;
mod keystream;
mod lanes;
mod replay;
mod side_by_side;
#[cfg(test)]
mod tests;

use super::drop_reason::DropReason;
use super::packet::{Packet, TRAILER_ROOM};
use crate::keying::MasterKey;
use cipher::Cipher;
use counter_mode::ForeseenDigest;
use derive::Stream as Which;
use replay::{Replay, Window};
pub(super) use side_by_side::ForeseeableMessage;
pub use side_by_side::SideBySide;

/// SSRCs of one sender that are kept apart at a time. A leg has one; a few
/// more cover its changes. Only authenticated packets bring one in.
const MAX_SSRCS: usize = 8;
/// The fixed part of an RTP header (RFC 3550 section 5.1).
const RTP_HEADER: usize = 12;
/// What of an RTCP packet stays readable (RFC 3711 section 3.4).
const RTCP_HEADER: usize = 8;
/// The E flag and the SRTCP index.
const RTCP_INDEX: usize = 4;
/// The E flag: the packet is encrypted.
const ENCRYPTED: u32 = 1 << 31;
/// Sequence numbers are 16 bits: half of their space (RFC 3711 section 3.3.1).
const HALF: u16 = 0x8000;

/// A packet that is known to have room behind it for whatever protection
/// appends. There is no other way to have one protected.
#[derive(Debug)]
pub struct Sealable<'p, 'b>(&'p mut Packet<'b>);

impl<'p, 'b> Sealable<'p, 'b> {
    /// The packet, if its slot has [`TRAILER_ROOM`] left.
    ///
    /// # Errors
    /// [`DropReason::NoTrailerRoom`] when it has not.
    pub fn new(packet: &'p mut Packet<'b>) -> Result<Self, DropReason> {
        let len = packet.len();
        if packet.slot_mut().len().saturating_sub(len) < TRAILER_ROOM {
            return Err(DropReason::NoTrailerRoom);
        }
        Ok(Sealable(packet))
    }
}

/// Protects what one SSRC of ours sends.
#[derive(Debug)]
pub struct Protector {
    rtp: Cipher,
    rtcp: Cipher,
    window: Window,
    rtcp_index: u32,
}

impl Protector {
    /// With fresh counters.
    ///
    /// # Errors
    /// [`DropReason::NotYetSecured`] when key or salt are not of the suite's
    /// length.
    pub fn new(key: &MasterKey) -> Result<Self, DropReason> {
        Ok(Protector {
            rtp: derive::cipher(key, Which::Rtp)?,
            rtcp: derive::cipher(key, Which::Rtcp)?,
            window: Window::default(),
            rtcp_index: 0,
        })
    }

    /// RTP to SRTP.
    ///
    /// # Errors
    /// The packet is none, was sent before (with GCM its keystream would
    /// repeat), is older than the window, or the key is used up.
    pub fn rtp(&mut self, packet: Sealable<'_, '_>) -> Result<(), DropReason> {
        let packet = packet.0;
        let index = self.encrypt(packet)?;
        self.rtp.write_rtp_tag(packet.bytes_mut(), index);
        Ok(())
    }

    /// The same for the packet of a batch whose turn it is: its tag may be left
    /// to the end of the batch.
    ///
    /// # Errors
    /// As [`Protector::rtp`].
    pub fn rtp_in_batch(
        &mut self,
        packet: Sealable<'_, '_>,
        batch: &mut SideBySide,
    ) -> Result<(), DropReason> {
        let index = self.encrypt(packet.0)?;
        if let Some(tag) = self.rtp.due_tag(index) {
            batch.due(tag);
        }
        Ok(())
    }

    fn encrypt(&mut self, packet: &mut Packet<'_>) -> Result<u64, DropReason> {
        let header = rtp_header(packet.bytes())?;
        let index = self.window.guess_unseen(header.sequence)?;
        let len = packet.len();
        let more = self
            .rtp
            .encrypt_rtp(packet.slot_mut(), header.len, len, header.ssrc, index)?;
        packet.set_len(len + more);
        self.window.accept(index);
        Ok(index)
    }

    /// RTCP to SRTCP.
    ///
    /// # Errors
    /// The packet is too short, or the key is used up.
    pub fn rtcp(&mut self, packet: Sealable<'_, '_>) -> Result<(), DropReason> {
        let packet = packet.0;
        let len = packet.len();
        if len < RTCP_HEADER {
            return Err(DropReason::SrtpTooShort);
        }
        // RFC 3711 section 9.2: 2^31 packets to a key.
        if self.rtcp_index + 1 >= ENCRYPTED {
            return Err(DropReason::SrtpKeyExhausted);
        }
        self.rtcp_index += 1;
        let ssrc = be32(packet.bytes(), 4);
        let more = self
            .rtcp
            .seal_rtcp(packet.slot_mut(), len, ssrc, self.rtcp_index)?;
        packet.set_len(len + more);
        Ok(())
    }
}

/// Unprotects what a peer sends.
#[derive(Debug)]
pub struct Unprotector {
    rtp: Cipher,
    rtcp: Cipher,
    streams: Vec<PeerStream>,
}

#[derive(Debug)]
struct PeerStream {
    ssrc: u32,
    rtp: Window,
    rtcp: Replay,
}

impl Unprotector {
    /// With fresh counters.
    ///
    /// # Errors
    /// As [`Protector::new`].
    pub fn new(key: &MasterKey) -> Result<Self, DropReason> {
        Ok(Unprotector {
            rtp: derive::cipher(key, Which::Rtp)?,
            rtcp: derive::cipher(key, Which::Rtcp)?,
            streams: Vec::new(),
        })
    }

    /// SRTP to RTP. Nothing is remembered of a packet that is refused, and its
    /// bytes are of no use any more.
    ///
    /// # Errors
    /// Too short, a replay, or not authentic.
    pub fn rtp(&mut self, packet: &mut Packet<'_>) -> Result<(), DropReason> {
        self.open(packet, None)
    }

    /// The same for the packet of a batch whose turn it is: its digest may be
    /// known by now.
    ///
    /// # Errors
    /// As [`Unprotector::rtp`].
    pub fn rtp_in_batch(
        &mut self,
        packet: &mut Packet<'_>,
        batch: &mut SideBySide,
    ) -> Result<(), DropReason> {
        match &self.rtp {
            Cipher::CounterMode(_) => self.open(packet, batch.foreseen()),
            Cipher::Galois(_) => self.open(packet, None),
        }
    }

    fn open(
        &mut self,
        packet: &mut Packet<'_>,
        foreseen: Option<&ForeseenDigest>,
    ) -> Result<(), DropReason> {
        let header = rtp_header(packet.bytes())?;
        let len = packet.len();
        let known = self.streams.iter_mut().find(|s| s.ssrc == header.ssrc);
        let index = match &known {
            Some(stream) => stream.rtp.guess_unseen(header.sequence)?,
            None => Window::default().guess_unseen(header.sequence)?,
        };
        let slot = packet.slot_mut();
        let source = (header.ssrc, index);
        let less = self.rtp.open_rtp(slot, header.len, len, source, foreseen)?;
        packet.set_len(len - less);
        match known {
            Some(stream) => stream.rtp.accept(index),
            None => self.stream(header.ssrc).rtp.accept(index),
        }
        Ok(())
    }

    /// What is to be authenticated of this packet, as far as can be told before
    /// the packets in front of it; `None` when there is nothing to gain.
    pub(super) fn foresee<'p>(&self, packet: &'p Packet<'_>) -> Option<ForeseeableMessage<'p>> {
        let header = rtp_header(packet.bytes()).ok()?;
        let known = self.streams.iter().find(|s| s.ssrc == header.ssrc);
        let index = match known {
            Some(stream) => stream.rtp.guess_unseen(header.sequence).ok()?,
            None => Window::default().guess_unseen(header.sequence).ok()?,
        };
        let message = self.rtp.foresee_rtp(packet.bytes(), header.len, index)?;
        Some(ForeseeableMessage(message))
    }

    /// Whether packets in a batch gain by being looked at beforehand.
    pub(super) fn is_foreseeable(&self) -> bool {
        matches!(self.rtp, Cipher::CounterMode(_))
    }

    /// SRTCP to RTCP.
    ///
    /// # Errors
    /// Too short, a replay, or not authentic.
    pub fn rtcp(&mut self, packet: &mut Packet<'_>) -> Result<(), DropReason> {
        let len = packet.len();
        if len < RTCP_HEADER + RTCP_INDEX + self.rtcp.rtcp_tag_len() {
            return Err(DropReason::SrtpTooShort);
        }
        let ssrc = be32(packet.bytes(), 4);
        let slot = packet.slot_mut();
        let word_at = self.rtcp.rtcp_index_at(len);
        let word = be32(slot, word_at);
        let index = u64::from(word & !ENCRYPTED);
        if let Some(known) = self.streams.iter().find(|s| s.ssrc == ssrc) {
            known.rtcp.check(index)?;
        }
        let less = self.rtcp.open_rtcp(slot, len, ssrc, word)?;
        packet.set_len(len - less);
        self.stream(ssrc).rtcp.accept(index);
        Ok(())
    }

    /// The stream of an SSRC that has just proved itself.
    fn stream(&mut self, ssrc: u32) -> &mut PeerStream {
        let place = match self.streams.iter().position(|s| s.ssrc == ssrc) {
            Some(place) => place,
            None => {
                if self.streams.len() >= MAX_SSRCS {
                    self.streams.remove(0);
                }
                self.streams.push(PeerStream {
                    ssrc,
                    rtp: Window::default(),
                    rtcp: Replay::default(),
                });
                self.streams.len() - 1
            }
        };
        &mut self.streams[place]
    }
}

struct RtpHeader {
    /// With CSRCs and extension: what stays readable.
    len: usize,
    sequence: u16,
    ssrc: u32,
}

/// RFC 3550 section 5.1.
fn rtp_header(bytes: &[u8]) -> Result<RtpHeader, DropReason> {
    if bytes.len() < RTP_HEADER {
        return Err(DropReason::SrtpTooShort);
    }
    let mut len = RTP_HEADER + 4 * usize::from(bytes[0] & 0x0f);
    if bytes[0] & 0x10 != 0 {
        if bytes.len() < len + 4 {
            return Err(DropReason::SrtpTooShort);
        }
        let words = u16::from_be_bytes([bytes[len + 2], bytes[len + 3]]);
        len += 4 + 4 * usize::from(words);
    }
    if bytes.len() < len {
        return Err(DropReason::SrtpTooShort);
    }
    Ok(RtpHeader {
        len,
        sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
        ssrc: be32(bytes, 8),
    })
}

/// Four bytes of a packet whose length was checked.
fn be32(bytes: &[u8], at: usize) -> u32 {
    bytes
        .get(at..at + 4)
        .and_then(|four| four.try_into().ok())
        .map_or(0, u32::from_be_bytes)
}
