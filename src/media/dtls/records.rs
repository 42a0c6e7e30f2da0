//! What of a datagram may reach a DTLS session at all. Until the first record
//! under keys nothing of a handshake is authenticated, and anybody who can
//! write the peer's address on a datagram could end it with one forged alert:
//! invalid and unauthenticated records are passed over in silence (RFC 6347
//! section 4.1.2.7).

use std::borrow::Cow;

use crate::keying::DtlsRole;

/// Content types (RFC 5246 section 6.2.1).
const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// Type, version, epoch, sequence number and length (RFC 6347 section 4.1).
const RECORD_HEADER: usize = 13;
/// Type, length, message sequence, fragment offset and length (RFC 6347
/// section 4.2.2).
const MESSAGE_HEADER: usize = 12;
/// Both bytes of DTLS versions 1.0 and 1.2 begin so.
const VERSION_MAJOR: u8 = 254;
/// Plain text of one record, and what encryption may add (RFC 5246 section
/// 6.2.3).
const MAX_RECORD: usize = (1 << 14) + 2048;
/// Longest handshake message that is looked at: certificate chains are shorter.
const MAX_MESSAGE: usize = 1 << 16;

/// Handshake types (RFC 5246 section 7.4, RFC 6347 section 4.3.2).
const CLIENT_HELLO: u8 = 1;
const OF_CLIENT: &[u8] = &[CLIENT_HELLO, 11, 15, 16, 20];
const OF_SERVER: &[u8] = &[2, 3, 4, 11, 12, 13, 14, 20, 22];

/// What is left of a datagram.
pub(super) struct Admitted<'d> {
    /// The records that may be handed on; empty where there are none.
    pub(super) records: Cow<'d, [u8]>,
    /// An alert in the clear was among those that may not: the peer's, or
    /// anybody's.
    pub(super) has_alert: bool,
}

/// Takes the records out that the peer, who has this role, cannot have sent,
/// or that anybody can have.
pub(super) fn admissible(datagram: &[u8], peer: DtlsRole) -> Admitted<'_> {
    let (mut kept, mut is_whole, mut has_alert) = (Vec::new(), true, false);
    let mut rest = datagram;
    while !rest.is_empty() {
        let Some((record, behind)) = split(rest) else {
            is_whole = false;
            break;
        };
        if is_admissible(record, peer) {
            kept.push(record);
        } else {
            is_whole = false;
            has_alert |= record[0] == ALERT;
        }
        rest = behind;
    }
    Admitted {
        records: match is_whole {
            true => Cow::Borrowed(datagram),
            false => Cow::Owned(kept.concat()),
        },
        has_alert,
    }
}

/// Sequence numbers that records in the clear get here: past those that a peer
/// begins with.
const FIRST_NUMBER: u64 = 1 << 32;

/// Numbers the records in the clear anew, in the order they are handed on.
/// Their own numbers are not authenticated either: one forged, and a session
/// would take the peer's record of that number, or all below it, for replayed.
/// What comes twice is known by its message number.
pub(super) fn renumber(records: &mut [u8], taken: &mut u32) {
    const NUMBER_AT: std::ops::Range<usize> = 5..11;
    let mut at = 0;
    while let Some((record, _)) = records.get(at..).and_then(split) {
        let len = record.len();
        if record[3..5] == [0, 0] {
            let number = FIRST_NUMBER + u64::from(*taken);
            *taken = taken.saturating_add(1);
            let place = &mut records[at..at + len][NUMBER_AT];
            place.copy_from_slice(&number.to_be_bytes()[2..]);
        }
        at += len;
    }
}

/// The first record, and what lies behind it; `None` where no record of DTLS
/// stands there.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let header = bytes.get(..RECORD_HEADER)?;
    let len = usize::from(u16::from_be_bytes([header[11], header[12]]));
    let known = matches!(header[0], CHANGE_CIPHER_SPEC..=APPLICATION_DATA);
    if !known || header[1] != VERSION_MAJOR || len > MAX_RECORD {
        return None;
    }
    bytes.split_at_checked(RECORD_HEADER + len)
}

fn is_admissible(record: &[u8], peer: DtlsRole) -> bool {
    // The session itself passes over what its keys do not verify.
    let is_protected = record[3..5] != [0, 0];
    if is_protected {
        return true;
    }
    match record[0] {
        HANDSHAKE => is_handshake_of(&record[RECORD_HEADER..], peer),
        // Means nothing by itself, and out of its turn nothing at all.
        CHANGE_CIPHER_SPEC => record[RECORD_HEADER..] == [1],
        _ => false,
    }
}

