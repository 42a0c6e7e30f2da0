//! The two transforms: AES in counter mode with HMAC-SHA1 (RFC 3711 section
//! 4), and AES-GCM (RFC 7714).

use std::fmt;

use aes::Aes128Enc;
use aes::cipher::{InnerIvInit, StreamCipher, StreamCipherCoreWrapper};
use hmac::{Hmac, KeyInit, Mac};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;

use super::{ENCRYPTED, RTCP_HEADER, RTCP_INDEX};
use crate::media::drop_reason::DropReason;

/// Of AES-GCM (RFC 7714 section 13).
const GCM_TAG: usize = 16;
/// Of AES-GCM.
const GCM_IV: usize = 12;

type Counter<'k> = StreamCipherCoreWrapper<ctr::CtrCore<&'k Aes128Enc, ctr::flavors::Ctr128BE>>;

/// Session keys of one direction and kind of packet. Never printed.
pub(super) enum Cipher {
    CounterMode(Box<CounterMode>),
    Galois(Box<Galois>),
}

pub(super) struct CounterMode {
    key: Aes128Enc,
    salt: [u8; 16],
    /// After its first block.
    mac: Hmac<Sha1>,
    tag: usize,
}

pub(super) struct Galois {
    key: LessSafeKey,
    salt: [u8; GCM_IV],
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
    pub(super) fn counter_mode(
        key: &[u8],
        salt: &[u8],
        authentication: &[u8],
        tag: usize,
    ) -> Result<Cipher, DropReason> {
        let unusable = |_| DropReason::NotYetSecured;
        let mut padded = [0; 16];
        padded[..salt.len()].copy_from_slice(salt);
        Ok(Cipher::CounterMode(Box::new(CounterMode {
            key: Aes128Enc::new_from_slice(key).map_err(unusable)?,
            salt: padded,
            mac: <Hmac<Sha1> as KeyInit>::new_from_slice(authentication).map_err(unusable)?,
            tag,
        })))
    }

    pub(super) fn galois(key: &[u8], salt: &[u8]) -> Result<Cipher, DropReason> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            _ => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| DropReason::NotYetSecured)?;
        let mut own = [0; GCM_IV];
        own.copy_from_slice(salt);
        Ok(Cipher::Galois(Box::new(Galois {
            key: LessSafeKey::new(key),
            salt: own,
        })))
    }

    /// Length of the tag on RTCP, in bytes.
    pub(super) fn rtcp_tag_len(&self) -> usize {
        match self {
            Cipher::CounterMode(cm) => cm.tag,
            Cipher::Galois(_) => GCM_TAG,
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

    /// Encrypts `slot[header..len]`, appends the tag, and says how long it is.
    pub(super) fn seal_rtp(
        &self,
        slot: &mut [u8],
        header: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, DropReason> {
        match self {
            Cipher::CounterMode(cm) => {
                cm.keystream(ssrc, index, &mut slot[header..len]);
                let rollover = (index >> 16) as u32;
                let tag = cm.authenticate(&slot[..len], rollover);
                slot[len..len + cm.tag].copy_from_slice(&tag[..cm.tag]);
                Ok(cm.tag)
            }
            Cipher::Galois(gcm) => {
                let (head, rest) = slot.split_at_mut(header);
                let (body, behind) = rest.split_at_mut(len - header);
                gcm.seal(gcm.rtp_iv(ssrc, index), head, body, behind)?;
                Ok(GCM_TAG)
            }
        }
    }

    /// Verifies the tag at the end of `slot[..len]`, decrypts what lies
    /// between, and says how long the tag was.
    pub(super) fn open_rtp(
        &self,
        slot: &mut [u8],
        header: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<usize, DropReason> {
        match self {
            Cipher::CounterMode(cm) => {
                if len < header + cm.tag {
                    return Err(DropReason::SrtpTooShort);
                }
                let end = len - cm.tag;
                let rollover = (index >> 16) as u32;
                cm.verify(&slot[..end], Some(rollover), &slot[end..len])?;
                cm.keystream(ssrc, index, &mut slot[header..end]);
                Ok(cm.tag)
            }
            Cipher::Galois(gcm) => {
                if len < header + GCM_TAG {
                    return Err(DropReason::SrtpTooShort);
                }
                let (head, body) = slot[..len].split_at_mut(header);
                gcm.open(gcm.rtp_iv(ssrc, index), head, body)?;
                Ok(GCM_TAG)
            }
        }
    }

    /// The same for RTCP; the index is appended too.
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
                cm.keystream(ssrc, u64::from(index), &mut slot[RTCP_HEADER..len]);
                let end = len + RTCP_INDEX;
                slot[len..end].copy_from_slice(&word);
                let tag = cm.mac_of(&slot[..end], None);
                slot[end..end + cm.tag].copy_from_slice(&tag[..cm.tag]);
                Ok(RTCP_INDEX + cm.tag)
            }
            Cipher::Galois(gcm) => {
                let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
                aad[..RTCP_HEADER].copy_from_slice(&slot[..RTCP_HEADER]);
                aad[RTCP_HEADER..].copy_from_slice(&word);
                let (body, behind) = slot[RTCP_HEADER..].split_at_mut(len - RTCP_HEADER);
                gcm.seal(gcm.rtcp_iv(ssrc, index), &aad, body, behind)?;
                let end = len + GCM_TAG;
                slot[end..end + RTCP_INDEX].copy_from_slice(&word);
                Ok(GCM_TAG + RTCP_INDEX)
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
                let end = len - cm.tag;
                cm.verify(&slot[..end], None, &slot[end..len])?;
                let body = end - RTCP_INDEX;
                if encrypted {
                    cm.keystream(ssrc, u64::from(index), &mut slot[RTCP_HEADER..body]);
                }
                Ok(RTCP_INDEX + cm.tag)
            }
            Cipher::Galois(gcm) => {
                if !encrypted {
                    // Nobody who speaks GCM sends it: both phases are one.
                    return Err(DropReason::SrtpAuthFailed);
                }
                let mut aad = [0; RTCP_HEADER + RTCP_INDEX];
                aad[..RTCP_HEADER].copy_from_slice(&slot[..RTCP_HEADER]);
                aad[RTCP_HEADER..].copy_from_slice(&word.to_be_bytes());
                let body = &mut slot[RTCP_HEADER..len - RTCP_INDEX];
                gcm.open(gcm.rtcp_iv(ssrc, index), &aad, body)?;
                Ok(GCM_TAG + RTCP_INDEX)
            }
        }
    }
}

