//! How a SIP leg's media is protected: what our offers say, what of a peer's
//! offer is taken, and what an answer settles (RFC 4568, RFC 5763, RFC 8643).

use std::fmt;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::crypto::{self, CryptoLine};
use super::dtls::{self, Setup};
use super::offer_answer::NegotiationError;
use super::session::{Attribute, Media, Profile, Session};
use crate::keying::{DtlsRole, Fingerprint, MasterKey, Security, SrtpKeying, SrtpPolicy, Suite};

/// What a leg may agree on to protect its media, and what it has agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSecurity {
    policy: SrtpPolicy,
    /// Of our offers; of a peer's offer the one taken where it has both.
    keying: SrtpKeying,
    secret: KeySecret,
    /// Suites that were in use and were left: they have no key any more, as a
    /// key must not begin to count packets anew (RFC 3711 section 9.1).
    spent: Vec<Suite>,
    /// Of our certificate; without one there is no DTLS.
    fingerprint: Option<Arc<Fingerprint>>,
    agreed: Agreed,
}

/// What our keys are made of, for what we send: one per suite, the same for the
/// whole dialog. Most calls need none of them, so they are made when they are
/// asked for. Never printed.
#[derive(Clone, PartialEq, Eq)]
struct KeySecret([u8; 32]);

impl KeySecret {
    /// The keys of all suites, best first: one stream of the generator that all
    /// secrets of calls come from, so that none tells of another.
    fn keys(&self) -> impl Iterator<Item = MasterKey> {
        let mut stream = StdRng::from_seed(self.0);
        Suite::ALL.into_iter().map(move |suite| {
            let (mut key, mut salt) = (vec![0; suite.key_len()], vec![0; suite.salt_len()]);
            stream.fill_bytes(&mut key);
            stream.fill_bytes(&mut salt);
            MasterKey { suite, key, salt }
        })
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(hidden)")
    }
}

/// What exchanges have agreed on so far; the usual outcome takes no room.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Agreed {
    Nothing,
    Plain,
    Protected(Box<Security>),
}

impl LocalSecurity {
    /// A leg whose media is never protected.
    pub fn off() -> Self {
        LocalSecurity::new(SrtpPolicy::Off, SrtpKeying::Sdes, None, |_| {})
    }

    /// A leg of this policy. `fill` writes random bytes: keys are made of them.
    pub fn new(
        policy: SrtpPolicy,
        keying: SrtpKeying,
        fingerprint: Option<Arc<Fingerprint>>,
        fill: impl FnOnce(&mut [u8]),
    ) -> Self {
        let mut secret = KeySecret([0; 32]);
        if policy != SrtpPolicy::Off {
            fill(&mut secret.0);
        }
        LocalSecurity {
            policy,
            keying,
            secret,
            spent: Vec::new(),
            fingerprint,
            agreed: Agreed::Nothing,
        }
    }

    /// Our keys, best first.
    fn keys(&self) -> impl Iterator<Item = MasterKey> {
        let unspent = move |key: &MasterKey| !self.spent.contains(&key.suite);
        self.secret.keys().filter(unspent)
    }

    /// The transport of a first offer. With an optional policy it is plain
    /// RTP, which every peer takes (RFC 8643 section 3.1).
    pub(super) fn profile(&self) -> Profile {
        match (self.policy, self.keying) {
            (SrtpPolicy::Off | SrtpPolicy::Optional, _) => Profile::RtpAvp,
            (SrtpPolicy::Required, SrtpKeying::Sdes) => Profile::RtpSavp,
            (SrtpPolicy::Required, SrtpKeying::Dtls) => Profile::UdpTlsRtpSavp,
        }
    }

    /// The lines of an offer. A later one repeats what was agreed on.
    ///
    /// # Errors
    /// [`NegotiationError::NoKeys`] when nothing could be offered although
    /// protection is required.
    pub(super) fn offer(&self) -> Result<Vec<Attribute>, NegotiationError> {
        let lines = match self.agreed() {
            Some(Security::Plain) => Vec::new(),
            Some(Security::Sdes { send, .. }) => vec![line(1, send)],
            Some(Security::Dtls { .. }) => self.dtls_lines(Setup::ActPass),
            None if self.policy == SrtpPolicy::Off => Vec::new(),
            None => match self.keying {
                SrtpKeying::Sdes => (1..)
                    .zip(self.keys())
                    .map(|(n, key)| line(n, &key))
                    .collect(),
                SrtpKeying::Dtls => self.dtls_lines(Setup::ActPass),
            },
        };
        if lines.is_empty() && self.policy == SrtpPolicy::Required {
            return Err(NegotiationError::NoKeys);
        }
        Ok(lines)
    }

    /// What of the peer's offer is taken, and the lines that say so.
    ///
    /// # Errors
    /// [`NegotiationError::SrtpOff`], [`NegotiationError::NoKeys`] or
    /// [`NegotiationError::NotProtected`], by policy.
    pub(super) fn answer(
        &self,
        session: &Session,
        media: &Media,
    ) -> Result<(Vec<Attribute>, Security), NegotiationError> {
        let protected = media.profile.is_protected();
        if self.policy == SrtpPolicy::Off {
            return if protected {
                Err(NegotiationError::SrtpOff)
            } else {
                Ok((Vec::new(), Security::Plain))
            };
        }
        let sdes = || self.take_crypto(media);
        let dtls = || self.take_dtls(session, media);
        let taken = match self.keying {
            SrtpKeying::Sdes => sdes().or_else(dtls),
            SrtpKeying::Dtls => dtls().or_else(sdes),
        };
        match taken {
            Some(taken) => Ok(taken),
            None if protected => Err(NegotiationError::NoKeys),
            None if self.policy == SrtpPolicy::Required => Err(NegotiationError::NotProtected),
            None => Ok((Vec::new(), Security::Plain)),
        }
    }

