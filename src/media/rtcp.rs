//! RTCP compounds: what is valid, reading the reports in them, and writing
//! reports of our own. What of a compound passes on to the other peer is in
//! [`super::feedback`].

/// Packet types (RFC 3550 section 12.1, RFC 4585 section 6.1).
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
pub(super) const GOODBYE: u8 = 203;
pub(super) const APPLICATION: u8 = 204;
pub(super) const TRANSPORT_FEEDBACK: u8 = 205;
pub(super) const PAYLOAD_FEEDBACK: u8 = 206;

/// Bytes of the common header, of a header with its SSRC, of the sender
/// information and of a report block (RFC 3550 section 6.4.1).
pub(super) const HEADER: usize = 4;
const WITH_SSRC: usize = 8;
const SENDER_INFO: usize = 20;
const REPORT_BLOCK: usize = 24;

/// SDES item type of the canonical name (RFC 3550 section 6.5.1).
const CNAME: u8 = 1;

/// Whether a packet on a port shared with RTP is RTCP (RFC 5761 section 4).
#[inline]
pub fn looks_like_rtcp(packet: &[u8]) -> bool {
    matches!(packet.get(1), Some(192..=223))
}

/// Whether this is a valid compound: version 2 throughout, lengths that add up
/// to the datagram, padding only in the last packet (RFC 3550 A.2). It may
/// start with any type (RFC 5506).
pub fn is_valid(compound: &[u8]) -> bool {
    let mut at = 0;
    while at < compound.len() {
        let Some(packet) = RawPacket::read(compound, at) else {
            return false;
        };
        let is_last = packet.end == compound.len();
        if packet.padded && !is_last {
            return false;
        }
        if packet.body_end < packet.start + packet.least() {
            return false;
        }
        at = packet.end;
    }
    !compound.is_empty()
}

/// What one side says of a stream that it receives (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReportBlock {
    /// Whose stream.
    pub ssrc: u32,
    /// Lost since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the start, 24 bits; negative when duplicates outweigh losses.
    pub cumulative_lost: i32,
    /// Extended highest sequence number that came.
    pub highest: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time in the last sender report that came of
    /// the stream; 0: none did.
    pub last_sender_report: u32,
    /// Time since that came, in 1/65536 s.
    pub delay: u32,
}

/// What the sender of a report says of its own stream (RFC 3550 section 6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SenderInfo {
    /// When the report was made, as a 64-bit NTP timestamp.
    pub ntp: u64,
    /// The same moment on the stream's own clock.
    pub rtp_time: u32,
    /// RTP packets sent since the start.
    pub packets: u32,
    /// Their payload bytes.
    pub octets: u32,
}

/// What a compound of a peer says that concerns our leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observed {
    /// The block about the stream that we send.
    pub block: Option<ReportBlock>,
    /// SSRC and middle 32 bits of the NTP time of its sender report.
    pub sender_report: Option<(u32, u32)>,
}

impl ReportBlock {
    fn read(compound: &[u8], at: usize) -> Option<ReportBlock> {
        let lost = word(compound, at + 4)?;
        Some(ReportBlock {
            ssrc: word(compound, at)?,
            fraction_lost: (lost >> 24) as u8,
            cumulative_lost: ((lost << 8) as i32) >> 8,
            highest: word(compound, at + 8)?,
            jitter: word(compound, at + 12)?,
            last_sender_report: word(compound, at + 16)?,
            delay: word(compound, at + 20)?,
        })
    }

    fn words(&self) -> [u32; 6] {
        // RFC 3550 A.3: 24 bits, signed, clamped rather than wrapped.
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        [
            self.ssrc,
            u32::from(self.fraction_lost) << 24 | lost,
            self.highest,
            self.jitter,
            self.last_sender_report,
            self.delay,
        ]
    }
}

