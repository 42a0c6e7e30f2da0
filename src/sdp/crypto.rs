//! `a=crypto`: SRTP keys in a session description (RFC 4568).

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::session::{Attribute, Media};
use crate::keying::{MasterKey, Suite};

/// Lines of one stream that are looked at.
const MAX_LINES: usize = 16;

/// Pads as RFC 4568 section 6.1 wants, and reads keys with and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// One line that can be taken as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CryptoLine {
    /// What the answer refers to the line by.
    pub tag: u32,
    /// Suite, key and salt of what the describing side sends.
    pub key: MasterKey,
}

impl CryptoLine {
    /// `tag suite inline:key[|lifetime] [parameters]` (RFC 4568 section 9.1).
    /// `None` for a malformed line, and for one that asks for what is not
    /// done: an unknown suite, several keys, an MKI, a derivation rate, or
    /// leaving out encryption or authentication.
    pub fn parse(value: &str) -> Option<Self> {
        let mut words = value.split_ascii_whitespace();
        let tag = tag(words.next()?)?;
        let suite = Suite::from_name(words.next()?)?;
        let key = key(suite, words.next()?)?;
        words
            .all(may_be_passed_over)
            .then_some(CryptoLine { tag, key })
    }

    /// The line without lifetime and parameters, whose defaults are meant.
    pub fn attribute(&self) -> Attribute {
        let MasterKey { suite, key, salt } = &self.key;
        let inline = BASE64.encode([key.as_slice(), salt.as_slice()].concat());
        let name = suite.name();
        Attribute::new("crypto", format!("{} {name} inline:{inline}", self.tag))
    }
}

/// The stream's lines that can be taken, in order: the first is the one its
/// sender prefers.
pub(super) fn lines(media: &Media) -> Vec<CryptoLine> {
    media
        .attributes
        .iter()
        .filter(|attribute| attribute.name.eq_ignore_ascii_case("crypto"))
        .take(MAX_LINES)
        .filter_map(|attribute| CryptoLine::parse(attribute.value.as_deref()?))
        .collect()
}

/// One to nine digits.
fn tag(word: &str) -> Option<u32> {
    let fits = word.len() <= 9 && word.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| word.parse().ok())?
}

/// `inline:` and the key, with a lifetime at most: an MKI has a colon, and
/// several keys are parted by semicolons.
fn key(suite: Suite, word: &str) -> Option<MasterKey> {
    let (method, info) = word.split_once(':')?;
    if !method.eq_ignore_ascii_case("inline") {
        return None;
    }
    let mut parts = info.split('|');
    let bytes = BASE64.decode(parts.next()?).ok()?;
    if !parts.next().is_none_or(is_lifetime) || parts.next().is_some() {
        return None;
    }
    if bytes.len() != suite.key_len() + suite.salt_len() {
        return None;
    }
    let (key, salt) = bytes.split_at(suite.key_len());
    Some(MasterKey {
        suite,
        key: key.to_vec(),
        salt: salt.to_vec(),
    })
}

/// A number of packets, as such or as `2^exponent`. A call ends long before
/// any lifetime in use does.
fn is_lifetime(text: &str) -> bool {
    let digits = text.strip_prefix("2^").unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// RFC 4568 section 6.3: the window size is a hint, and a parameter with a
/// dash may be passed over; any other changes what the packets look like.
fn may_be_passed_over(parameter: &str) -> bool {
    parameter.starts_with('-')
        || parameter
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("WSH="))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 4568 section 6.1.
    const KEY: &str = "inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    #[test]
    fn a_key_is_read_with_its_lifetime() {
        let value = format!("1 AES_CM_128_HMAC_SHA1_80 {KEY}|2^20 WSH=64 -x=1");
        let line = CryptoLine::parse(&value).unwrap();
        assert_eq!(line.tag, 1);
        assert_eq!(line.key.suite, Suite::Aes128CmSha1_80);
        assert_eq!(line.key.key, b"wDfvg&T+)xG7@fb5");
        assert_eq!(line.key.salt, br"jU,RaA}\|p0%*#");
    }

    #[test]
    fn a_line_of_every_suite_reads_back_what_it_printed() {
        for (tag, suite) in (1..).zip(Suite::ALL) {
            let key = MasterKey {
                suite,
                key: vec![0xA5; suite.key_len()],
                salt: vec![0x5A; suite.salt_len()],
            };
            let line = CryptoLine { tag, key };
            let attribute = line.attribute();
            let value = attribute.value.as_deref().unwrap();
            assert_eq!(CryptoLine::parse(value).as_ref(), Some(&line));
            // Some leave the padding out.
            let bare = value.trim_end_matches('=');
            assert_eq!(CryptoLine::parse(bare), Some(line));
        }
    }

    #[test]
    fn what_is_not_done_is_not_taken() {
        for rest in [
            format!("AES_CM_128_HMAC_SHA1_80 {KEY}|2^20|1:4"),
            format!("AES_CM_128_HMAC_SHA1_80 {KEY}|1:4"),
            format!("AES_CM_128_HMAC_SHA1_80 {KEY};{KEY}"),
            format!("AES_CM_128_HMAC_SHA1_80 {KEY} UNENCRYPTED_SRTP"),
            format!("AES_CM_128_HMAC_SHA1_80 {KEY} UNENCRYPTED_SRTCP"),
            format!("AES_CM_128_HMAC_SHA1_80 {KEY} UNAUTHENTICATED_SRTP"),
            format!("AES_CM_128_HMAC_SHA1_80 {KEY} KDR=4"),
            format!("AES_CM_128_HMAC_SHA1_80 {KEY} NEW=1"),
            format!("AEAD_AES_128_GCM {KEY}"),
            format!("F8_128_HMAC_SHA1_80 {KEY}"),
            "AES_CM_128_HMAC_SHA1_80 inline:short".to_owned(),
            "AES_CM_128_HMAC_SHA1_80 prompt:x".to_owned(),
            "AES_CM_128_HMAC_SHA1_80".to_owned(),
        ] {
            assert_eq!(CryptoLine::parse(&format!("1 {rest}")), None, "{rest}");
        }
        let line = format!("1234567890 AES_CM_128_HMAC_SHA1_80 {KEY}");
        assert_eq!(CryptoLine::parse(&line), None);
    }
}
