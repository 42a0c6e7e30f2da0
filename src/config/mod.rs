//! The configuration: a TOML file in which every field may be left out, and
//! environment variables over it for what a container needs. What comes out is
//! typed and complete; whatever is wrong is told with its place.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::book::{Book, CallLimits, DtmfPolicy, HookPolicy};
use crate::keying::{SrtpKeying, SrtpPolicy};
use crate::sound::file::{Channels, FileFormat};
use crate::trace::{HepSender, TraceSettings};

mod admin;
mod assets;
mod error;
mod file;
mod machine;
mod numbers;
mod operations;
mod recording;
mod resolve;
mod rooms;
mod root_secret;
mod sound;
mod sync;
mod values;
mod webrtc;

pub use admin::{AdminPassword, check_admin_password};
pub use error::{ConfigError, Place};
pub use machine::Machine;
pub use root_secret::{KeptSecret, RootSecret, RootSecretError, SecretOrigin, kept_secret};
pub use sync::SecretHeader;
pub use values::cores as core_list;

/// Everything the gateway is told at start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from.
    pub file: Option<PathBuf>,
    /// Where the gateway keeps what must outlive a restart.
    pub data_dir: PathBuf,
    /// The cores that get a shard each, in this order. Never empty, at most
    /// [`MAX_SHARDS`], none twice.
    pub cores: Vec<usize>,
    /// The addresses written into Contact, Via and SDP.
    pub public: PublicAddresses,
    /// What is logged, and how.
    pub log: Log,
    /// The API's socket.
    pub http: Http,
    /// SIP sockets and timers.
    pub sip: Sip,
    /// Media ports and rules.
    pub rtp: Rtp,
    /// Where rooms are.
    pub rooms: Rooms,
    /// What is heard in rooms.
    pub sound: Sound,
    /// The ports that browsers share, and their limits.
    pub webrtc: WebRtc,
    /// Limits and patience of calls.
    pub calls: Calls,
    /// How many calls there may be, and how late a shard.
    pub limits: Limits,
    /// Whose SIP is dropped unread.
    pub scanners: Scanners,
    /// The capture server, if there is one.
    pub hep: Option<Hep>,
    /// How hooks are posted.
    pub hooks: Hooks,
    /// Who may use the admin panel and its API.
    pub admin: Admin,
    /// Where apps and numbers are fetched from.
    pub sync: Sync,
    /// Which call records are kept.
    pub records: Records,
    /// Sounds that apps keep here and fetch from elsewhere.
    pub assets: Assets,
    /// How calls are recorded, and where recordings go.
    pub recording: Recording,
    /// Apps and numbers of the file; the root app joins by
    /// [`Book::with_app`] once its secret is known ([`Config::root_secret`]).
    pub book: Book,
    secret: Option<Secret>,
}

/// A secret that is not printed by accident.
#[derive(Clone, PartialEq, Eq)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

/// More shards than this cannot be told apart in a tag or a call id.
pub const MAX_SHARDS: usize = 128;

/// Our address per family, as others reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicAddresses {
    /// IPv4.
    pub v4: Ipv4Addr,
    /// IPv6.
    pub v6: Ipv6Addr,
    v4_is_set: bool,
    v6_is_set: bool,
}

impl PublicAddresses {
    /// The public address of the family of `address`.
    pub fn of_family(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(_) => self.v4.into(),
            IpAddr::V6(_) => self.v6.into(),
        }
    }

    /// What a socket bound to `bound` is called by others: the public address
    /// where one is configured or the socket takes all addresses, else the
    /// address that it is bound to.
    pub fn advertised(&self, bound: SocketAddr) -> SocketAddr {
        let configured = match bound {
            SocketAddr::V4(_) => self.v4_is_set,
            SocketAddr::V6(_) => self.v6_is_set,
        };
        if configured || bound.ip().is_unspecified() {
            SocketAddr::new(self.of_family(bound.ip()), bound.port())
        } else {
            bound
        }
    }
}

/// What is logged, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Log {
    /// The least grave level that is logged.
    pub level: tracing::Level,
    /// Form of the lines.
    pub format: LogFormat,
}

/// Form of the log's lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The API's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Http {
    /// Where REST and WebSockets are served. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long a token holds where the request does not say.
    pub token_ttl: Duration,
}

/// SIP sockets and timers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sip {
    /// UDP sockets; a listener's id is its place here. Never empty.
    pub listen: Vec<SocketAddr>,
    /// User-Agent and Server header.
    pub user_agent: String,
    /// RFC 3261 T1, the round trip estimate.
    pub t1: Duration,
    /// RFC 3261 T2, the longest retransmit interval.
    pub t2: Duration,
    /// RFC 3261 T4, how long a message may stay in the network.
    pub t4: Duration,
    /// How much of the calls' signalling is kept, by all shards together.
    pub trace: TraceSettings,
}

/// Whether the shards' threads come before all ordinary ones of their cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Realtime {
    /// They do, where the system lets them.
    Allowed,
    /// They do, and a system that does not let them is complained of.
    Wanted,
    /// They are ordinary threads themselves.
    No,
}

