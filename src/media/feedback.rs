//! What of a peer's RTCP passes on to the other: feedback, farewells and
//! application packets, rewritten so that each peer reads about the streams
//! that it sends and receives itself.
//!
//! Reports and descriptions end here and are made anew (see
//! [`super::reports`]). What cannot be translated truthfully (extended reports,
//! feedback that names foreign SSRCs) goes no further.

use super::rtcp::{
    APPLICATION, GOODBYE, HEADER, PAYLOAD_FEEDBACK, RawPacket, TRANSPORT_FEEDBACK, word,
    write_header,
};

/// Feedback formats that are translated: generic NACK (RFC 4585 section
/// 6.2.1) and picture loss (section 6.3.1).
const GENERIC_NACK: u8 = 1;
const PICTURE_LOSS: u8 = 1;

/// How to translate from what one peer says to what the other understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Translation {
    /// The SSRC that the receiver of the compound knows its sender by.
    pub sender: u32,
    /// The sender's own SSRC of its RTP stream as relayed; `None`: nothing was
    /// relayed.
    pub stream: Option<u32>,
    /// The receiver's RTP stream as relayed to the sender of the compound.
    pub about: Option<About>,
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

impl About {
    /// The extended highest sequence number in the numbers of who sent the
    /// stream: the one next to what was seen of it here.
    pub(super) fn original_highest(&self, reported: u32) -> u32 {
        let low = (reported as u16).wrapping_sub(self.sequence_offset);
        let behind = (self.highest as u16).wrapping_sub(low) as i16;
        self.highest.wrapping_sub(i32::from(behind) as u32)
    }
}

/// What of a valid compound passes on, translated; empty when nothing does.
/// It has no report in front yet.
pub fn translate(compound: &[u8], translation: &Translation) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while let Some(packet) = RawPacket::read(compound, at) {
        at = packet.end;
        match packet.kind {
            GOODBYE => goodbye(&mut out, compound, &packet, translation),
            APPLICATION => {
                let words = body(compound, packet.start + HEADER + 4, packet.body_end);
                write(&mut out, &packet, &[translation.sender], words);
            }
            TRANSPORT_FEEDBACK | PAYLOAD_FEEDBACK => {
                feedback(&mut out, compound, &packet, translation);
            }
            _ => {}
        }
    }
    out
}

fn body(compound: &[u8], from: usize, to: usize) -> &[u8] {
    compound.get(from..to).unwrap_or_default()
}

/// Writes a packet of these words and what follows them.
fn write(out: &mut Vec<u8>, packet: &RawPacket, words: &[u32], rest: &[u8]) {
    write_header(out, packet.count, packet.kind, words.len() + rest.len() / 4);
    out.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    out.extend(rest);
}

/// BYE (RFC 3550 section 6.6): only when it ends the stream that is relayed,
/// not for an SSRC that the peer gave up on the way.
fn goodbye(out: &mut Vec<u8>, compound: &[u8], packet: &RawPacket, translation: &Translation) {
    let list = packet.start + HEADER;
    let list_end = list + usize::from(packet.count) * 4;
    let ends_stream = match translation.stream {
        Some(stream) => (list..list_end)
            .step_by(4)
            .any(|at| word(compound, at) == Some(stream)),
        None => packet.count > 0,
    };
    if ends_stream {
        let mut one = *packet;
        one.count = 1;
        let reason = body(compound, list_end, packet.body_end);
        write(out, &one, &[translation.sender], reason);
    }
}

