//! What two ends agree on to protect media: suites, keys, fingerprints, ICE
//! credentials, and what an operator asks for. Shared by the rooms that
//! negotiate it (`sdp`, `call`) and the one that uses it (`media`).

use std::fmt;

/// An SRTP protection profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-128 counter mode with an 80-bit HMAC-SHA1 tag (RFC 3711; RFC 4568
    /// section 6.2.1).
    Aes128CmSha1_80,
    /// The same with a 32-bit tag on RTP, 80 bits on RTCP (RFC 4568 section
    /// 6.2.2).
    Aes128CmSha1_32,
    /// AES-128 in Galois/counter mode (RFC 7714).
    AeadAes128Gcm,
    /// AES-256 in Galois/counter mode (RFC 7714).
    AeadAes256Gcm,
}

impl Suite {
    /// All that are spoken, the preferred one first.
    pub const ALL: [Suite; 4] = [
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
        Suite::Aes128CmSha1_80,
        Suite::Aes128CmSha1_32,
    ];

    /// Length of the master key in bytes.
    pub fn key_len(self) -> usize {
        match self {
            Suite::Aes128CmSha1_80 | Suite::Aes128CmSha1_32 | Suite::AeadAes128Gcm => 16,
            Suite::AeadAes256Gcm => 32,
        }
    }

    /// Length of the master salt in bytes (RFC 3711 section 8.2, RFC 7714
    /// section 12).
    pub fn salt_len(self) -> usize {
        match self {
            Suite::Aes128CmSha1_80 | Suite::Aes128CmSha1_32 => 14,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12,
        }
    }

    /// Its name in `a=crypto` (RFC 4568 section 6.2, RFC 7714 section 14.2).
    pub fn name(self) -> &'static str {
        match self {
            Suite::Aes128CmSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::Aes128CmSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// The suite of this name.
    pub fn from_name(name: &str) -> Option<Suite> {
        Suite::ALL
            .into_iter()
            .find(|suite| suite.name().eq_ignore_ascii_case(name))
    }
}

/// A master key and salt of one direction. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    /// What it is for.
    pub suite: Suite,
    /// [`Suite::key_len`] bytes.
    pub key: Vec<u8>,
    /// [`Suite::salt_len`] bytes.
    pub salt: Vec<u8>,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({}, hidden)", self.suite.name())
    }
}

/// The hash of a certificate fingerprint (RFC 8122 section 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FingerprintHash {
    /// `sha-1`: seen from old phones.
    Sha1,
    /// `sha-256`: the usual one.
    Sha256,
    /// `sha-384`
    Sha384,
    /// `sha-512`
    Sha512,
}

/// The hash of a DTLS certificate, as an SDP names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fingerprint {
    /// How it was made.
    pub hash: FingerprintHash,
    /// The digest.
    pub digest: Vec<u8>,
}

/// Who opens the DTLS handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DtlsRole {
    /// We do (`a=setup:active`).
    Client,
    /// The peer does (`a=setup:passive`).
    Server,
}

/// How a leg's media is protected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Security {
    /// Not at all.
    #[default]
    Plain,
    /// With keys that the SDP carried (RFC 4568).
    Sdes {
        /// For what we send.
        send: MasterKey,
        /// For what we receive.
        receive: MasterKey,
    },
    /// With keys that a DTLS handshake gives (RFC 5764).
    Dtls {
        /// Our role in it.
        role: DtlsRole,
        /// One of these is the peer's certificate's.
        fingerprints: Vec<Fingerprint>,
    },
}

/// User name fragment and password of one ICE agent (RFC 8445 section 5.3).
/// The password is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct IceCredentials {
    /// `a=ice-ufrag`
    pub ufrag: String,
    /// `a=ice-pwd`
    pub password: String,
}

impl fmt::Debug for IceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IceCredentials({}, password hidden)", self.ufrag)
    }
}

/// Whether a SIP leg's media is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SrtpPolicy {
    /// Never: an offer of nothing but SRTP is refused.
    Off,
    /// Where the peer can: our offer leaves the choice to it.
    Optional,
    /// Always: a peer that cannot is refused, never served in the clear.
    Required,
}

/// Where the keys of an SRTP offer of ours come from. Of a peer's offer
/// either is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SrtpKeying {
    /// `a=crypto` (RFC 4568).
    #[default]
    Sdes,
    /// A DTLS handshake (RFC 5763).
    Dtls,
}

impl SrtpPolicy {
    /// Its word in configuration and API.
    pub fn name(self) -> &'static str {
        match self {
            SrtpPolicy::Off => "off",
            SrtpPolicy::Optional => "optional",
            SrtpPolicy::Required => "required",
        }
    }

    /// Its word in configuration and API: `off`, `optional` or `required`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "off" => Some(SrtpPolicy::Off),
            "optional" => Some(SrtpPolicy::Optional),
            "required" => Some(SrtpPolicy::Required),
            _ => None,
        }
    }
}

impl SrtpKeying {
    /// Its word in configuration and API.
    pub fn name(self) -> &'static str {
        match self {
            SrtpKeying::Sdes => "sdes",
            SrtpKeying::Dtls => "dtls",
        }
    }

    /// Its word in configuration and API: `sdes` or `dtls`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "sdes" => Some(SrtpKeying::Sdes),
            "dtls" => Some(SrtpKeying::Dtls),
            _ => None,
        }
    }
}

/// What one call asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Srtp {
    /// Whether.
    pub policy: SrtpPolicy,
    /// How, where the gateway offers.
    pub keying: SrtpKeying,
}

impl Srtp {
    /// Protected where the caller offers it.
    pub const WHERE_OFFERED: Srtp = Srtp {
        policy: SrtpPolicy::Optional,
        keying: SrtpKeying::Sdes,
    };

    /// Media in the clear.
    pub const OFF: Srtp = Srtp {
        policy: SrtpPolicy::Off,
        keying: SrtpKeying::Sdes,
    };
}