/// Media ports and rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rtp {
    /// UDP ports for media; holds an even/odd pair for every shard at least.
    pub ports: RangeInclusive<u16>,
    /// Which relay.
    pub backend: MediaBackend,
    /// How long packets may wait for others to share a wake-up with, where
    /// many come; io_uring only.
    pub gather: Duration,
    /// Whether shards' threads come before all ordinary ones of their cores.
    pub realtime: Realtime,
    /// A call that is not on hold and gets no media for this long is ended.
    pub inactivity_timeout: Duration,
    /// A closed port rests for this long before it is used again.
    pub port_reuse_delay: Duration,
}

/// Where rooms are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rooms {
    /// In the gateway itself.
    Local,
    /// On a media server, which is asked over HTTP.
    External(MediaServer),
}

/// A media server that rooms are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaServer {
    /// Where its paths begin, without a slash at the end.
    pub url: String,
    /// Whether media to and from it goes over IPv6.
    pub ipv6: bool,
    /// How long its tokens hold.
    pub token_ttl: Duration,
    /// Of one request, connecting and reading included.
    pub timeout: Duration,
    /// What could not be deleted there for this long is given up.
    pub give_up: Duration,
}

/// What is heard in rooms of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sound {
    /// How many peers a room takes.
    pub room_capacity: usize,
    /// How many voices of a room are heard at once: the loudest.
    pub loudest: usize,
    /// Where sound is decoded: packets wait at least this long for others.
    pub jitter_minimum: Duration,
    /// And at most this long.
    pub jitter_maximum: Duration,
    /// Whether keys of peers without telephone events are looked for in their
    /// sound.
    pub inband_dtmf: bool,
    /// Nothing to be heard in decoded sound for so long is told of; `None`:
    /// never.
    pub dead_air: Option<Duration>,
    /// Sound in one direction only for so long is told of; `None`: never.
    pub one_way: Option<Duration>,
}

/// The ports that browsers share, and their limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebRtc {
    /// Whether shards open their shared ports at all.
    pub enabled: bool,
    /// UDP port of shard 0; shard n has the n-th after it. 0: free ones.
    pub port: u16,
    /// Addresses in ICE candidates; empty: as media sockets are advertised.
    pub advertise: Vec<IpAddr>,
    /// A peer that sends no authenticated check for this long is gone
    /// (RFC 7675 section 5.1).
    pub consent_timeout: Duration,
    /// DTLS handshakes that peers may open per second and shard.
    pub handshakes_per_second: u32,
    /// The same per host.
    pub handshakes_per_second_per_address: u32,
}

/// Which relay moves the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaBackend {
    /// io_uring, or poll where the kernel refuses it.
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll with recvmmsg and sendmmsg.
    Poll,
}

/// Limits and patience of calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// A call that nobody answers for this long ends with 408 (outgoing) or
    /// 480 (incoming).
    pub answer_timeout: Duration,
    /// A call whose last WebSocket is gone for this long is ended.
    pub ws_grace: Duration,
    /// Calls at a time on all shards together; one more is refused with 503.
    pub max_calls: usize,
    /// How long calls may go on after SIGTERM before they are ended.
    pub drain_timeout: Duration,
    /// Whether media is protected where neither request nor number says;
    /// `None`: of incoming calls where the caller offers it, of outgoing ones
    /// not.
    pub srtp: Option<SrtpPolicy>,
    /// Where the keys of our offers come from, where neither says.
    pub srtp_keying: SrtpKeying,
    /// How keys go to peers, where neither request nor number says.
    pub dtmf: DtmfPolicy,
}

/// How many calls there may be beside [`Calls::max_calls`], and how late a
/// shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls that begin in a second, on all shards together.
    pub max_calls_per_second: Option<u32>,
    /// Of each app that has none of its own.
    pub per_app: CallLimits,
    /// Of each number that has none of its own.
    pub per_number: CallLimits,
    /// A shard that stays later than this refuses new calls; zero: never.
    pub max_lag: Duration,
}

/// Whose SIP is dropped unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanners {
    /// Whether anybody's is.
    pub enabled: bool,
    /// So many bad requests
    pub threshold: u32,
    /// within this time
    pub window: Duration,
    /// lead to a ban for this time.
    pub ban: Duration,
    /// Never these.
    pub never_ban: Vec<IpNet>,
}

/// A capture server that is sent a copy of the SIP messages (HEP version 3).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hep {
    /// Its host and port.
    pub collector: String,
    /// Who we are to it.
    pub sender: HepSender,
    /// Only messages of calls, not OPTIONS and the like.
    pub calls_only: bool,
    /// Whether secrets are taken out.
    pub mask: bool,
}

