//! RTCP compounds: what is valid, and rewriting them in place so that each
//! peer reads about the streams that it sends and receives itself.
//!
//! The gateway is a translator (RFC 3550 section 7.2) that also replaces the
//! SSRC, so every SSRC, RTP timestamp and sequence number is translated. What
//! cannot be translated truthfully (extended reports, feedback that names
//! foreign SSRCs) is taken out of the compound.

use super::stats::Reported;

/// Packet types (RFC 3550 section 12.1, RFC 4585 section 6.1).
const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const GOODBYE: u8 = 203;
const APPLICATION: u8 = 204;
const TRANSPORT_FEEDBACK: u8 = 205;
const PAYLOAD_FEEDBACK: u8 = 206;

/// Bytes of the common header, of a header with its SSRC, of the sender
/// information and of a report block (RFC 3550 section 6.4.1).
const HEADER: usize = 4;
const WITH_SSRC: usize = 8;
const SENDER_INFO: usize = 20;
const REPORT_BLOCK: usize = 24;

/// Feedback formats that are translated: generic NACK (RFC 4585 section
/// 6.2.1) and picture loss (section 6.3.1).
const GENERIC_NACK: u8 = 1;
const PICTURE_LOSS: u8 = 1;

/// Whether a packet on a port shared with RTP is RTCP (RFC 5761 section 4).
#[inline]
pub fn looks_like_rtcp(packet: &[u8]) -> bool {
    matches!(packet.get(1), Some(192..=223))
}

/// How to translate from what one peer says to what the other understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// The SSRC that the receiver of the compound knows its sender by.
    pub sender: u32,
    /// The sender's RTP stream as relayed; `None`: nothing was relayed.
    pub stream: Option<Stream>,
    /// The receiver's RTP stream as relayed to the sender of the compound.
    pub about: Option<About>,
}

/// A stream as its sender numbers it, and how it leaves here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// The sender's own SSRC.
    pub ssrc: u32,
    /// What is added to its timestamps.
    pub timestamp_offset: u32,
    /// Packets relayed so far.
    pub packets: u32,
    /// Payload bytes relayed so far.
    pub octets: u32,
}

/// A stream that the sender of the compound receives from us and reports on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// The SSRC it sees.
    pub from: u32,
    /// The SSRC of who sent it in the first place.
    pub to: u32,
    /// What was added to its sequence numbers.
    pub sequence_offset: u16,
    /// The extended highest sequence number that came from who sent it.
    pub highest: u32,
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

/// Notes what the compound reports of the stream `ssrc`.
pub fn observe(compound: &[u8], ssrc: u32, reported: &mut Option<Reported>) {
    let mut at = 0;
    while let Some(packet) = RawPacket::read(compound, at) {
        for block in packet.report_blocks() {
            if word(compound, block) == Some(ssrc) {
                let lost = word(compound, block + 4).unwrap_or(0);
                *reported = Some(Reported {
                    fraction_lost: (lost >> 24) as u8,
                    // 24 bits, signed (RFC 3550 section 6.4.1).
                    cumulative_lost: ((lost << 8) as i32) >> 8,
                    jitter: word(compound, block + 12).unwrap_or(0),
                });
            }
        }
        at = packet.end;
    }
}

/// Rewrites a valid compound in place and returns its new length, which is
/// never longer; 0 when nothing in it can be passed on.
pub fn translate(compound: &mut [u8], translation: &Translation) -> usize {
    let mut writer = Writer {
        buffer: compound,
        at: 0,
    };
    let mut at = 0;
    while let Some(packet) = RawPacket::read(writer.buffer, at) {
        at = packet.end;
        match packet.kind {
            SENDER_REPORT | RECEIVER_REPORT => report(&mut writer, &packet, translation),
            SOURCE_DESCRIPTION => source_description(&mut writer, &packet, translation),
            GOODBYE => goodbye(&mut writer, &packet, translation),
            APPLICATION => {
                let start = writer.at;
                writer.copy(packet.start, packet.body_end);
                writer.put(start + 4, translation.sender);
                writer.finish(start, packet.count, APPLICATION);
            }
            TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK => feedback(&mut writer, &packet, translation),
            _ => {}
        }
    }
    writer.at
}

/// One packet of a compound, by its place in it.
#[derive(Debug, Clone, Copy)]
struct RawPacket {
    kind: u8,
    count: u8,
    padded: bool,
    start: usize,
    /// Where its contents end, padding excluded.
    body_end: usize,
    end: usize,
}

