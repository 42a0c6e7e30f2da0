//! Which shard a datagram belongs to, found without parsing all of it.
//!
//! Every shard writes its number into the tags and branches it makes: a
//! response comes back with the branch of our topmost Via, and a request of a
//! dialog with our tag in To. Only a request that starts something has
//! neither; there all shards agree by a hash of the Call-ID, which also
//! brings its retransmissions, its CANCEL and its ACK to the same shard.

use memchr::memchr;

use super::text::{find_outside, tag};
use super::via::MAGIC_COOKIE;
use crate::ids::ShardId;

/// A branch of this shard, `z9hG4bK-rw07-` and 16 digits of `random`.
pub fn branch(shard: ShardId, random: u64) -> String {
    format!("{MAGIC_COOKIE}-rw{:02x}-{random:016x}", shard.0)
}

/// A tag of this shard, `rw07` and 16 digits of `random`.
pub fn local_tag(shard: ShardId, random: u64) -> String {
    format!("rw{:02x}{random:016x}", shard.0)
}

/// The shard that made this branch, when it is one of ours.
pub fn shard_of_branch(branch: &[u8]) -> Option<ShardId> {
    let rest = branch.strip_prefix(MAGIC_COOKIE.as_bytes())?;
    marked(rest.strip_prefix(b"-rw")?, |rest| {
        rest.strip_prefix(b"-").is_some_and(is_random)
    })
}

/// The shard that made this tag, when it is one of ours.
pub fn shard_of_tag(tag: &[u8]) -> Option<ShardId> {
    marked(tag.strip_prefix(b"rw")?, is_random)
}

fn marked(mark: &[u8], rest_is_ours: impl Fn(&[u8]) -> bool) -> Option<ShardId> {
    let (digits, rest) = mark.split_at_checked(2)?;
    let digit = |b: u8| char::from(b).to_digit(16);
    let shard = digit(digits[0])? * 16 + digit(digits[1])?;
    rest_is_ours(rest).then_some(ShardId(shard as u8))
}

fn is_random(text: &[u8]) -> bool {
    text.len() == 16 && text.iter().all(u8::is_ascii_hexdigit)
}

/// The shard of `shards` that a datagram belongs to: by the mark in the
/// topmost branch (a response) or in the tag of To (a request), else, for a
/// request, by the hash of its Call-ID. None for a response that is not
/// ours, for what has no Call-ID, and for what is no SIP at all: any shard
/// may deal with those.
pub fn owner(datagram: &[u8], shards: u8) -> Option<ShardId> {
    let start = datagram
        .iter()
        .position(|b| !matches!(b, b'\r' | b'\n' | b'\0'))?;
    let mut lines = Lines(&datagram[start..]);
    let first = lines.next()?;
    let is_response = first
        .get(..4)
        .is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/"));
    let mut call_id = None;
    for (name, value) in lines.filter_map(field) {
        let named = |long: &[u8], short: &[u8]| {
            name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
        };
        if is_response {
            if named(b"via", b"v") {
                return top_branch(value)
                    .and_then(shard_of_branch)
                    .filter(|shard| shard.0 < shards);
            }
        } else if named(b"to", b"t") {
            let marked = tag(value).and_then(shard_of_tag);
            if let Some(shard) = marked.filter(|shard| shard.0 < shards) {
                return Some(shard);
            }
        } else if named(b"call-id", b"i") && call_id.is_none() {
            call_id = Some(value);
        }
    }
    if is_response {
        return None;
    }
    Some(by_call_id(call_id?, shards))
}

/// The Call-ID of a message, and whether the message is an INVITE outside of
/// any dialog: a call may begin with it. None for what has no Call-ID.
pub fn call_id(datagram: &[u8]) -> Option<(&[u8], bool)> {
    let start = datagram
        .iter()
        .position(|b| !matches!(b, b'\r' | b'\n' | b'\0'))?;
    let mut lines = Lines(&datagram[start..]);
    let is_invite = lines.next()?.starts_with(b"INVITE ");
    let (mut call_id, mut has_tag) = (None, false);
    for (name, value) in lines.filter_map(field) {
        let named = |long: &[u8], short: &[u8]| {
            name.eq_ignore_ascii_case(long) || name.eq_ignore_ascii_case(short)
        };
        if is_invite && named(b"to", b"t") {
            has_tag = tag(value).is_some();
        } else if call_id.is_none() && named(b"call-id", b"i") {
            call_id = Some(value);
            if !is_invite {
                break;
            }
        }
    }
    Some((call_id?, is_invite && !has_tag))
}