/// What a valid compound reports of the stream `ours`, and its sender report
/// of the stream `theirs` (of any, where that is not known).
pub fn observe(compound: &[u8], ours: u32, theirs: Option<u32>) -> Observed {
    let mut observed = Observed::default();
    let mut at = 0;
    while let Some(packet) = RawPacket::read(compound, at) {
        for block in packet.report_blocks() {
            if word(compound, block) == Some(ours) {
                observed.block = ReportBlock::read(compound, block);
            }
        }
        if packet.kind == SENDER_REPORT
            && let Some(ssrc) = word(compound, packet.start + 4)
            && theirs.is_none_or(|theirs| theirs == ssrc)
            && let Some(ntp) = compound.get(packet.start + WITH_SSRC + 2..)
            && let Some(middle) = word(ntp, 0)
        {
            observed.sender_report = Some((ssrc, middle));
        }
        at = packet.end;
    }
    observed
}

/// Writes the start of a compound of our own: a sender report, or without
/// `sender` a receiver report, and the canonical name, which every compound
/// has to carry (RFC 3550 section 6.1).
pub fn write_report(
    out: &mut Vec<u8>,
    ssrc: u32,
    sender: Option<&SenderInfo>,
    block: Option<&ReportBlock>,
    cname: &str,
) {
    let mut words = vec![ssrc];
    if let Some(info) = sender {
        words.extend([(info.ntp >> 32) as u32, info.ntp as u32]);
        words.extend([info.rtp_time, info.packets, info.octets]);
    }
    words.extend(block.iter().flat_map(|block| block.words()));
    let kind = match sender {
        Some(_) => SENDER_REPORT,
        None => RECEIVER_REPORT,
    };
    write_header(out, u8::from(block.is_some()), kind, words.len());
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));

    let name = cname.as_bytes();
    let name = name.get(..usize::from(u8::MAX)).unwrap_or(name);
    // The item's type and length, and the null that ends the chunk, padded to
    // the next word (RFC 3550 section 6.5).
    let chunk = (2 + name.len() + 1).next_multiple_of(4);
    write_header(out, 1, SOURCE_DESCRIPTION, 1 + chunk / 4);
    out.extend(ssrc.to_be_bytes());
    out.extend([CNAME, name.len() as u8]);
    out.extend(name);
    out.resize(out.len() + chunk - 2 - name.len(), 0);
}

/// The header of a packet with so many words behind it.
pub(super) fn write_header(out: &mut Vec<u8>, count: u8, kind: u8, words: usize) {
    let length = (words as u16).to_be_bytes();
    out.extend([0x80 | (count & 0x1f), kind, length[0], length[1]]);
}

/// One packet of a compound, by its place in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawPacket {
    pub(super) kind: u8,
    pub(super) count: u8,
    padded: bool,
    pub(super) start: usize,
    /// Where its contents end, padding excluded.
    pub(super) body_end: usize,
    pub(super) end: usize,
}

impl RawPacket {
    pub(super) fn read(compound: &[u8], start: usize) -> Option<RawPacket> {
        let header = compound.get(start..)?.first_chunk::<HEADER>()?;
        if header[0] >> 6 != 2 {
            return None;
        }
        let words = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let end = start + HEADER + words * 4;
        let last = *compound.get(start..end)?.last()?;
        let padded = header[0] & 0x20 != 0;
        let padding = if padded { usize::from(last) } else { 0 };
        // RFC 3550 section 6.4.1: padding counts itself, in multiples of four.
        if padded && (padding == 0 || !padding.is_multiple_of(4) || padding > words * 4) {
            return None;
        }
        Some(RawPacket {
            kind: header[1],
            count: header[0] & 0x1f,
            padded,
            start,
            body_end: end - padding,
            end,
        })
    }

    /// Bytes that a packet of this type and count has at least.
    fn least(&self) -> usize {
        let count = usize::from(self.count);
        match self.kind {
            SENDER_REPORT => WITH_SSRC + SENDER_INFO + count * REPORT_BLOCK,
            RECEIVER_REPORT => WITH_SSRC + count * REPORT_BLOCK,
            SOURCE_DESCRIPTION | GOODBYE => HEADER + count * 4,
            APPLICATION | TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK => 12,
            _ => HEADER,
        }
    }

    /// Where its report blocks start; none in packets without such.
    fn report_blocks(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = match self.kind {
            SENDER_REPORT => (self.start + WITH_SSRC + SENDER_INFO, self.count),
            RECEIVER_REPORT => (self.start + WITH_SSRC, self.count),
            _ => (self.start, 0),
        };
        (0..usize::from(count)).map(move |n| first + n * REPORT_BLOCK)
    }
}

