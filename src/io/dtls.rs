//! DTLS 1.2 with OpenSSL, over buffers: no socket of its own. The protocol's
//! clock is OpenSSL's; everything else is decided in `media::dtls`.

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::srtp::SrtpProfileId;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslRef,
    SslSessionCacheMode, SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::{X509, X509NameBuilder};

use crate::keying::{DtlsRole, Fingerprint, FingerprintHash, MasterKey, Suite};
use crate::media::dtls::{DtlsEngine, DtlsKeys, DtlsSession, DtlsState};

/// SRTP profiles by OpenSSL's names, the preferred one first (RFC 5764 section
/// 4.1.2, RFC 7714 section 14.2).
const PROFILES: &str = "SRTP_AEAD_AES_128_GCM:SRTP_AEAD_AES_256_GCM:\
                        SRTP_AES128_CM_SHA1_80:SRTP_AES128_CM_SHA1_32";

/// Forward secrecy always. The RSA suites are for servers with an RSA
/// certificate; ours is ECDSA. CBC is for phones older than TLS 1.2's AEADs.
const CIPHERS: &str = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:\
                       ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:\
                       ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:\
                       ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:\
                       ECDHE-ECDSA-AES256-SHA:ECDHE-RSA-AES256-SHA";

/// OpenSSL's security level: 1 lets 1024-bit RSA and SHA-1 signatures of old
/// phones in; it is the fingerprint that is believed, not the certificate.
const SECURITY_LEVEL: u32 = 1;

/// Longest datagram of a handshake, in bytes: passes every tunnel and IPv6.
const MTU: u32 = 1200;

/// First wait before a flight is repeated, and the longest. RFC 6347 section
/// 4.2.4.1 proposes 1 s; a call waits for this handshake.
const FIRST_REPEAT: Duration = Duration::from_millis(200);
const LAST_REPEAT: Duration = Duration::from_millis(3200);

/// Label of the keys (RFC 5764 section 4.2).
const EXPORTER: &str = "EXTRACTOR-dtls_srtp";

/// How long the certificate holds, in days. It lives as long as the process;
/// peers look at its fingerprint only.
const VALID_DAYS: u32 = 3650;

// Of OpenSSL's ssl.h; the openssl crate does not wrap them.
const DTLS_CTRL_GET_TIMEOUT: c_int = 73;
const DTLS_CTRL_HANDLE_TIMEOUT: c_int = 74;

unsafe extern "C" {
    fn SSL_ctrl(ssl: *mut c_void, command: c_int, number: c_long, pointer: *mut c_void) -> c_long;
    fn DTLS_set_timer_cb(ssl: *mut c_void, callback: extern "C" fn(*mut c_void, c_uint) -> c_uint);
}

/// How long OpenSSL waits next, in µs, given how long it has waited.
extern "C" fn repeat_after(_: *mut c_void, waited_us: c_uint) -> c_uint {
    let next = Duration::from_micros(u64::from(waited_us)) * 2;
    next.clamp(FIRST_REPEAT, LAST_REPEAT).as_micros() as c_uint
}

/// The gateway's certificate and how it shakes hands; cheap to clone, so that
/// all shards have the same.
#[derive(Clone)]
pub struct OpenSslEngine {
    context: SslContext,
    /// The same for servers that ask for proof of the peer's address.
    proving: SslContext,
    cookie: Index<Ssl, [u8; 16]>,
    fingerprint: Fingerprint,
}

impl std::fmt::Debug for OpenSslEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenSslEngine")
            .field("fingerprint", &self.fingerprint)
            .finish_non_exhaustive()
    }
}

