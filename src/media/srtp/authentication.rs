//! HMAC-SHA1 (RFC 2104) of one message, or of many side by side.

use super::lanes::{self, LANES, Lane};

/// The compression function's state.
type State = [u32; 5];
/// The length of a block in bytes.
const BLOCK: usize = 64;
/// The least that is appended: a bit and the length (FIPS 180-4 section 5.1.1).
const PADDING: usize = 1 + 8;
pub(super) type Digest = [u8; 20];

/// FIPS 180-4 section 5.3.1.
const INITIAL: State = [
    0x6745_2301,
    0xefcd_ab89,
    0x98ba_dcfe,
    0x1032_5476,
    0xc3d2_e1f0,
];

/// Both hashes of HMAC after their first block, which is the key's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Keyed {
    inner: State,
    outer: State,
}

impl Keyed {
    /// A key of at most one block.
    pub(super) fn new(key: &[u8; 20]) -> Keyed {
        let after = |pad: u8| {
            let mut block = [pad; BLOCK];
            for (byte, key) in block.iter_mut().zip(key) {
                *byte ^= key;
            }
            let mut state = INITIAL;
            sha1::block_api::compress(&mut state, &[block]);
            state
        };
        Keyed {
            inner: after(0x36),
            outer: after(0x5c),
        }
    }
}

/// What is authenticated (RFC 3711 section 4.2): a packet, and for RTP its
/// rollover counter.
#[derive(Clone, Copy)]
pub(super) struct Message<'b> {
    pub(super) keyed: Keyed,
    pub(super) bytes: &'b [u8],
    pub(super) rollover: Option<u32>,
}

impl Message<'_> {
    /// Of nothing, by nobody's key.
    pub(super) const EMPTY: Message<'static> = Message {
        keyed: Keyed {
            inner: INITIAL,
            outer: INITIAL,
        },
        bytes: &[],
        rollover: None,
    };

    /// Its HMAC.
    pub(super) fn digest(&self) -> Digest {
        let mut state = self.keyed.inner;
        let (whole, _) = self.bytes.as_chunks::<BLOCK>();
        sha1::block_api::compress(&mut state, whole);
        let mut tail = [[0; BLOCK]; 2];
        let blocks = self.write_tail(&mut tail);
        sha1::block_api::compress(&mut state, &tail[..blocks]);
        let mut outer = [0; BLOCK];
        write_outer(&state, &mut outer);
        state = self.keyed.outer;
        sha1::block_api::compress(&mut state, &[outer]);
        bytes_of(&state)
    }

    /// How many blocks are hashed of it.
    fn blocks(&self) -> usize {
        let rollover = if self.rollover.is_some() { 4 } else { 0 };
        (self.bytes.len() + rollover + PADDING).div_ceil(BLOCK)
    }

    /// The last one or two blocks: what does not fill one, the rollover counter
    /// and the padding. Says how many.
    #[inline]
    fn write_tail(&self, tail: &mut [[u8; BLOCK]; 2]) -> usize {
        let (_, rest) = self.bytes.as_chunks::<BLOCK>();
        let flat = tail.as_flattened_mut();
        flat[..rest.len()].copy_from_slice(rest);
        let mut at = rest.len();
        if let Some(rollover) = self.rollover {
            flat[at..at + 4].copy_from_slice(&rollover.to_be_bytes());
            at += 4;
        }
        // FIPS 180-4 section 5.1.1.
        flat[at] = 0x80;
        let blocks = (at + PADDING).div_ceil(BLOCK);
        let hashed = BLOCK + self.bytes.len() - rest.len() + at;
        flat[blocks * BLOCK - 8..blocks * BLOCK]
            .copy_from_slice(&(8 * hashed as u64).to_be_bytes());
        blocks
    }
}