    /// Whether the policy lets an answer of the peer's be followed. An offer of
    /// ours under plain RTP, as the peer began with, leaves it the choice.
    ///
    /// # Errors
    /// [`NegotiationError::NotProtected`].
    pub(super) fn permit(&self, security: &Security) -> Result<(), NegotiationError> {
        match (self.policy, security) {
            (SrtpPolicy::Required, Security::Plain) => Err(NegotiationError::NotProtected),
            (_, _) => Ok(()),
        }
    }

    /// What the last exchange agreed on.
    pub(super) fn agreed(&self) -> Option<&Security> {
        match &self.agreed {
            Agreed::Nothing => None,
            Agreed::Plain => Some(&Security::Plain),
            Agreed::Protected(security) => Some(security),
        }
    }

    /// Keeps what an exchange agreed on for those that follow.
    pub(super) fn remember(&mut self, security: &Security) {
        if let Some(Security::Sdes { send: old, .. }) = self.agreed()
            && !matches!(security, Security::Sdes { send, .. } if send == old)
        {
            let left = old.suite;
            self.spent.push(left);
        }
        self.agreed = match security {
            Security::Plain => Agreed::Plain,
            Security::Sdes { .. } | Security::Dtls { .. } => {
                Agreed::Protected(Box::new(security.clone()))
            }
        };
    }

    /// RFC 4568 section 5.1.2: the first line that can be taken, under its
    /// own tag.
    fn take_crypto(&self, media: &Media) -> Option<(Vec<Attribute>, Security)> {
        // RFC 5764 section 8: this transport has its keys from DTLS.
        if media.profile.is_dtls() {
            return None;
        }
        crypto::lines(media).into_iter().find_map(|theirs| {
            let ours = self.keys().find(|key| key.suite == theirs.key.suite)?;
            let lines = vec![line(theirs.tag, &ours)];
            let security = Security::Sdes {
                send: ours,
                receive: theirs.key,
            };
            Some((lines, security))
        })
    }

    /// Passive where there is a choice, but a role stays while the association
    /// does (RFC 8842 section 5.5). RFC 5763 section 5 recommends active, which
    /// saves half a round trip; as server we can ask for proof of the peer's
    /// address before anything is kept, and need not know that address, which
    /// may be behind a NAT.
    fn take_dtls(&self, session: &Session, media: &Media) -> Option<(Vec<Attribute>, Security)> {
        let fingerprints = dtls::fingerprints(session, media);
        if fingerprints.is_empty() {
            return None;
        }
        let preferred = match self.agreed() {
            Some(Security::Dtls { role, .. }) => *role,
            Some(Security::Plain | Security::Sdes { .. }) | None => DtlsRole::Server,
        };
        let role = dtls::role(dtls::setup(session, media)?, preferred);
        let setup = match role {
            DtlsRole::Client => Setup::Active,
            DtlsRole::Server => Setup::Passive,
        };
        self.fingerprint.as_ref()?;
        let security = Security::Dtls { role, fingerprints };
        Some((self.dtls_lines(setup), security))
    }

    fn dtls_lines(&self, setup: Setup) -> Vec<Attribute> {
        let Some(fingerprint) = &self.fingerprint else {
            return Vec::new();
        };
        vec![
            dtls::fingerprint_attribute(fingerprint),
            Attribute::new("setup", setup.name()),
        ]
    }
}

/// What an answer makes of the protection that `ours`, the stream as offered,
/// asks for. A peer that took none is served in the clear only where the
/// offered transport is plain RTP.
///
/// # Errors
/// [`NegotiationError::NotProtected`] when it took none and had to,
/// [`NegotiationError::Crypto`] when it took what was not offered.
pub(super) fn settle(
    ours: &Media,
    answer: &Session,
    theirs: &Media,
) -> Result<Security, NegotiationError> {
    let offered = crypto::lines(ours);
    let with_crypto = theirs.attribute("crypto").is_some();
    if with_crypto && !offered.is_empty() {
        // RFC 4568 section 5.1.3: one line, with tag and suite of one of ours.
        let [taken] = crypto::lines(theirs)
            .try_into()
            .map_err(|_| NegotiationError::Crypto)?;
        let CryptoLine { tag, key } = taken;
        let own = offered
            .into_iter()
            .find(|line| line.tag == tag && line.key.suite == key.suite)
            .ok_or(NegotiationError::Crypto)?;
        return Ok(Security::Sdes {
            send: own.key,
            receive: key,
        });
    }
    let fingerprints = dtls::fingerprints(answer, theirs);
    if ours.attribute("fingerprint").is_some() && !fingerprints.is_empty() {
        // RFC 5763 section 5 leaves an answer the choice of two.
        let role = match dtls::setup(answer, theirs) {
            Some(Setup::Active) => DtlsRole::Server,
            Some(Setup::Passive) => DtlsRole::Client,
            Some(Setup::ActPass) | None => return Err(NegotiationError::Crypto),
        };
        return Ok(Security::Dtls { role, fingerprints });
    }
    if ours.profile.is_protected() {
        return Err(NegotiationError::NotProtected);
    }
    if theirs.profile.is_protected() {
        return Err(NegotiationError::Crypto);
    }
    Ok(Security::Plain)
}

fn line(tag: u32, key: &MasterKey) -> Attribute {
    let key = key.clone();
    CryptoLine { tag, key }.attribute()
}
