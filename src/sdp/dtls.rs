//! DTLS-SRTP in session descriptions: `a=fingerprint` (RFC 8122) and `a=setup`
//! (RFC 4145, RFC 5763).

use super::ice::attribute;
use super::session::{Attribute, Media, Session};
use crate::keying::{DtlsRole, Fingerprint, FingerprintHash};

/// Fingerprints that are looked at.
const MAX_FINGERPRINTS: usize = 8;

/// What a description's `a=setup` says of its sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Setup {
    /// It opens the handshake.
    Active,
    /// It waits for it.
    Passive,
    /// The answerer chooses.
    ActPass,
}

impl Setup {
    pub(super) fn name(self) -> &'static str {
        match self {
            Setup::Active => "active",
            Setup::Passive => "passive",
            Setup::ActPass => "actpass",
        }
    }
}

impl FingerprintHash {
    /// Its name (RFC 8122 section 5).
    pub fn name(self) -> &'static str {
        match self {
            FingerprintHash::Sha1 => "sha-1",
            FingerprintHash::Sha256 => "sha-256",
            FingerprintHash::Sha384 => "sha-384",
            FingerprintHash::Sha512 => "sha-512",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        use FingerprintHash::*;
        [Sha1, Sha256, Sha384, Sha512]
            .into_iter()
            .find(|hash| hash.name().eq_ignore_ascii_case(name))
    }

    fn len(self) -> usize {
        match self {
            FingerprintHash::Sha1 => 20,
            FingerprintHash::Sha256 => 32,
            FingerprintHash::Sha384 => 48,
            FingerprintHash::Sha512 => 64,
        }
    }
}

/// `a=setup` of the stream or the session; without one an offer means active
/// (RFC 4145 section 4).
pub(super) fn setup(session: &Session, media: &Media) -> Option<Setup> {
    let stated = media.attribute("setup").map(str::to_owned);
    let stated = stated.or_else(|| attribute(&session.attributes, "setup"));
    match stated?.trim() {
        "active" => Some(Setup::Active),
        "passive" => Some(Setup::Passive),
        "actpass" => Some(Setup::ActPass),
        _ => None,
    }
}

/// Our role when the peer's description says so and we choose `ours` of both.
pub(super) fn role(theirs: Setup, ours: DtlsRole) -> DtlsRole {
    match theirs {
        Setup::Active => DtlsRole::Server,
        Setup::Passive => DtlsRole::Client,
        Setup::ActPass => ours,
    }
}

/// The fingerprints of a stream, or of the session where it has none. Those of
/// unknown hashes and such as are malformed are passed over.
pub(super) fn fingerprints(session: &Session, media: &Media) -> Vec<Fingerprint> {
    let of = |attributes: &[Attribute]| -> Vec<Fingerprint> {
        attributes
            .iter()
            .filter(|attribute| attribute.name.eq_ignore_ascii_case("fingerprint"))
            .filter_map(|attribute| parse(attribute.value.as_deref()?))
            .take(MAX_FINGERPRINTS)
            .collect()
    };
    let own = of(&media.attributes);
    if own.is_empty() {
        of(&session.attributes)
    } else {
        own
    }
}

fn parse(value: &str) -> Option<Fingerprint> {
    let (name, digits) = value.trim().split_once(' ')?;
    let hash = FingerprintHash::from_name(name)?;
    let digest: Option<Vec<u8>> = digits
        .trim()
        .split(':')
        .map(|pair| (pair.len() == 2).then(|| u8::from_str_radix(pair, 16).ok())?)
        .collect();
    let digest = digest?;
    (digest.len() == hash.len()).then_some(Fingerprint { hash, digest })
}

/// `a=fingerprint`, with the upper-case digits that RFC 8122 section 5 wants.
pub(super) fn fingerprint_attribute(fingerprint: &Fingerprint) -> Attribute {
    let pairs: Vec<String> = fingerprint
        .digest
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let name = fingerprint.hash.name();
    Attribute::new("fingerprint", format!("{name} {}", pairs.join(":")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_reads_back_what_it_printed() {
        let fingerprint = Fingerprint {
            hash: FingerprintHash::Sha256,
            digest: (0..32).map(|n| n * 7).collect(),
        };
        let attribute = fingerprint_attribute(&fingerprint);
        assert_eq!(
            parse(attribute.value.as_deref().unwrap()),
            Some(fingerprint)
        );
    }

    #[test]
    fn a_fingerprint_of_the_wrong_length_or_of_an_unknown_hash_is_none() {
        assert_eq!(parse("sha-256 00:11"), None);
        assert_eq!(
            parse("md5 00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff"),
            None
        );
        assert_eq!(parse("sha-1 zz:11"), None);
    }
}
