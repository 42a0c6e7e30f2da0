//! The RTP header: what is valid, and rewriting it in place.

use rtp_rs::RtpReader;

use super::packet::Packet;

/// Bytes of the fixed header (RFC 3550 section 5.1).
pub const FIXED_HEADER: usize = 12;

/// The fields of a valid header that the relay looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Payload type, 0 to 127.
    pub payload_type: u8,
    /// The marker bit.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp in units of the payload's clock.
    pub timestamp: u32,
    /// Synchronisation source.
    pub ssrc: u32,
    /// Where the payload starts in the packet.
    pub payload_start: usize,
    /// Payload bytes, without header, extension and padding.
    pub payload_len: usize,
}

impl Header {
    /// Reads the header of a packet that is valid by RFC 3550 A.1: version 2,
    /// and CSRC list, extension and padding all inside the packet.
    #[inline]
    pub fn read(packet: &[u8]) -> Option<Header> {
        let reader = RtpReader::new(packet).ok()?;
        let padding = usize::from(reader.padding().unwrap_or(0));
        Some(Header {
            payload_type: reader.payload_type(),
            marker: reader.mark(),
            sequence: reader.sequence_number().into(),
            timestamp: reader.timestamp(),
            ssrc: reader.ssrc(),
            payload_start: reader.payload_offset(),
            payload_len: packet
                .len()
                .saturating_sub(reader.payload_offset())
                .saturating_sub(padding),
        })
    }

    /// The payload of the packet that this header was read from.
    #[inline]
    pub fn payload<'p>(&self, packet: &'p [u8]) -> &'p [u8] {
        packet
            .get(self.payload_start..self.payload_start + self.payload_len)
            .unwrap_or_default()
    }
}

/// Replaces payload type, sequence number, timestamp and SSRC; the marker bit
/// and everything else stay. Does nothing to a packet without a whole header.
#[inline]
pub fn rewrite(packet: &mut [u8], payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32) {
    let Some(header) = packet.first_chunk_mut::<FIXED_HEADER>() else {
        return;
    };
    header[1] = (header[1] & 0x80) | (payload_type & 0x7f);
    header[2..4].copy_from_slice(&sequence.to_be_bytes());
    header[4..8].copy_from_slice(&timestamp.to_be_bytes());
    header[8..12].copy_from_slice(&ssrc.to_be_bytes());
}

/// Takes a header extension out of a packet that [`Header::read`] found valid:
/// what was agreed on with one peer means nothing to another (RFC 8285).
#[inline]
pub fn strip_extension(packet: &mut Packet<'_>) {
    const EXTENDED: u8 = 0x10;
    let bytes = packet.bytes();
    let Some(&first) = bytes.first().filter(|first| *first & EXTENDED != 0) else {
        return;
    };
    let from = FIXED_HEADER + 4 * usize::from(first & 0x0f);
    let Some(&[high, low]) = bytes.get(from + 2..from + 4) else {
        return;
    };
    let to = from + 4 + 4 * usize::from(u16::from_be_bytes([high, low]));
    let len = bytes.len();
    if to > len {
        return;
    }
    let bytes = packet.bytes_mut();
    bytes.copy_within(to.., from);
    bytes[0] = first & !EXTENDED;
    packet.set_len(len - (to - from));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(first: u8, rest: &[u8]) -> Vec<u8> {
        let mut packet = vec![
            first,
            0x80 | 8,
            0x12,
            0x34,
            0,
            0,
            1,
            0,
            0xde,
            0xad,
            0xbe,
            0xef,
        ];
        packet.extend_from_slice(rest);
        packet
    }

    #[test]
    fn a_plain_packet_is_read() {
        assert_eq!(
            Header::read(&packet(0x80, &[1, 2, 3])),
            Some(Header {
                payload_type: 8,
                marker: true,
                sequence: 0x1234,
                timestamp: 256,
                ssrc: 0xdeadbeef,
                payload_start: 12,
                payload_len: 3,
            })
        );
    }

    #[test]
    fn csrcs_extension_and_padding_do_not_count_as_payload() {
        // One CSRC, an extension of one word, two payload bytes, padding 3.
        let body = [9, 9, 9, 9, 0xbe, 0xde, 0, 1, 0, 0, 0, 0, 1, 2, 0, 0, 3];
        let header = Header::read(&packet(0x80 | 0x20 | 0x10 | 1, &body));
        assert_eq!(header.map(|h| h.payload_len), Some(2));
    }

    #[test]
    fn packets_whose_parts_reach_past_the_end_are_invalid() {
        let cases: [(&str, Vec<u8>); 8] = [
            ("empty", vec![]),
            ("eleven bytes", packet(0x80, &[])[..11].to_vec()),
            ("version 1", packet(0x40, &[0; 8])),
            ("csrcs", packet(0x8f, &[0; 8])),
            ("extension header", packet(0x90, &[0; 3])),
            ("extension body", packet(0x90, &[0, 0, 0, 9, 0, 0, 0, 0])),
            ("padding of nothing", packet(0xa0, &[])),
            ("padding past the start", packet(0xa0, &[1, 2, 200])),
        ];
        for (name, bytes) in cases {
            assert_eq!(Header::read(&bytes), None, "{name}");
        }
    }

    #[test]
    fn a_padding_length_of_zero_is_invalid() {
        assert_eq!(Header::read(&packet(0xa0, &[1, 2, 0])), None);
    }

    #[test]
    fn rewriting_keeps_the_marker_and_the_payload() {
        let mut bytes = packet(0x80, &[1, 2, 3]);
        rewrite(&mut bytes, 96, 7, 8, 9);
        assert_eq!(bytes[1], 0x80 | 96);
        let header = Header::read(&bytes).expect("still valid");
        assert_eq!((header.sequence, header.timestamp, header.ssrc), (7, 8, 9));
        assert_eq!(bytes[12..], [1, 2, 3]);
    }

    #[test]
    fn any_bytes_are_read_without_panic() {
        let mut state = 0x2545_f491_4f6c_dd1du64;
        for _ in 0..200_000 {
            let mut bytes = [0u8; 40];
            for byte in &mut bytes {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                *byte = state as u8;
            }
            bytes[0] = 0x80 | (bytes[0] & 0x3f);
            let len = (state >> 32) as usize % 41;
            if let Some(header) = Header::read(&bytes[..len]) {
                assert!(header.payload_len + FIXED_HEADER <= len);
            }
        }
    }
}