/// The shard that a Call-ID belongs to: FNV-1a, whose upper half is brought
/// down by MurmurHash3's finaliser, since few bits reach FNV's lowest ones.
pub fn by_call_id(call_id: &[u8], shards: u8) -> ShardId {
    let mut hash = call_id.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, b| {
        (hash ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    ShardId((hash % u64::from(shards.max(1))) as u8)
}

/// The lines of a header, each with its continuation lines
/// (RFC 3261 section 7.3.1), until the empty line.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.0.is_empty() || self.0.starts_with(b"\n") || self.0.starts_with(b"\r\n") {
            return None;
        }
        let mut end = 0;
        loop {
            let line = &self.0[end..];
            end += memchr(b'\n', line).map_or(line.len(), |at| at + 1);
            if !matches!(self.0.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (line, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(line)
    }
}

fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.iter().position(|b| *b == b':')?;
    Some((
        line[..colon].trim_ascii_end(),
        line[colon + 1..].trim_ascii(),
    ))
}

/// The branch of the first value of a Via line.
fn top_branch(value: &[u8]) -> Option<&[u8]> {
    let end = find_outside(value, |b| b == b',').unwrap_or(value.len());
    value[..end]
        .split(|b| *b == b';')
        .skip(1)
        .find_map(|param| {
            let equals = param.iter().position(|b| *b == b'=')?;
            param[..equals]
                .trim_ascii()
                .eq_ignore_ascii_case(b"branch")
                .then(|| param[equals + 1..].trim_ascii())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_call_id_is_found_and_whether_a_call_may_begin() {
        for (message, expected) in [
            (
                "INVITE sip:a SIP/2.0\r\nTo: <sip:a>\r\ni: x\r\n\r\n",
                Some(("x", true)),
            ),
            (
                "INVITE sip:a SIP/2.0\r\nCall-ID : x\r\nt: <sip:a>;tag=1\r\n\r\n",
                Some(("x", false)),
            ),
            (
                "\r\nSIP/2.0 200 OK\r\nCall-ID:\r\n x\r\n\r\ni: y",
                Some(("x", false)),
            ),
            ("BYE sip:a SIP/2.0\r\n\r\nCall-ID: x\r\n", None),
            ("\r\n\r\n", None),
        ] {
            let expected = expected.map(|(id, begins)| (id.as_bytes(), begins));
            assert_eq!(call_id(message.as_bytes()), expected, "{message:?}");
        }
    }

    #[test]
    fn marks_read_back_and_others_are_nobodys() {
        let shard = ShardId(0xab);
        assert_eq!(shard_of_branch(branch(shard, 7).as_bytes()), Some(shard));
        assert_eq!(
            shard_of_tag(local_tag(shard, u64::MAX).as_bytes()),
            Some(shard)
        );
        for other in ["", "rw", "rw0", "rw+1aaaaaaaaaaaaaaaa", "rw01abc", "rw01é"] {
            assert_eq!(shard_of_tag(other.as_bytes()), None, "{other}");
        }
        for other in [
            "z9hG4bK",
            "z9hG4bK-rw01",
            "z9hG4bK-rw01-",
            "z9hG4bK-rw01-xyz",
        ] {
            assert_eq!(shard_of_branch(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn a_response_goes_by_the_topmost_branch() {
        let branch = branch(ShardId(3), 1);
        let response = format!(
            "SIP/2.0 200 OK\r\nFrom: <sip:a@b>;tag=rw0100000000000000ff\r\nv : SIP/2.0/UDP h;rport;\r\n Branch = {branch} , SIP/2.0/UDP x;branch=z9hG4bK-rw01-0000000000000001\r\nCall-ID: 1\r\n\r\n"
        );
        assert_eq!(owner(response.as_bytes(), 4), Some(ShardId(3)));
        assert_eq!(owner(response.as_bytes(), 3), None);
        assert_eq!(owner(b"SIP/2.0 200 OK\r\nCall-ID: 1\r\n\r\n", 4), None);
    }

    #[test]
    fn a_request_goes_by_our_tag_in_to_and_else_by_its_call_id() {
        let tag = local_tag(ShardId(2), 9);
        let inside = format!(
            "\r\nBYE sip:x SIP/2.0\nCall-ID: 1\nT: \"a;tag=rw01000000000000000\"\n <sip:b;tag=x>;x=\"y;\" ; tag = {tag}\n\n"
        );
        assert_eq!(owner(inside.as_bytes(), 4), Some(ShardId(2)));
        let outside = |call_id: &str, to: &str| {
            let request = format!("INVITE sip:x SIP/2.0\r\nTo: {to}\r\ni:\r\n {call_id} \r\n\r\n");
            owner(request.as_bytes(), 4)
        };
        let by_hash = Some(by_call_id(b"abc@d", 4));
        assert_eq!(outside("abc@d", "<sip:b>"), by_hash);
        assert_eq!(outside("abc@d", "<sip:b>;tag=theirs"), by_hash);
        assert_eq!(outside("abc@d", &format!("<sip:b;tag={tag}>")), by_hash);
        assert_eq!(owner(inside.as_bytes(), 2), Some(by_call_id(b"1", 2)));
    }

    #[test]
    fn what_is_no_sip_has_no_owner() {
        for datagram in [
            "",
            "\r\n\r\n",
            "x",
            "INVITE sip:x SIP/2.0\r\n\r\nCall-ID: 1\r\n",
        ] {
            assert_eq!(owner(datagram.as_bytes(), 2), None, "{datagram:?}");
        }
    }

    #[test]
    fn call_ids_that_differ_little_spread_over_the_shards() {
        let mut counts = [0_u32; 4];
        for n in 0..4000 {
            counts[usize::from(by_call_id(format!("{n}-1@192.0.2.1").as_bytes(), 4).0)] += 1;
        }
        assert!(counts.iter().all(|n| (900..1100).contains(n)), "{counts:?}");
    }
}