impl OpenSslEngine {
    /// With a fresh self-signed ECDSA P-256 certificate.
    ///
    /// # Errors
    /// What OpenSSL refuses.
    pub fn new() -> Result<OpenSslEngine, ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        OpenSslEngine::with_key(&key)
    }

    /// With a self-signed certificate of this key.
    ///
    /// # Errors
    /// What OpenSSL refuses.
    pub fn with_key(key: &PKey<Private>) -> Result<OpenSslEngine, ErrorStack> {
        let certificate = self_signed(key)?;
        let digest = certificate.digest(MessageDigest::sha256())?.to_vec();
        let cookie = Ssl::new_ex_index()?;
        let context = build(&certificate, key, None)?;
        let proving = build(&certificate, key, Some(cookie))?;
        Ok(OpenSslEngine {
            context,
            proving,
            cookie,
            fingerprint: Fingerprint {
                hash: FingerprintHash::Sha256,
                digest,
            },
        })
    }

    fn session(&self, role: DtlsRole, prove_address: bool) -> Result<Session, ErrorStack> {
        let context = match prove_address {
            true => &self.proving,
            false => &self.context,
        };
        let mut ssl = Ssl::new(context)?;
        ssl.set_mtu(MTU)?;
        match role {
            DtlsRole::Client => ssl.set_connect_state(),
            DtlsRole::Server => ssl.set_accept_state(),
        }
        if prove_address {
            let mut cookie = [0; 16];
            openssl::rand::rand_bytes(&mut cookie)?;
            ssl.set_ex_data(self.cookie, cookie);
        }
        // SAFETY: the pointer is the live session's, and the callback touches
        // none of its arguments' memory.
        unsafe { DTLS_set_timer_cb(raw(&ssl), repeat_after) };
        Ok(Session {
            stream: SslStream::new(ssl, Wire::default())?,
            state: DtlsState::Handshaking,
            next: None,
        })
    }
}

impl DtlsEngine for OpenSslEngine {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn start(
        &mut self,
        role: DtlsRole,
        prove_address: bool,
    ) -> Result<Box<dyn DtlsSession>, &'static str> {
        match self.session(role, prove_address) {
            Ok(session) => Ok(Box::new(session)),
            Err(error) => {
                tracing::warn!(%error, "OpenSSL starts no DTLS session");
                Err("OpenSSL refused")
            }
        }
    }
}

/// What all sessions of one kind share.
fn build(
    certificate: &X509,
    key: &PKey<Private>,
    cookie: Option<Index<Ssl, [u8; 16]>>,
) -> Result<SslContext, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::dtls())?;
    context.set_min_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_max_proto_version(Some(SslVersion::DTLS1_2))?;
    context.set_security_level(SECURITY_LEVEL);
    context.set_cipher_list(CIPHERS)?;
    context.set_certificate(certificate)?;
    context.set_private_key(key)?;
    context.set_tlsext_use_srtp(PROFILES)?;
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    context.set_options(
        SslOptions::NO_QUERY_MTU | SslOptions::NO_RENEGOTIATION | SslOptions::NO_TICKET,
    );
    // Any certificate will do: `media` compares it with the SDP.
    let mode = SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT;
    context.set_verify_callback(mode, |_, _| true);
    if let Some(cookie) = cookie {
        context.set_options(SslOptions::COOKIE_EXCHANGE);
        set_cookies(&mut context, cookie);
    }
    Ok(context.build())
}

/// A session's cookie is 16 random bytes of its own: one session talks to one
/// address.
fn set_cookies(context: &mut SslContextBuilder, cookie: Index<Ssl, [u8; 16]>) {
    context.set_cookie_generate_cb(move |ssl, buffer| {
        let Some(known) = ssl.ex_data(cookie) else {
            return Ok(0);
        };
        match buffer.get_mut(..known.len()) {
            Some(place) => {
                place.copy_from_slice(known);
                Ok(known.len())
            }
            None => Ok(0),
        }
    });
    context.set_cookie_verify_cb(move |ssl, told| {
        ssl.ex_data(cookie)
            .is_some_and(|known| known.len() == told.len() && openssl::memcmp::eq(known, told))
    });
}

