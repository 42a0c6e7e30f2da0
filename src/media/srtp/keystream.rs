//! AES in counter mode (NIST SP 800-38A section 6.5): what AES_CM encrypts
//! with and session keys are made by.

use aes::cipher::consts::U16;
use aes::cipher::{
    Array, BlockCipherEncBackend, BlockCipherEncClosure, BlockCipherEncrypt, BlockSizeUser,
};

type Block = [u8; 16];

/// Blocks encrypted side by side: AES-NI works on as many in the time of one,
/// and they and the round keys fit its registers.
const SIDE_BY_SIDE: usize = 4;

/// Encrypts or decrypts with the keystream from this counter on. Never inlined:
/// among the caller's variables it takes 15 ns more for a packet of 160 bytes.
#[inline(never)]
pub(super) fn apply(
    key: &impl BlockCipherEncrypt<BlockSize = U16>,
    counter: u128,
    bytes: &mut [u8],
) {
    key.encrypt_with_backend(Stream { counter, bytes });
}

struct Stream<'b> {
    counter: u128,
    bytes: &'b mut [u8],
}

impl BlockSizeUser for Stream<'_> {
    type BlockSize = U16;
}

/// Run where AES-NI is known to be there, so that all of it is inlined and
/// nothing but the packet goes through memory.
impl BlockCipherEncClosure for Stream<'_> {
    #[inline(always)]
    fn call<B: BlockCipherEncBackend<BlockSize = U16>>(mut self, backend: &B) {
        let (groups, rest) = self.bytes.as_chunks_mut::<{ SIDE_BY_SIDE * 16 }>();
        for group in groups {
            let mut stream: [Array<u8, U16>; SIDE_BY_SIDE] = Default::default();
            for block in &mut stream {
                *block = next(&mut self.counter);
            }
            for block in &mut stream {
                backend.encrypt_block_inplace(block);
            }
            let (blocks, _) = group.as_chunks_mut::<16>();
            for (block, stream) in blocks.iter_mut().zip(&stream) {
                xor(block, stream);
            }
        }
        let (blocks, rest) = rest.as_chunks_mut::<16>();
        for block in blocks {
            let mut stream = next(&mut self.counter);
            backend.encrypt_block_inplace(&mut stream);
            xor(block, &stream);
        }
        if !rest.is_empty() {
            let mut stream = next(&mut self.counter);
            backend.encrypt_block_inplace(&mut stream);
            for (byte, stream) in rest.iter_mut().zip(stream) {
                *byte ^= stream;
            }
        }
    }
}

#[inline(always)]
fn next(counter: &mut u128) -> Array<u8, U16> {
    let block = counter.to_be_bytes();
    *counter = counter.wrapping_add(1);
    block.into()
}

/// As one number: byte by byte it goes through memory.
#[inline(always)]
fn xor(block: &mut Block, with: &Array<u8, U16>) {
    let with = u128::from_ne_bytes((*with).into());
    *block = (u128::from_ne_bytes(*block) ^ with).to_ne_bytes();
}

#[cfg(test)]
mod tests {
    use aes::cipher::KeyInit;
    use aes::{Aes128Enc, Aes256Enc};

    use super::*;

    #[test]
    fn the_keystream_is_that_of_rfc_3711_appendix_b_2() {
        let key = hex::decode("2B7E151628AED2A6ABF7158809CF4F3C").unwrap();
        let key = Aes128Enc::new_from_slice(&key).unwrap();
        let counter = 0xF0F1_F2F3_F4F5_F6F7_F8F9_FAFB_FCFD_0000;
        let mut stream = vec![0; 0xff02 * 16];
        apply(&key, counter, &mut stream);
        let block = |n: usize| hex::encode_upper(&stream[n * 16..n * 16 + 16]);
        assert_eq!(block(0), "E03EAD0935C95E80E166B16DD92B4EB4");
        assert_eq!(block(1), "D23513162B02D0F72A43A2FE4A5F97AB");
        assert_eq!(block(2), "41E95B3BB0A2E8DD477901E4FCA894C0");
        assert_eq!(block(0xfeff), "EC8CDF7398607CB0F2D21675EA9EA1E4");
        assert_eq!(block(0xff00), "362B7C3C6773516318A077D7FC5073AE");
        assert_eq!(block(0xff01), "6A2CC3787889374FBEB4C81B17BA6C44");
    }

    #[test]
    fn a_cut_stream_is_the_start_of_a_longer_one_and_its_counter_wraps() {
        is_cut_and_wraps(&Aes128Enc::new(&[7; 16].into()));
        is_cut_and_wraps(&Aes256Enc::new(&[7; 32].into()));
    }

    fn is_cut_and_wraps(key: &impl BlockCipherEncrypt<BlockSize = U16>) {
        let mut whole = vec![0; 200];
        apply(key, u128::MAX, &mut whole);
        let mut after_wrap = vec![0; 184];
        apply(key, 0, &mut after_wrap);
        assert_eq!(whole[16..], after_wrap);
        for len in 0..200 {
            let mut bytes = vec![0x5a; len];
            apply(key, u128::MAX, &mut bytes);
            let expected: Vec<u8> = whole[..len].iter().map(|byte| byte ^ 0x5a).collect();
            assert_eq!(bytes, expected, "{len} bytes");
        }
    }
}
