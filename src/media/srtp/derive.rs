//! Session keys out of master keys (RFC 3711 section 4.3, RFC 7714 section
//! 11), without a key derivation rate.

use aes::cipher::KeyInit;
use aes::{Aes128Enc, Aes256Enc};

use super::cipher::Cipher;
use super::counter_mode::CounterMode;
use super::galois::Galois;
use super::keystream;
use crate::keying::{MasterKey, Suite};
use crate::media::drop_reason::DropReason;

/// What the keys are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Rtp,
    Rtcp,
}

/// RFC 3711 section 4.3.1 and 4.3.2: the labels of the RTP keys; those of RTCP
/// follow.
const ENCRYPTION: u8 = 0;
const AUTHENTICATION: u8 = 1;
const SALT: u8 = 2;
const RTCP_LABELS: u8 = 3;

/// The key length of HMAC-SHA1 (RFC 3711 section 5.2).
const AUTHENTICATION_KEY: usize = 20;

/// The cipher of one kind of packet.
pub(super) fn cipher(master: &MasterKey, stream: Stream) -> Result<Cipher, DropReason> {
    let suite = master.suite;
    if master.key.len() != suite.key_len() || master.salt.len() != suite.salt_len() {
        return Err(DropReason::NotYetSecured);
    }
    let first = match stream {
        Stream::Rtp => 0,
        Stream::Rtcp => RTCP_LABELS,
    };
    let mut key = [0; 32];
    let key = &mut key[..suite.key_len()];
    derive(master, first + ENCRYPTION, key)?;
    let mut salt = [0; 14];
    let salt = &mut salt[..suite.salt_len()];
    derive(master, first + SALT, salt)?;
    match suite {
        Suite::Aes128CmSha1_80 | Suite::Aes128CmSha1_32 => {
            let mut authentication = [0; AUTHENTICATION_KEY];
            derive(master, first + AUTHENTICATION, &mut authentication)?;
            // RFC 4568 section 6.2.2: RTCP has 80 bits in either suite.
            let tag = match (suite, stream) {
                (Suite::Aes128CmSha1_32, Stream::Rtp) => 4,
                _ => 10,
            };
            let cipher = CounterMode::new(key, salt, &authentication, tag)?;
            Ok(Cipher::CounterMode(Box::new(cipher)))
        }
        Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => {
            Ok(Cipher::Galois(Box::new(Galois::new(key, salt)?)))
        }
    }
}

/// RFC 3711 section 4.3.3: AES in counter mode from the salt with the label.
pub(super) fn derive(master: &MasterKey, label: u8, out: &mut [u8]) -> Result<(), DropReason> {
    // 112 bits of salt, a shorter one padded behind (RFC 7714 section 11),
    // then a counter of 16 bits.
    let mut counter = [0; 16];
    counter[..master.salt.len()].copy_from_slice(&master.salt);
    counter[7] ^= label;
    let counter = u128::from_be_bytes(counter);
    out.fill(0);
    let unusable = |_| DropReason::NotYetSecured;
    match master.suite {
        Suite::AeadAes256Gcm => {
            let key = Aes256Enc::new_from_slice(&master.key).map_err(unusable)?;
            keystream::apply(&key, counter, out);
        }
        Suite::Aes128CmSha1_80 | Suite::Aes128CmSha1_32 | Suite::AeadAes128Gcm => {
            let key = Aes128Enc::new_from_slice(&master.key).map_err(unusable)?;
            keystream::apply(&key, counter, out);
        }
    }
    Ok(())
}