/// How hooks are posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooks {
    /// How long one attempt may take, and how long a caller waits for the
    /// answer to `arrived`.
    pub timeout: Duration,
    /// SIP code for the caller where a hook gave no usable answer.
    pub failure_code: u16,
    /// An event that could not be delivered for this long is given up.
    pub give_up: Duration,
    /// A delivered event can be looked at for this long.
    pub delivered_kept: Duration,
    /// An event that was given up can be looked at and retried for this long.
    pub dead_letters_kept: Duration,
    /// Where hooks that this file does not name may be.
    pub policy: HookPolicy,
}

/// Which call records are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Records {
    /// Of calls that began no longer ago than this.
    pub keep: Duration,
    /// At most so many; the oldest go first.
    pub max: u64,
}

/// Sounds that apps keep here and fetch from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assets {
    /// The longest file, in bytes, uploaded or fetched.
    pub max_file: u64,
    /// The longest sound.
    pub max_duration: Duration,
    /// Files of one app.
    pub max_files_per_app: u64,
    /// Bytes of all files of one app.
    pub max_bytes_per_app: u64,
    /// Bytes of decoded sound that are kept for the next use.
    pub cache: u64,
    /// How long fetching a URL may take.
    pub url_timeout: Duration,
    /// For how long what was fetched is used without asking again.
    pub url_fresh: Duration,
}

/// How calls are recorded, and where recordings go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// Of files, where a request does not say.
    pub format: FileFormat,
    /// Of files, where a request does not say.
    pub channels: Channels,
    /// Of recordings that ended no longer ago than this.
    pub keep: Duration,
    /// Nothing is recorded while the disk has less room than this, in bytes.
    pub minimum_free: u64,
    /// The recorded peer hears that it is recorded.
    pub announcement: bool,
    /// Where recordings are uploaded.
    pub s3: Option<S3>,
}

/// An S3-compatible object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3 {
    /// URL, without a slash at the end; `None`: Amazon's.
    pub endpoint: Option<String>,
    /// The bucket's name.
    pub bucket: String,
    /// The bucket's region.
    pub region: String,
    /// Who we are there.
    pub access_key: String,
    secret_key: Secret,
    /// What objects' names begin with, without slashes around it.
    pub prefix: String,
    /// The endpoint may be plain HTTP.
    pub allow_http: bool,
    /// What one request may take.
    pub timeout: Duration,
    /// Requests bear a SHA-256 checksum, which the store compares and keeps.
    pub checksums: bool,
    /// A file goes from the disk once it is known to be there.
    pub delete_local_after_upload: bool,
    /// An object goes with its recording when that is too old.
    pub delete_expired: bool,
}

impl S3 {
    /// What the requests are signed with.
    pub fn secret_key(&self) -> &str {
        &self.secret_key.0
    }
}

/// Who may use the admin panel and its API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Whether there is one.
    pub enabled: bool,
    /// A socket of its own; `None`: on the API's.
    pub listen: Option<SocketAddr>,
    /// The administrator's password; `None`: the one set in the panel.
    pub password: Option<AdminPassword>,
    /// The session's cookie is sent over https only, even where nothing says
    /// that a request came that way.
    pub secure_cookie: bool,
    /// A session that is not used for this long ends.
    pub session_idle: Duration,
    /// A session ends after this in any case.
    pub session_max: Duration,
}

/// Where apps and numbers are fetched from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sync {
    /// Numbers; `None`: not fetched.
    pub numbers_url: Option<String>,
    /// Apps; `None`: not fetched.
    pub apps_url: Option<String>,
    /// How often, as long as it goes well.
    pub interval: Duration,
    /// How long an answer may take, to its last byte.
    pub timeout: Duration,
    /// A longer answer is refused (bytes, after decompression).
    pub max_bytes: usize,
    /// Sent with every request.
    pub headers: Vec<SecretHeader>,
    /// An empty list means that there are none, and not a mistake.
    pub allow_empty: bool,
}

impl Config {
    /// Reads the file (none: all defaults) and the environment, on this
    /// machine.
    pub fn load(
        path: Option<&Path>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Config, ConfigError> {
        Config::load_on(&Machine::detect(), path, env)
    }

    /// The same on a machine that is told instead of looked at.
    pub fn load_on(
        machine: &Machine,
        path: Option<&Path>,
        env: impl Fn(&str) -> Option<String>,
    ) -> Result<Config, ConfigError> {
        let text = match path {
            Some(path) => std::fs::read_to_string(path).map_err(|error| ConfigError {
                place: Place::File(path.to_path_buf()),
                problem: format!("cannot be read: {error}"),
            })?,
            None => String::new(),
        };
        resolve::resolve(machine, path, &text, &env)
    }

    /// Whether both configure the same root secret, or none.
    pub fn has_same_secret(&self, other: &Config) -> bool {
        self.secret == other.secret
    }

    /// The root app's secret: the configured one, else the one kept in the
    /// data directory, which is made at the first start.
    pub fn root_secret(&self) -> Result<RootSecret, RootSecretError> {
        match &self.secret {
            Some(Secret(secret)) => Ok(RootSecret::given(secret)),
            None => RootSecret::in_data_dir(&self.data_dir),
        }
    }
}

#[cfg(test)]
mod tests;