pub(super) fn word(buffer: &[u8], at: usize) -> Option<u32> {
    let bytes = buffer.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet of this count and type from words, its length filled in.
    fn packet(count: u8, kind: u8, words: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_header(&mut bytes, count, kind, words.len());
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes
    }

    const BLOCK: ReportBlock = ReportBlock {
        ssrc: 0xbbbb,
        fraction_lost: 0x40,
        cumulative_lost: -2,
        highest: 0x1_0005,
        jitter: 9,
        last_sender_report: 0x1234_5678,
        delay: 0x1_0000,
    };

    #[test]
    fn a_sender_report_is_written_as_the_rfc_draws_it_and_read_back() {
        let info = SenderInfo {
            ntp: 0xe000_0001_8000_0000,
            rtp_time: 1160,
            packets: 10,
            octets: 1600,
        };
        let mut bytes = Vec::new();
        write_report(&mut bytes, 0xaaaa, Some(&info), Some(&BLOCK), "abc");
        let words = [0xaaaa, 0xe000_0001, 0x8000_0000, 1160, 10, 1600];
        let block = [0xbbbb, 0x40ff_fffe, 0x1_0005, 9, 0x1234_5678, 0x1_0000];
        let mut expected = packet(1, SENDER_REPORT, &[words, block].concat());
        expected.extend(packet(
            1,
            SOURCE_DESCRIPTION,
            &[0xaaaa, 0x0103_6162, 0x6300_0000],
        ));
        assert_eq!(bytes, expected);
        assert!(is_valid(&bytes));
        let observed = Observed {
            block: Some(BLOCK),
            sender_report: Some((0xaaaa, 0x0001_8000)),
        };
        assert_eq!(observe(&bytes, 0xbbbb, None), observed);
        assert_eq!(observe(&bytes, 0xbbbb, Some(0xaaaa)), observed);
        assert_eq!(observe(&bytes, 0xcccc, Some(0xcccc)), Observed::default());
    }

    #[test]
    fn a_receiver_report_with_nothing_received_has_no_block() {
        let mut bytes = Vec::new();
        write_report(&mut bytes, 0xaaaa, None, None, "ab");
        let mut expected = packet(0, RECEIVER_REPORT, &[0xaaaa]);
        expected.extend(packet(1, SOURCE_DESCRIPTION, &[0xaaaa, 0x0102_6162, 0]));
        assert_eq!(bytes, expected);
    }

    #[test]
    fn losses_beyond_24_bits_are_clamped() {
        let lost = |cumulative_lost| {
            let block = ReportBlock {
                cumulative_lost,
                ..BLOCK
            };
            block.words()[1]
        };
        assert_eq!(lost(i32::MAX), 0x407f_ffff);
        assert_eq!(lost(i32::MIN), 0x4080_0000);
        assert_eq!(lost(-1), 0x40ff_ffff);
    }

    #[test]
    fn compounds_that_do_not_add_up_are_invalid() {
        let good = packet(0, RECEIVER_REPORT, &[1]);
        let padded = {
            let mut padded = packet(0, RECEIVER_REPORT, &[1, 4]);
            padded[0] |= 0x20;
            padded
        };
        assert!(is_valid(&padded));
        let mut version_1 = good.clone();
        version_1[0] = 0x40;
        let cases = [
            ("nothing", vec![]),
            ("three bytes", good[..3].to_vec()),
            ("cut", good[..7].to_vec()),
            ("a byte too many", [&good[..], &[0]].concat()),
            ("version 1", version_1),
            ("padding in the middle", [&padded[..], &good].concat()),
            ("blocks beyond the end", packet(1, RECEIVER_REPORT, &[1])),
            (
                "a sender report without its info",
                packet(0, SENDER_REPORT, &[1]),
            ),
            ("a bye of more than it holds", packet(3, GOODBYE, &[1])),
            (
                "feedback without a media source",
                packet(1, TRANSPORT_FEEDBACK, &[1]),
            ),
        ];
        for (name, bytes) in cases {
            assert!(!is_valid(&bytes), "{name}");
        }
    }

    #[test]
    fn a_reduced_size_compound_is_valid() {
        assert!(is_valid(&packet(1, TRANSPORT_FEEDBACK, &[1, 2, 3])));
    }
}