fn self_signed(key: &PKey<Private>) -> Result<X509, ErrorStack> {
    let mut name = X509NameBuilder::new()?;
    name.append_entry_by_nid(Nid::COMMONNAME, "ringwire")?;
    let name = name.build();
    let mut serial = BigNum::new()?;
    serial.rand(127, MsbOption::MAYBE_ZERO, false)?;
    let mut builder = X509::builder()?;
    builder.set_version(2)?;
    builder.set_serial_number(serial.to_asn1_integer()?.as_ref())?;
    builder.set_subject_name(&name)?;
    builder.set_issuer_name(&name)?;
    let not_before = Asn1Time::days_from_now(0)?;
    let not_after = Asn1Time::days_from_now(VALID_DAYS)?;
    builder.set_not_before(&not_before)?;
    builder.set_not_after(&not_after)?;
    builder.set_pubkey(key)?;
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}

/// What OpenSSL takes for a socket.
#[derive(Debug, Default)]
struct Wire {
    incoming: Option<Vec<u8>>,
    outgoing: Vec<Vec<u8>>,
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let datagram = self.incoming.take().ok_or(io::ErrorKind::WouldBlock)?;
        let len = datagram.len().min(buffer.len());
        buffer[..len].copy_from_slice(&datagram[..len]);
        Ok(len)
    }
}