/// Feedback about the relayed stream (RFC 4585 section 6.1): generic NACKs
/// with their sequence numbers translated, and picture loss.
fn feedback(out: &mut Vec<u8>, compound: &[u8], packet: &RawPacket, translation: &Translation) {
    let Some(about) = translation
        .about
        .filter(|about| word(compound, packet.start + 8) == Some(about.from))
    else {
        return;
    };
    let nack = packet.kind == TRANSPORT_FEEDBACK && packet.count == GENERIC_NACK;
    let picture_loss = packet.kind == PAYLOAD_FEEDBACK && packet.count == PICTURE_LOSS;
    let rest = body(compound, packet.start + 12, packet.body_end);
    if nack {
        let mut words = vec![translation.sender, about.to];
        for entry in rest.chunks_exact(4) {
            let entry = word(entry, 0).unwrap_or(0);
            let lost = ((entry >> 16) as u16).wrapping_sub(about.sequence_offset);
            words.push((u32::from(lost) << 16) | (entry & 0xffff));
        }
        write(out, packet, &words, &[]);
    } else if picture_loss {
        write(out, packet, &[translation.sender, about.to], rest);
    }
}

#[cfg(test)]
mod tests {
    use super::super::rtcp::is_valid;
    use super::*;

    const RECEIVER_REPORT: u8 = 201;
    const SOURCE_DESCRIPTION: u8 = 202;

    const TRANSLATION: Translation = Translation {
        sender: 0x0101_0101,
        stream: Some(0xaaaa),
        about: Some(About {
            from: 0xbbbb,
            to: 0xcccc,
            sequence_offset: 100,
            highest: 0x1_0005,
        }),
    };

    /// A packet of this count and type from words, its length filled in.
    fn packet(count: u8, kind: u8, words: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_header(&mut bytes, count, kind, words.len());
        bytes.extend(words.iter().flat_map(|word| word.to_be_bytes()));
        bytes
    }

    fn passed(compound: &[u8]) -> Vec<u8> {
        assert!(is_valid(compound));
        let bytes = translate(compound, &TRANSLATION);
        assert!(bytes.is_empty() || is_valid(&bytes));
        bytes
    }

    #[test]
    fn reports_and_descriptions_stay_here() {
        let report = packet(1, RECEIVER_REPORT, &[0xaaaa, 0xbbbb, 7, 100, 9, 0, 0]);
        let description = packet(1, SOURCE_DESCRIPTION, &[0xaaaa, 0x0102_6162, 0]);
        assert!(passed(&[report, description].concat()).is_empty());
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
    fn a_bye_of_the_stream_goes_on_with_its_reason_and_another_does_not() {
        let words = [0x9999, 0xaaaa, 0x0362_7965];
        assert_eq!(
            passed(&packet(2, GOODBYE, &words)),
            packet(1, GOODBYE, &[0x0101_0101, 0x0362_7965])
        );
        assert!(passed(&packet(1, GOODBYE, &[0x9999])).is_empty());
    }

    #[test]
    fn nacks_are_translated_and_what_cannot_be_is_left_out() {
        let nack = packet(1, TRANSPORT_FEEDBACK, &[0xaaaa, 0xbbbb, 0x006e_0003]);
        assert_eq!(
            passed(&nack),
            packet(1, TRANSPORT_FEEDBACK, &[0x0101_0101, 0xcccc, 0x000a_0003])
        );
        let loss = packet(1, PAYLOAD_FEEDBACK, &[0xaaaa, 0xbbbb]);
        assert_eq!(
            passed(&[nack.clone(), loss].concat()),
            [
                passed(&nack),
                packet(1, PAYLOAD_FEEDBACK, &[0x0101_0101, 0xcccc])
            ]
            .concat()
        );
        let remb = packet(15, PAYLOAD_FEEDBACK, &[0xaaaa, 0, 0, 0]);
        let extended = packet(0, 207, &[0xaaaa, 1, 2]);
        assert!(passed(&[remb, extended].concat()).is_empty());
    }

    #[test]
    fn padding_is_taken_off() {
        let mut padded = packet(0, APPLICATION, &[0xaaaa, 0x6e61_6d65, 0, 8]);
        padded[0] |= 0x20;
        assert_eq!(
            passed(&padded),
            packet(0, APPLICATION, &[0x0101_0101, 0x6e61_6d65])
        );
    }
}