/// Whether these are whole fragments of messages that a peer of this role
/// sends.
fn is_handshake_of(mut messages: &[u8], peer: DtlsRole) -> bool {
    let known = match peer {
        DtlsRole::Client => OF_CLIENT,
        DtlsRole::Server => OF_SERVER,
    };
    if messages.is_empty() {
        return false;
    }
    while !messages.is_empty() {
        let Some(header) = messages.get(..MESSAGE_HEADER) else {
            return false;
        };
        let (len, offset, here) = (
            be24(&header[1..4]),
            be24(&header[6..9]),
            be24(&header[9..12]),
        );
        if !known.contains(&header[0]) || len > MAX_MESSAGE || offset + here > len {
            return false;
        }
        match messages.get(MESSAGE_HEADER + here..) {
            Some(behind) => messages = behind,
            None => return false,
        }
    }
    true
}

/// The client's random of a datagram that begins with a ClientHello: tells
/// one handshake from another, and nobody off the path knows it.
pub(super) fn hello_random(datagram: &[u8]) -> Option<[u8; 32]> {
    const VERSION: usize = 2;
    const RANDOM_AT: usize = RECORD_HEADER + MESSAGE_HEADER + VERSION;
    let begins = datagram.first() == Some(&HANDSHAKE)
        && datagram.get(3..5) == Some(&[0, 0])
        && datagram.get(RECORD_HEADER) == Some(&CLIENT_HELLO);
    let random = datagram.get(RANDOM_AT..RANDOM_AT + 32)?;
    begins.then(|| random.try_into().ok())?
}

fn be24(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, byte| number << 8 | usize::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(kind: u8, epoch: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![kind, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 9];
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    fn message(kind: u8) -> Vec<u8> {
        vec![kind, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 2, 7, 7]
    }

    #[test]
    fn records_of_the_peers_role_are_handed_on_as_they_are() {
        let datagram = [
            record(HANDSHAKE, 0, &[message(11), message(16)].concat()),
            record(CHANGE_CIPHER_SPEC, 0, &[1]),
            record(HANDSHAKE, 1, &[3; 40]),
        ]
        .concat();
        let admitted = admissible(&datagram, DtlsRole::Client);
        assert!(matches!(admitted.records, Cow::Borrowed(all) if all == datagram));
        assert!(!admitted.has_alert);
    }

    #[test]
    fn what_anybody_can_have_sent_is_taken_out() {
        let hello = record(HANDSHAKE, 0, &message(CLIENT_HELLO));
        let forged = [
            record(ALERT, 0, &[2, 40]),
            record(HANDSHAKE, 0, &message(2)),
            record(HANDSHAKE, 0, &[1, 0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 2, 7, 7]),
            record(HANDSHAKE, 0, &message(CLIENT_HELLO)[..13]),
            record(HANDSHAKE, 0, &[]),
            record(CHANGE_CIPHER_SPEC, 0, &[2]),
            record(APPLICATION_DATA, 0, b"text"),
        ];
        let datagram = [forged.concat(), hello.clone(), vec![22, 254]].concat();
        let admitted = admissible(&datagram, DtlsRole::Client);
        assert_eq!(*admitted.records, hello);
        assert!(admitted.has_alert);
    }

    #[test]
    fn records_in_the_clear_are_numbered_anew_and_others_are_not() {
        let mut records = [
            record(HANDSHAKE, 0, &message(11)),
            record(HANDSHAKE, 1, &[3; 40]),
            record(CHANGE_CIPHER_SPEC, 0, &[1]),
        ]
        .concat();
        let mut taken = 7;
        renumber(&mut records, &mut taken);
        assert_eq!(taken, 9);
        let number = |at: usize| records[at + 5..at + 11].to_vec();
        assert_eq!(number(0), [0, 1, 0, 0, 0, 7]);
        assert_eq!(number(27), [0, 0, 0, 0, 0, 9]);
        assert_eq!(number(80), [0, 1, 0, 0, 0, 8]);
    }

    #[test]
    fn garbage_is_nothing() {
        for garbage in [
            vec![22; 12],
            vec![22; 60],
            vec![22, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            vec![63; 200],
        ] {
            let admitted = admissible(&garbage, DtlsRole::Server);
            assert!(admitted.records.is_empty(), "{garbage:?}");
        }
    }

    #[test]
    fn a_hello_is_known_by_its_random() {
        let mut hello = vec![1, 0, 0, 34, 0, 0, 0, 0, 0, 0, 0, 34, 254, 253];
        hello.extend([5; 32]);
        assert_eq!(hello_random(&record(HANDSHAKE, 0, &hello)), Some([5; 32]));
        assert_eq!(hello_random(&record(HANDSHAKE, 1, &hello)), None);
        assert_eq!(hello_random(&record(HANDSHAKE, 0, &hello[..20])), None);
    }
}