impl Write for Wire {
    fn write(&mut self, datagram: &[u8]) -> io::Result<usize> {
        self.outgoing.push(datagram.to_vec());
        Ok(datagram.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Session {
    stream: SslStream<Wire>,
    state: DtlsState,
    next: Option<Instant>,
}

impl DtlsSession for Session {
    fn handle(&mut self, now: Instant, datagram: &[u8], out: &mut dyn FnMut(&[u8])) {
        if !datagram.is_empty() {
            self.stream.get_mut().incoming = Some(datagram.to_vec());
        }
        self.go_on();
        self.flush(now, out);
    }

    fn timeout(&mut self, now: Instant, out: &mut dyn FnMut(&[u8])) {
        // SAFETY: the pointer is the live session's; the command takes no
        // further arguments.
        let result = unsafe {
            SSL_ctrl(
                raw(self.stream.ssl()),
                DTLS_CTRL_HANDLE_TIMEOUT,
                0,
                std::ptr::null_mut(),
            )
        };
        if result < 0 && matches!(self.state, DtlsState::Handshaking) {
            self.state = DtlsState::Failed("the peer does not answer the handshake");
        }
        self.flush(now, out);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.next
    }

    fn state(&self) -> &DtlsState {
        &self.state
    }
}

impl Session {
    fn go_on(&mut self) {
        match &self.state {
            DtlsState::Handshaking => match self.stream.do_handshake() {
                Ok(()) => self.state = keys(self.stream.ssl()),
                Err(error) if is_waiting(error.code()) => {}
                Err(error) => {
                    tracing::debug!(%error, "a DTLS handshake has failed");
                    self.state = DtlsState::Failed("the DTLS handshake failed");
                }
            },
            DtlsState::Done(_) => self.read_on(),
            DtlsState::Failed(_) | DtlsState::Closed => {}
        }
        // What was not read is not for this session.
        self.stream.get_mut().incoming = None;
    }

    /// After the handshake: data is nothing to us, a repeated last flight of
    /// the peer is answered by OpenSSL, and an alert is the end.
    fn read_on(&mut self) {
        let mut data = [0; 2048];
        while self.stream.get_ref().incoming.is_some() || self.stream.ssl().pending() > 0 {
            match self.stream.ssl_read(&mut data) {
                Ok(_) => {}
                Err(error) if is_waiting(error.code()) => return,
                Err(_) => {
                    self.state = DtlsState::Closed;
                    return;
                }
            }
        }
    }

    fn flush(&mut self, now: Instant, out: &mut dyn FnMut(&[u8])) {
        for datagram in self.stream.get_mut().outgoing.drain(..) {
            out(&datagram);
        }
        self.next = match self.state {
            DtlsState::Handshaking | DtlsState::Done(_) => self.remaining().map(|left| now + left),
            DtlsState::Failed(_) | DtlsState::Closed => None,
        };
    }

    /// Time until OpenSSL wants to repeat a flight.
    fn remaining(&self) -> Option<Duration> {
        let mut left = libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        };
        // SAFETY: the pointers are the live session's and a live timeval's,
        // which is what the command writes to.
        let result = unsafe {
            SSL_ctrl(
                raw(self.stream.ssl()),
                DTLS_CTRL_GET_TIMEOUT,
                0,
                (&raw mut left).cast(),
            )
        };
        (result > 0).then(|| {
            let seconds = u64::try_from(left.tv_sec).unwrap_or(0);
            let micros = u64::try_from(left.tv_usec).unwrap_or(0);
            Duration::from_secs(seconds) + Duration::from_micros(micros)
        })
    }
}

/// The session as OpenSSL knows it: an `SslRef` is the `SSL` itself.
fn raw(ssl: &SslRef) -> *mut c_void {
    std::ptr::from_ref(ssl).cast_mut().cast()
}

fn is_waiting(code: ErrorCode) -> bool {
    code == ErrorCode::WANT_READ || code == ErrorCode::WANT_WRITE
}

/// The keys of a handshake that is done (RFC 5764 section 4.2): both keys,
/// then both salts, the client's first.
fn keys(ssl: &SslRef) -> DtlsState {
    let suite = match ssl.selected_srtp_profile().map(|profile| profile.id()) {
        Some(SrtpProfileId::SRTP_AES128_CM_SHA1_80) => Suite::Aes128CmSha1_80,
        Some(SrtpProfileId::SRTP_AES128_CM_SHA1_32) => Suite::Aes128CmSha1_32,
        Some(SrtpProfileId::SRTP_AEAD_AES_128_GCM) => Suite::AeadAes128Gcm,
        Some(SrtpProfileId::SRTP_AEAD_AES_256_GCM) => Suite::AeadAes256Gcm,
        Some(_) | None => return DtlsState::Failed("no SRTP profile in common"),
    };
    let Some(Ok(peer_certificate)) = ssl.peer_certificate().map(|peer| peer.to_der()) else {
        return DtlsState::Failed("the peer shows no certificate");
    };
    let (key, salt) = (suite.key_len(), suite.salt_len());
    let mut material = vec![0; 2 * (key + salt)];
    if let Err(error) = ssl.export_keying_material(&mut material, EXPORTER, None) {
        tracing::warn!(%error, "OpenSSL exports no keys");
        return DtlsState::Failed("OpenSSL exports no keys");
    }
    let (keys, salts) = material.split_at(2 * key);
    let master = |n: usize| MasterKey {
        suite,
        key: keys[n * key..(n + 1) * key].to_vec(),
        salt: salts[n * salt..(n + 1) * salt].to_vec(),
    };
    DtlsState::Done(Box::new(DtlsKeys {
        client: master(0),
        server: master(1),
        peer_certificate,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::rsa::Rsa;

    /// Plays two sessions against each other until both are done or nothing
    /// moves; drops the datagrams whose running number is in `lost`.
    fn shake(mut client: Session, mut server: Session, lost: &[usize]) -> (Session, Session) {
        let start = Instant::now();
        let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
        client.handle(start, &[], &mut |d| to_server.push(d.to_vec()));
        let mut number = 0;
        let mut arrives = || {
            number += 1;
            !lost.contains(&number)
        };
        let is_done = |session: &Session| matches!(session.state, DtlsState::Done(_));
        while start.elapsed() < Duration::from_secs(10) {
            let now = Instant::now();
            for datagram in std::mem::take(&mut to_server) {
                assert!(datagram.len() <= MTU as usize);
                if arrives() {
                    server.handle(now, &datagram, &mut |d| to_client.push(d.to_vec()));
                }
            }
            for datagram in std::mem::take(&mut to_client) {
                assert!(datagram.len() <= MTU as usize);
                if arrives() {
                    client.handle(now, &datagram, &mut |d| to_server.push(d.to_vec()));
                }
            }
            if is_done(&client) && is_done(&server) {
                break;
            }
            if to_server.is_empty() && to_client.is_empty() {
                let next = client.next.into_iter().chain(server.next).min();
                let Some(next) = next else { break };
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                let now = Instant::now();
                if client.next.is_some_and(|at| at <= now) {
                    client.timeout(now, &mut |d| to_server.push(d.to_vec()));
                }
                if server.next.is_some_and(|at| at <= now) {
                    server.timeout(now, &mut |d| to_client.push(d.to_vec()));
                }
            }
        }
        (client, server)
    }

    fn done(session: &Session) -> &DtlsKeys {
        match &session.state {
            DtlsState::Done(keys) => keys,
            other => panic!("not done: {other:?}"),
        }
    }

    fn rsa() -> OpenSslEngine {
        let key = Rsa::generate(2048).expect("a key");
        OpenSslEngine::with_key(&PKey::from_rsa(key).expect("a key")).expect("an engine")
    }

    fn check(client: &OpenSslEngine, server: &OpenSslEngine, prove: bool, lost: &[usize]) {
        let (client_end, server_end) = (
            client.session(DtlsRole::Client, false).expect("a session"),
            server.session(DtlsRole::Server, prove).expect("a session"),
        );
        let (client_end, server_end) = shake(client_end, server_end, lost);
        let (ours, theirs) = (done(&client_end), done(&server_end));
        assert_eq!(ours.client.suite, Suite::AeadAes128Gcm);
        assert!(ours.client == theirs.client && ours.server == theirs.server);
        assert!(ours.client != ours.server);
        let digest = |der: &[u8]| openssl::sha::sha256(der).to_vec();
        assert_eq!(digest(&ours.peer_certificate), server.fingerprint.digest);
        assert_eq!(digest(&theirs.peer_certificate), client.fingerprint.digest);
    }

    #[test]
    fn two_ends_agree_on_keys_and_know_each_others_certificate() {
        let (one, other) = (OpenSslEngine::new(), OpenSslEngine::new());
        let (one, other) = (one.expect("an engine"), other.expect("an engine"));
        check(&one, &other, false, &[]);
        check(&one, &other, true, &[]);
    }

    #[test]
    fn an_rsa_peer_is_fine_in_both_roles() {
        let (ours, theirs) = (OpenSslEngine::new().expect("an engine"), rsa());
        check(&ours, &theirs, false, &[]);
        check(&theirs, &ours, true, &[]);
    }

    #[test]
    fn any_lost_datagram_is_made_up_for() {
        let (one, other) = (OpenSslEngine::new(), OpenSslEngine::new());
        let (one, other) = (one.expect("an engine"), other.expect("an engine"));
        for number in 1..=6 {
            check(&one, &other, true, &[number]);
        }
    }

    #[test]
    fn with_proof_the_first_answer_is_smaller_than_its_question() {
        let engine = OpenSslEngine::new().expect("an engine");
        let mut client = engine.session(DtlsRole::Client, false).expect("a session");
        let mut server = engine.session(DtlsRole::Server, true).expect("a session");
        let (mut hello, mut answer): (Vec<u8>, Vec<u8>) = Default::default();
        let now = Instant::now();
        client.handle(now, &[], &mut |d| hello.extend_from_slice(d));
        server.handle(now, &hello, &mut |d| answer.extend_from_slice(d));
        assert!(!answer.is_empty() && answer.len() < hello.len());
    }
}
