//! DTLS 1.2 with OpenSSL, over buffers: no socket of its own. The protocol's
//! clock is OpenSSL's; everything else is decided in `media::dtls`.

use std::ffi::{c_int, c_long, c_uint, c_void};
use std::io::{self, Read, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::ex_data::Index;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use openssl::srtp::SrtpProfileId;
use openssl::ssl::{
    ErrorCode, Ssl, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslRef,
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

/// Curves, the cheapest first: with P-256 a handshake costs a sixth more.
const GROUPS: &str = "X25519:P-256:P-384:P-521";

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
    fn SSL_CTX_set_cert_verify_callback(
        context: *mut c_void,
        callback: extern "C" fn(*mut c_void, *mut c_void) -> c_int,
        argument: *mut c_void,
    );
    fn SSL_ctrl(ssl: *mut c_void, command: c_int, number: c_long, pointer: *mut c_void) -> c_long;
    fn DTLS_set_timer_cb(ssl: *mut c_void, callback: extern "C" fn(*mut c_void, c_uint) -> c_uint);
    fn DTLSv1_listen(ssl: *mut c_void, client: *mut c_void) -> c_int;
    fn BIO_ADDR_new() -> *mut c_void;
    fn BIO_ADDR_free(address: *mut c_void);
}

/// How long OpenSSL waits next, in µs, given how long it has waited.
extern "C" fn repeat_after(_: *mut c_void, waited_us: c_uint) -> c_uint {
    let next = Duration::from_micros(u64::from(waited_us)) * 2;
    next.clamp(FIRST_REPEAT, LAST_REPEAT).as_micros() as c_uint
}

/// Any certificate will do: `media` compares it with the SDP's fingerprint
/// (RFC 5763 section 5), and no chain is built that nobody would look at.
/// That the peer has the certificate's key is proved by its signature.
extern "C" fn believe(_: *mut c_void, _: *mut c_void) -> c_int {
    1
}

/// The gateway's certificate and how it shakes hands; cheap to clone, so that
/// all shards have the same.
#[derive(Clone)]
pub struct OpenSslEngine {
    context: SslContext,
    /// The same for servers that ask for proof of the peer's address.
    proving: SslContext,
    cookie: Index<Ssl, Cookie>,
    /// What cookies are made with.
    secret: [u8; 32],
    /// The session that waits for the next proof.
    waiting: Waiting,
    fingerprint: Fingerprint,
}

/// The cookie that a session wants to be shown.
type Cookie = Mutex<[u8; COOKIE]>;

/// Bytes of a cookie.
const COOKIE: usize = 16;

/// Each copy of an engine makes its own.
#[derive(Default)]
struct Waiting(Option<Session>);

impl Clone for Waiting {
    fn clone(&self) -> Self {
        Waiting(None)
    }
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
        let mut secret = [0; 32];
        openssl::rand::rand_bytes(&mut secret)?;
        let context = build(&certificate, key, None)?;
        let proving = build(&certificate, key, Some(cookie))?;
        Ok(OpenSslEngine {
            context,
            proving,
            cookie,
            secret,
            waiting: Waiting::default(),
            fingerprint: Fingerprint {
                hash: FingerprintHash::Sha256,
                digest,
            },
        })
    }

    fn session(&self, role: DtlsRole) -> Result<Session, ErrorStack> {
        let mut ssl = Ssl::new(&self.context)?;
        match role {
            DtlsRole::Client => ssl.set_connect_state(),
            DtlsRole::Server => ssl.set_accept_state(),
        }
        Session::new(ssl)
    }

    /// A server that asks for a cookie.
    fn proving(&self) -> Result<Session, ErrorStack> {
        let mut ssl = Ssl::new(&self.proving)?;
        ssl.set_accept_state();
        ssl.set_ex_data(self.cookie, Cookie::default());
        Session::new(ssl)
    }

    /// Nobody makes it up who does not know the secret, and nobody learns it
    /// who does not receive at the address.
    fn cookie_of(&self, address: &[u8]) -> Result<[u8; COOKIE], ErrorStack> {
        let key = PKey::hmac(&self.secret)?;
        let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
        let digest = signer.sign_oneshot_to_vec(address)?;
        let mut cookie = [0; COOKIE];
        cookie.copy_from_slice(&digest[..COOKIE]);
        Ok(cookie)
    }

    /// Shows the hello to the session that waits; true when it is the
    /// session's own now.
    fn listen(
        &self,
        waiting: &mut Session,
        address: &[u8],
        hello: &[u8],
    ) -> Result<bool, ErrorStack> {
        let cookie = self.cookie_of(address)?;
        if let Some(place) = waiting.stream.ssl().ex_data(self.cookie)
            && let Ok(mut place) = place.lock()
        {
            *place = cookie;
        }
        waiting.stream.get_mut().incoming = Some(hello.to_vec());
        // SAFETY: the session is live, the address is made before and freed
        // after the call, which keeps neither.
        let result = unsafe {
            let client = BIO_ADDR_new();
            let result = DTLSv1_listen(raw(waiting.stream.ssl()), client);
            BIO_ADDR_free(client);
            result
        };
        waiting.stream.get_mut().incoming = None;
        match result {
            1 => Ok(true),
            0 => Ok(false),
            _ => Err(ErrorStack::get()),
        }
    }
}

