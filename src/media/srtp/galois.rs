//! AES-GCM with the IVs of RFC 7714.

use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

use crate::media::drop_reason::DropReason;

/// Length of the tag in bytes (RFC 7714 section 13).
pub(super) const TAG: usize = 16;
pub(super) type Iv = [u8; 12];

pub(super) struct Galois {
    key: LessSafeKey,
    salt: u128,
}

impl Galois {
    pub(super) fn new(key: &[u8], salt: &[u8]) -> Result<Galois, DropReason> {
        let algorithm = match key.len() {
            16 => &AES_128_GCM,
            _ => &AES_256_GCM,
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| DropReason::NotYetSecured)?;
        let salt: Iv = salt.try_into().map_err(|_| DropReason::NotYetSecured)?;
        Ok(Galois {
            key: LessSafeKey::new(key),
            salt: salt
                .iter()
                .fold(0, |salt, byte| salt << 8 | u128::from(*byte)),
        })
    }

    /// RFC 7714 section 8.1: two bytes of zero, the SSRC, and the index.
    pub(super) fn rtp_iv(&self, ssrc: u32, index: u64) -> Iv {
        self.salted(u128::from(ssrc) << 48 | u128::from(index))
    }

    /// RFC 7714 section 9.1: two bytes of zero between SSRC and index too.
    pub(super) fn rtcp_iv(&self, ssrc: u32, index: u32) -> Iv {
        self.salted(u128::from(ssrc) << 48 | u128::from(index))
    }

    fn salted(&self, iv: u128) -> Iv {
        let bytes = (iv ^ self.salt).to_be_bytes();
        let mut iv = [0; 12];
        iv.copy_from_slice(&bytes[4..]);
        iv
    }

    /// Encrypts `body`; the tag covers `aad` and it. No IV may be used twice.
    pub(super) fn seal(
        &self,
        iv: Iv,
        aad: &[u8],
        body: &mut [u8],
    ) -> Result<[u8; TAG], DropReason> {
        let nonce = Nonce::assume_unique_for_key(iv);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), body)
            .map_err(|_| DropReason::SrtpTooShort)?;
        tag.as_ref()
            .try_into()
            .map_err(|_| DropReason::SrtpTooShort)
    }

    /// Decrypts `body`, which the tag follows, if that is its and that of `aad`.
    pub(super) fn open(&self, iv: Iv, aad: &[u8], body: &mut [u8]) -> Result<(), DropReason> {
        let nonce = Nonce::assume_unique_for_key(iv);
        self.key
            .open_in_place(nonce, Aad::from(aad), body)
            .map(|_| ())
            .map_err(|_| DropReason::SrtpAuthFailed)
    }
}