impl RawPacket {
    fn read(compound: &[u8], start: usize) -> Option<RawPacket> {
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

/// Writes over what was read already: `at` never overtakes the reader.
struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl Writer<'_> {
    fn copy(&mut self, from: usize, to: usize) {
        if from <= to && to <= self.buffer.len() && self.at <= from {
            self.buffer.copy_within(from..to, self.at);
            self.at += to - from;
        }
    }

    fn put(&mut self, at: usize, value: u32) {
        if let Some(bytes) = self.buffer.get_mut(at..at + 4) {
            bytes.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// Writes the header of the packet that runs from `start` to here.
    fn finish(&mut self, start: usize, count: u8, kind: u8) {
        let words = (self.at - start) / 4;
        let length = (words.saturating_sub(1) as u16).to_be_bytes();
        if let Some(header) = self.buffer.get_mut(start..start + HEADER) {
            header.copy_from_slice(&[0x80 | (count & 0x1f), kind, length[0], length[1]]);
        }
    }
}

/// SR and RR (RFC 3550 sections 6.4.1 and 6.4.2). A sender report of a stream
/// that is not relayed becomes a receiver report: its blocks still hold.
fn report(writer: &mut Writer<'_>, packet: &RawPacket, translation: &Translation) {
    let start = writer.at;
    let ssrc = word(writer.buffer, packet.start + 4);
    let stream = translation
        .stream
        .filter(|stream| packet.kind == SENDER_REPORT && Some(stream.ssrc) == ssrc);
    writer.copy(packet.start, packet.start + WITH_SSRC);
    if let Some(stream) = stream {
        let info = writer.at;
        let from = packet.start + WITH_SSRC;
        writer.copy(from, from + SENDER_INFO);
        // Two words of NTP time stay; then RTP time, packets and octets.
        let rtp_time = word(writer.buffer, info + 8).unwrap_or(0);
        writer.put(info + 8, rtp_time.wrapping_add(stream.timestamp_offset));
        writer.put(info + 12, stream.packets);
        writer.put(info + 16, stream.octets);
    }
    let mut count = 0;
    for block in packet.report_blocks() {
        let Some(about) = translation
            .about
            .filter(|about| word(writer.buffer, block) == Some(about.from))
        else {
            continue;
        };
        let to = writer.at;
        writer.copy(block, block + REPORT_BLOCK);
        let highest = word(writer.buffer, to + 8).unwrap_or(0);
        writer.put(to, about.to);
        writer.put(to + 8, about.original_highest(highest));
        count += 1;
    }
    writer.put(start + 4, translation.sender);
    let kind = match stream {
        Some(_) => SENDER_REPORT,
        None => RECEIVER_REPORT,
    };
    writer.finish(start, count, kind);
}

impl About {
    /// The extended highest sequence number in the numbers of who sent the
    /// stream: the one next to what was seen of it here.
    fn original_highest(&self, reported: u32) -> u32 {
        let low = (reported as u16).wrapping_sub(self.sequence_offset);
        let behind = (self.highest as u16).wrapping_sub(low) as i16;
        self.highest.wrapping_sub(i32::from(behind) as u32)
    }
}

/// SDES (RFC 3550 section 6.5). A leg is one participant: its first chunk
/// describes it, further ones would describe strangers.
fn source_description(writer: &mut Writer<'_>, packet: &RawPacket, translation: &Translation) {
    if packet.count == 0 {
        return;
    }
    let mut end = packet.start + WITH_SSRC;
    loop {
        match writer.buffer.get(end) {
            Some(_) if end >= packet.body_end => return,
            // A null ends the chunk, padded to the next word.
            Some(0) => break,
            Some(_) => {
                let Some(len) = writer.buffer.get(end + 1) else {
                    return;
                };
                end += 2 + usize::from(*len);
            }
            None => return,
        }
    }
    let end = packet.start + (end - packet.start + 1).next_multiple_of(4);
    if end > packet.body_end {
        return;
    }
    let start = writer.at;
    writer.copy(packet.start, end);
    writer.put(start + 4, translation.sender);
    writer.finish(start, 1, SOURCE_DESCRIPTION);
}

/// BYE (RFC 3550 section 6.6): only when it ends the stream that is relayed,
/// not for an SSRC that the peer gave up on the way.
fn goodbye(writer: &mut Writer<'_>, packet: &RawPacket, translation: &Translation) {
    let list = packet.start + HEADER;
    let list_end = list + usize::from(packet.count) * 4;
    let ends_stream = match translation.stream {
        Some(stream) => (list..list_end)
            .step_by(4)
            .any(|at| word(writer.buffer, at) == Some(stream.ssrc)),
        None => packet.count > 0,
    };
    if !ends_stream {
        return;
    }
    let start = writer.at;
    writer.copy(packet.start, list + 4);
    writer.put(start + 4, translation.sender);
    writer.copy(list_end, packet.body_end);
    writer.finish(start, 1, GOODBYE);
}

/// Feedback about the relayed stream (RFC 4585 section 6.1): generic NACKs
/// with their sequence numbers translated, and picture loss.
fn feedback(writer: &mut Writer<'_>, packet: &RawPacket, translation: &Translation) {
    let Some(about) = translation
        .about
        .filter(|about| word(writer.buffer, packet.start + 8) == Some(about.from))
    else {
        return;
    };
    let nack = packet.kind == TRANSPORT_FEEDBACK && packet.count == GENERIC_NACK;
    let picture_loss = packet.kind == PAYLOAD_FEEDBACK && packet.count == PICTURE_LOSS;
    if !nack && !picture_loss {
        return;
    }
    let start = writer.at;
    writer.copy(packet.start, packet.body_end);
    writer.put(start + 4, translation.sender);
    writer.put(start + 8, about.to);
    if nack {
        for at in (start + 12..writer.at).step_by(4) {
            let entry = word(writer.buffer, at).unwrap_or(0);
            let lost = ((entry >> 16) as u16).wrapping_sub(about.sequence_offset);
            writer.put(at, (u32::from(lost) << 16) | (entry & 0xffff));
        }
    }
    writer.finish(start, packet.count, packet.kind);
}

fn word(buffer: &[u8], at: usize) -> Option<u32> {
    let bytes = buffer.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRANSLATION: Translation = Translation {
        sender: 0x0101_0101,
        stream: Some(Stream {
            ssrc: 0xaaaa,
            timestamp_offset: 1000,
            packets: 5,
            octets: 800,
        }),
        about: Some(About {
            from: 0xbbbb,
            to: 0xcccc,
            sequence_offset: 100,
            highest: 0x1_0005,
        }),
    };

    /// A packet of this count and type from words, its length filled in.
    fn packet(count: u8, kind: u8, words: &[u32]) -> Vec<u8> {
        let mut bytes = vec![0x80 | count, kind, 0, words.len() as u8];
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes
    }

    fn translated(compound: &[u8]) -> Vec<u8> {
        assert!(is_valid(compound));
        let mut bytes = compound.to_vec();
        let len = translate(&mut bytes, &TRANSLATION);
        bytes.truncate(len);
        assert!(len == 0 || is_valid(&bytes));
        bytes
    }

    const BLOCK: [u32; 6] = [0xbbbb, 7, 100, 9, 0, 0];
    const STRANGE_BLOCK: [u32; 6] = [0xdddd, 7, 100, 9, 0, 0];

    #[test]
    fn blocks_about_strangers_are_left_out() {
        let words = [&[0xaaaa][..], &STRANGE_BLOCK, &BLOCK].concat();
        let expected = [0x0101_0101, 0xcccc, 7, 0x1_0000, 9, 0, 0];
        assert_eq!(
            translated(&packet(2, RECEIVER_REPORT, &words)),
            packet(1, RECEIVER_REPORT, &expected)
        );
    }

    #[test]
    fn a_sender_report_of_a_stream_not_relayed_becomes_a_receiver_report() {
        let words = [&[0x9999, 1, 2, 3, 4, 5][..], &BLOCK].concat();
        let expected = [0x0101_0101, 0xcccc, 7, 0x1_0000, 9, 0, 0];
        assert_eq!(
            translated(&packet(1, SENDER_REPORT, &words)),
            packet(1, RECEIVER_REPORT, &expected)
        );
    }

    #[test]
    fn the_reported_sequence_number_is_the_one_next_to_what_came() {
        let about = |highest, sequence_offset| About {
            from: 0,
            to: 0,
            sequence_offset,
            highest,
        };
        assert_eq!(about(0x2_0005, 100).original_highest(105), 0x2_0005);
        assert_eq!(about(0x2_0005, 100).original_highest(98), 0x1_fffe);
        assert_eq!(about(0x1_fffe, 10).original_highest(12), 0x2_0002);
    }

    #[test]
    fn only_the_first_sdes_chunk_goes_on() {
        // CNAME "ab" and a null, padded; then a second chunk.
        let words = [0xaaaa, 0x0102_6162, 0, 0x9999, 0x0101_6300];
        let expected = [0x0101_0101, 0x0102_6162, 0];
        assert_eq!(
            translated(&packet(2, SOURCE_DESCRIPTION, &words)),
            packet(1, SOURCE_DESCRIPTION, &expected)
        );
    }

    #[test]
    fn a_bye_of_the_stream_goes_on_with_its_reason_and_another_does_not() {
        let words = [0x9999, 0xaaaa, 0x0362_7965];
        assert_eq!(
            translated(&packet(2, GOODBYE, &words)),
            packet(1, GOODBYE, &[0x0101_0101, 0x0362_7965])
        );
        assert!(translated(&packet(1, GOODBYE, &[0x9999])).is_empty());
    }

    #[test]
    fn nacks_are_translated_and_what_cannot_be_is_left_out() {
        let nack = packet(1, TRANSPORT_FEEDBACK, &[0xaaaa, 0xbbbb, 0x006e_0003]);
        assert_eq!(
            translated(&nack),
            packet(1, TRANSPORT_FEEDBACK, &[0x0101_0101, 0xcccc, 0x000a_0003])
        );
        let remb = packet(15, PAYLOAD_FEEDBACK, &[0xaaaa, 0, 0, 0]);
        let extended = packet(0, 207, &[0xaaaa, 1, 2]);
        assert!(translated(&[remb, extended].concat()).is_empty());
    }

    #[test]
    fn padding_is_taken_off() {
        let mut padded = packet(0, RECEIVER_REPORT, &[0xaaaa, 0, 8]);
        padded[0] |= 0x20;
        assert_eq!(
            translated(&padded),
            packet(0, RECEIVER_REPORT, &[0x0101_0101])
        );
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