impl DtlsEngine for OpenSslEngine {
    fn fingerprint(&self) -> Fingerprint {
        self.fingerprint.clone()
    }

    fn start(&mut self, role: DtlsRole) -> Result<Box<dyn DtlsSession>, &'static str> {
        match self.session(role) {
            Ok(session) => Ok(Box::new(session)),
            Err(error) => {
                tracing::warn!(%error, "OpenSSL starts no DTLS session");
                Err("OpenSSL refused")
            }
        }
    }

    fn greet(
        &mut self,
        address: &[u8],
        hello: &[u8],
        out: &mut dyn FnMut(&[u8]),
    ) -> Result<Option<Box<dyn DtlsSession>>, &'static str> {
        let waiting = self.waiting.0.take().map_or_else(|| self.proving(), Ok);
        let mut waiting = waiting.map_err(|_| "OpenSSL refused")?;
        // After an error the session is not used again.
        let is_proved = self
            .listen(&mut waiting, address, hello)
            .map_err(|_| "no ClientHello that can be answered")?;
        for datagram in waiting.stream.get_mut().outgoing.drain(..) {
            out(&datagram);
        }
        if is_proved {
            return Ok(Some(Box::new(waiting)));
        }
        self.waiting = Waiting(Some(waiting));
        Ok(None)
    }
}

/// What all sessions of one kind share.
fn build(
    certificate: &X509,
    key: &PKey<Private>,
    cookie: Option<Index<Ssl, Cookie>>,
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
    context.set_groups_list(GROUPS)?;
    context.set_options(
        SslOptions::NO_QUERY_MTU
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::NO_TICKET
            | SslOptions::CIPHER_SERVER_PREFERENCE,
    );
    // Ours signs itself: OpenSSL need not look for who else has, each time.
    context.set_mode(SslMode::NO_AUTO_CHAIN);
    context.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    // SAFETY: the context is live, and the callback touches none of its
    // arguments' memory.
    unsafe {
        let context = context.as_ptr().cast();
        SSL_CTX_set_cert_verify_callback(context, believe, std::ptr::null_mut());
    }
    if let Some(cookie) = cookie {
        context.set_options(SslOptions::COOKIE_EXCHANGE);
        set_cookies(&mut context, cookie);
    }
    Ok(context.build())
}

/// The cookie stands with the session that asks for it.
fn set_cookies(context: &mut SslContextBuilder, cookie: Index<Ssl, Cookie>) {
    let of = move |ssl: &SslRef| {
        ssl.ex_data(cookie)
            .and_then(|known| known.lock().ok().map(|c| *c))
    };
    context.set_cookie_generate_cb(
        move |ssl, buffer| match (of(ssl), buffer.get_mut(..COOKIE)) {
            (Some(known), Some(place)) => {
                place.copy_from_slice(&known);
                Ok(COOKIE)
            }
            (_, _) => Ok(0),
        },
    );
    context.set_cookie_verify_cb(move |ssl, told| {
        of(ssl).is_some_and(|known| told.len() == COOKIE && openssl::memcmp::eq(&known, told))
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
    fn new(mut ssl: Ssl) -> Result<Session, ErrorStack> {
        ssl.set_mtu(MTU)?;
        // SAFETY: the pointer is the live session's, and the callback touches
        // none of its arguments' memory.
        unsafe { DTLS_set_timer_cb(raw(&ssl), repeat_after) };
        Ok(Session {
            stream: SslStream::new(ssl, Wire::default())?,
            state: DtlsState::Handshaking,
            next: None,
        })
    }

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
            DtlsState::Useless(_) | DtlsState::Failed(_) | DtlsState::Closed => {}
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
            DtlsState::Useless(_) | DtlsState::Failed(_) | DtlsState::Closed => None,
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
        Some(_) | None => return DtlsState::Useless("no SRTP profile in common"),
    };
    let Some(Ok(peer_certificate)) = ssl.peer_certificate().map(|peer| peer.to_der()) else {
        return DtlsState::Useless("the peer shows no certificate");
    };
    let (key, salt) = (suite.key_len(), suite.salt_len());
    let mut material = vec![0; 2 * (key + salt)];
    if let Err(error) = ssl.export_keying_material(&mut material, EXPORTER, None) {
        tracing::warn!(%error, "OpenSSL exports no keys");
        return DtlsState::Useless("OpenSSL exports no keys");
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
#[path = "dtls_tests.rs"]
mod tests;