/// The HMACs of up to [`LANES`] messages: side by side where that takes less
/// time. They may differ in length and key.
pub(super) fn digests(messages: &[Message<'_>]) -> [Digest; LANES] {
    let messages = &messages[..messages.len().min(LANES)];
    let blocks = messages.iter().map(Message::blocks);
    let (all, longest) = blocks.fold((0, 0), |(all, longest), blocks| {
        (all + blocks, longest.max(blocks))
    });
    if all < lanes::worthwhile().saturating_mul(longest) {
        let mut digests = [[0; 20]; LANES];
        for (digest, message) in digests.iter_mut().zip(messages) {
            *digest = message.digest();
        }
        return digests;
    }
    digests_side_by_side(messages)
}

fn digests_side_by_side(messages: &[Message<'_>]) -> [Digest; LANES] {
    let mut tails = [[[0; BLOCK]; 2]; LANES];
    let mut counts = [0; LANES];
    let mut state = [Lane([0; LANES]); 5];
    let mut outer = [Lane([0; LANES]); 5];
    for (lane, message) in messages.iter().enumerate() {
        let tail = message.write_tail(&mut tails[lane]);
        counts[lane] = message.bytes.len() / BLOCK + tail;
        for word in 0..5 {
            state[word].0[lane] = message.keyed.inner[word];
            outer[word].0[lane] = message.keyed.outer[word];
        }
    }
    let mut inner = [[0; BLOCK]; LANES];
    for n in 0..counts.iter().copied().max().unwrap_or(0) {
        // A lane that is done works on whatever lies there: its result is kept.
        let blocks = std::array::from_fn(|lane| {
            let bytes = messages.get(lane).map_or(&[][..], |message| message.bytes);
            let (whole, _) = bytes.as_chunks::<BLOCK>();
            whole
                .get(n)
                .or_else(|| tails[lane].get(n - whole.len()))
                .unwrap_or(&tails[lane][0])
        });
        lanes::compress(&mut state, &blocks);
        for lane in (0..LANES).filter(|lane| counts[*lane] == n + 1) {
            write_outer(&column(&state, lane), &mut inner[lane]);
        }
    }
    lanes::compress(&mut outer, &inner.each_ref());
    std::array::from_fn(|lane| bytes_of(&column(&outer, lane)))
}

/// The outer hash's second and last block: the inner hash, and the padding.
#[inline]
fn write_outer(inner: &State, block: &mut [u8; BLOCK]) {
    block[..20].copy_from_slice(&bytes_of(inner));
    block[20] = 0x80;
    let bits = 8 * (BLOCK as u64 + 20);
    block[BLOCK - 8..].copy_from_slice(&bits.to_be_bytes());
}

fn column(state: &[Lane; 5], lane: usize) -> State {
    std::array::from_fn(|word| state[word].0[lane])
}

fn bytes_of(state: &State) -> Digest {
    let mut bytes = [0; 20];
    for (four, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *four = word.to_be_bytes();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit, Mac};
    use sha1::Sha1;

    use super::*;

    /// By another implementation.
    fn reference(key: &[u8; 20], bytes: &[u8], rollover: Option<u32>) -> Digest {
        let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(key).unwrap();
        mac.update(bytes);
        if let Some(rollover) = rollover {
            mac.update(&rollover.to_be_bytes());
        }
        mac.finalize().into_bytes().into()
    }

    #[test]
    fn the_digest_is_that_of_rfc_2202_section_3() {
        let message = Message {
            keyed: Keyed::new(&[0x0b; 20]),
            bytes: b"Hi There",
            rollover: None,
        };
        let digest = hex::encode(message.digest());
        assert_eq!(digest, "b617318655057264e28bc0b6fb378c8ef146be00");
    }

    #[test]
    fn every_length_has_the_hmac_of_another_implementation_alone_and_beside_others() {
        let bytes: Vec<u8> = (0..400u32).map(|n| (n * 7) as u8).collect();
        let keys: Vec<[u8; 20]> = (0..9).map(|n| [n; 20]).collect();
        for len in 0..300 {
            // Neighbours of other lengths, keys and kinds.
            let messages: Vec<_> = (0..1 + len % LANES)
                .map(|n| {
                    let rollover = (n % 3 != 2).then_some(n as u32 * 1000);
                    (&keys[n % 9], &bytes[n..n + (len + 37 * n) % 300], rollover)
                })
                .collect();
            let keyed: Vec<_> = messages
                .iter()
                .map(|(key, bytes, rollover)| Message {
                    keyed: Keyed::new(key),
                    bytes,
                    rollover: *rollover,
                })
                .collect();
            let together = digests_side_by_side(&keyed);
            assert_eq!(digests(&keyed)[..keyed.len()], together[..keyed.len()]);
            for (n, (key, bytes, rollover)) in messages.iter().enumerate() {
                let expected = reference(key, bytes, *rollover);
                assert_eq!(keyed[n].digest(), expected, "{} bytes", bytes.len());
                assert_eq!(together[n], expected, "{} bytes in lane {n}", bytes.len());
            }
        }
    }
}