impl CounterMode {
    /// RFC 3711 section 4.1.1.
    fn keystream(&self, ssrc: u32, index: u64, bytes: &mut [u8]) {
        let mut iv = self.salt;
        xor(&mut iv[4..8], &ssrc.to_be_bytes());
        xor(&mut iv[8..14], &index.to_be_bytes()[2..]);
        let core = ctr::CtrCore::inner_iv_init(&self.key, &iv.into());
        Counter::from_core(core).apply_keystream(bytes);
    }

    fn authenticate(&self, bytes: &[u8], rollover: u32) -> [u8; 20] {
        self.mac_of(bytes, Some(rollover))
    }

    fn mac_of(&self, bytes: &[u8], rollover: Option<u32>) -> [u8; 20] {
        let mac = self.mac_after(bytes, rollover);
        mac.finalize().into_bytes().into()
    }

    /// RFC 3711 section 4.2: over the packet, and for RTP the rollover counter.
    fn mac_after(&self, bytes: &[u8], rollover: Option<u32>) -> Hmac<Sha1> {
        let mut mac = self.mac.clone();
        mac.update(bytes);
        if let Some(rollover) = rollover {
            mac.update(&rollover.to_be_bytes());
        }
        mac
    }

    /// In constant time.
    fn verify(&self, bytes: &[u8], rollover: Option<u32>, tag: &[u8]) -> Result<(), DropReason> {
        let mac = self.mac_after(bytes, rollover);
        mac.verify_truncated_left(tag)
            .map_err(|_| DropReason::SrtpAuthFailed)
    }
}

impl Galois {
    /// RFC 7714 section 8.1.
    fn rtp_iv(&self, ssrc: u32, index: u64) -> [u8; GCM_IV] {
        let mut iv = self.salt;
        xor(&mut iv[2..6], &ssrc.to_be_bytes());
        xor(&mut iv[6..12], &index.to_be_bytes()[2..]);
        iv
    }

    /// RFC 7714 section 9.1.
    fn rtcp_iv(&self, ssrc: u32, index: u32) -> [u8; GCM_IV] {
        let mut iv = self.salt;
        xor(&mut iv[2..6], &ssrc.to_be_bytes());
        xor(&mut iv[8..12], &index.to_be_bytes());
        iv
    }

    fn seal(
        &self,
        iv: [u8; GCM_IV],
        aad: &[u8],
        body: &mut [u8],
        behind: &mut [u8],
    ) -> Result<(), DropReason> {
        let nonce = Nonce::assume_unique_for_key(iv);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), body)
            .map_err(|_| DropReason::SrtpTooShort)?;
        behind[..GCM_TAG].copy_from_slice(tag.as_ref());
        Ok(())
    }

    fn open(&self, iv: [u8; GCM_IV], aad: &[u8], body: &mut [u8]) -> Result<(), DropReason> {
        let nonce = Nonce::assume_unique_for_key(iv);
        self.key
            .open_in_place(nonce, Aad::from(aad), body)
            .map(|_| ())
            .map_err(|_| DropReason::SrtpAuthFailed)
    }
}

fn xor(target: &mut [u8], with: &[u8]) {
    for (byte, other) in target.iter_mut().zip(with) {
        *byte ^= other;
    }
}
