//! From what is written to what is meant: defaults, environment, checks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;

use crate::book::{DtmfPolicy, HookPolicy};
use crate::keying::SrtpKeying;

use super::error::Source;
use super::file::{self, File, Setting, Whole};
use super::values::{self, Problem};
use super::{
    Calls, Config, ConfigError, Hooks, Http, Log, LogFormat, MAX_SHARDS, Machine, MediaBackend,
    Place, PublicAddresses, Realtime, Records, Rtp, Secret, Sip, admin, assets, numbers,
    operations, recording, rooms, sound, sync, webrtc,
};

const DATA_DIR: &str = "./data";
const HTTP_LISTEN: &str = "0.0.0.0:8008";
const SIP_LISTEN: &str = "0.0.0.0:5060";
const USER_AGENT: &str = "ringwire";
const RTP_PORTS: &str = "30000-40000";
/// More SIP sockets per shard than a `ListenerId` can name.
const MAX_SIP_LISTENERS: usize = 32;
/// A day: no timeout of ours is sensibly longer.
const DAY_S: u64 = 86_400;

/// Where a value stands.
#[derive(Clone)]
pub(super) enum Origin {
    File(Range<usize>),
    Environment(&'static str),
    Default(&'static str),
}

pub(super) struct Reader<'a> {
    source: Source<'a>,
    env: &'a dyn Fn(&str) -> Option<String>,
}

pub(super) fn resolve(
    machine: &Machine,
    path: Option<&Path>,
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let source = Source {
        path: path.unwrap_or(Path::new("(no file)")),
        text,
    };
    let file: File = toml::from_str(text).map_err(|error| source.reader_error(&error))?;
    let reader = Reader { source, env };
    let cores = reader.cores(&file, machine)?;
    let sip = reader.sip(&file)?;
    let calls = reader.calls(&file)?;
    Ok(Config {
        file: path.map(Path::to_path_buf),
        data_dir: reader.data_dir(&file)?,
        public: reader.public(&file, machine, &sip)?,
        log: reader.log(&file)?,
        http: reader.http(&file)?,
        rtp: reader.rtp(&file, &cores, machine, &sip)?,
        rooms: rooms::rooms(&reader, &file, &sip)?,
        sound: sound::sound(&reader, &file)?,
        webrtc: webrtc::webrtc(&reader, &file, cores.len(), &sip)?,
        limits: operations::limits(&reader, &file)?,
        scanners: operations::scanners(&reader, &file)?,
        hep: operations::hep(&reader, &file)?,
        hooks: reader.hooks(&file)?,
        records: reader.records(&file)?,
        assets: assets::assets(&reader, &file)?,
        recording: recording::recording(&reader, &file)?,
        admin: admin::admin(&reader, &file)?,
        sync: sync::sync(&reader, &file)?,
        secret: reader.secret(&file)?,
        book: numbers::book(&reader.source, &file)?,
        calls,
        cores,
        sip,
    })
}

impl Reader<'_> {
    pub(super) fn fail(&self, origin: &Origin, problem: impl Into<String>) -> ConfigError {
        match origin {
            Origin::File(span) => self.source.error(span.clone(), problem),
            Origin::Environment(name) => ConfigError {
                place: Place::Environment(name),
                problem: problem.into(),
            },
            Origin::Default(field) => ConfigError {
                place: Place::Field(field),
                problem: problem.into(),
            },
        }
    }

    /// A variable that is set to nothing counts as not set: that is how
    /// container files leave one out.
    pub(super) fn environment(&self, name: &'static str) -> Option<(String, Origin)> {
        let value = (self.env)(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| (value.to_string(), Origin::Environment(name)))
    }

    /// A text: of the environment, else of the file, else the default.
    fn text(
        &self,
        variable: Option<&'static str>,
        setting: &Setting<String>,
        field: &'static str,
        default: &str,
    ) -> (String, Origin) {
        variable
            .and_then(|name| self.environment(name))
            .or_else(|| {
                setting
                    .as_ref()
                    .map(|text| (text.get_ref().clone(), written(text)))
            })
            .unwrap_or_else(|| (default.to_string(), Origin::Default(field)))
    }

    fn parse<T>(
        &self,
        (text, origin): (String, Origin),
        read: impl Fn(&str) -> Result<T, Problem>,
    ) -> Result<T, ConfigError> {
        read(&text).map_err(|problem| self.fail(&origin, problem))
    }

    pub(super) fn whole(
        &self,
        setting: &Setting<Whole>,
        default: u64,
        allowed: RangeInclusive<u64>,
        unit: &str,
    ) -> Result<u64, ConfigError> {
        let Some(setting) = setting else {
            return Ok(default);
        };
        let Whole(value) = *setting.get_ref();
        if allowed.contains(&value) {
            return Ok(value);
        }
        let (first, last) = allowed.into_inner();
        let problem = format!("{value} is out of range; write {first} to {last} {unit}");
        Err(self.fail(&written(setting), problem))
    }

    pub(super) fn seconds(
        &self,
        setting: &Setting<Whole>,
        default: u64,
        allowed: RangeInclusive<u64>,
    ) -> Result<Duration, ConfigError> {
        self.whole(setting, default, allowed, "seconds")
            .map(Duration::from_secs)
    }

    fn data_dir(&self, file: &File) -> Result<PathBuf, ConfigError> {
        let (dir, origin) = self.text(
            Some("RINGWIRE_DATA_DIR"),
            &file.data_dir,
            "data_dir",
            DATA_DIR,
        );
        match dir.is_empty() {
            true => Err(self.fail(&origin, "is empty; write a directory or leave it out")),
            false => Ok(PathBuf::from(dir)),
        }
    }

    fn secret(&self, file: &File) -> Result<Option<Secret>, ConfigError> {
        let found = self.environment("RINGWIRE_SECRET").or_else(|| {
            file.secret
                .as_ref()
                .map(|s| (s.get_ref().clone(), written(s)))
        });
        match found {
            None => Ok(None),
            Some(found) => self
                .parse(found, |secret| {
                    crate::book::values::secret(secret).map(|()| Secret(secret.to_string()))
                })
                .map(Some),
        }
    }

    /// By default all cores but the first, which is left to the interrupts
    /// and the API's threads.
    fn cores(&self, file: &File, machine: &Machine) -> Result<Vec<usize>, ConfigError> {
        let (cores, origin) = match (self.environment("RINGWIRE_CORES"), &file.cores) {
            (Some((text, origin)), _) => (values::cores(&text), origin),
            (None, Some(setting)) => {
                let cores = match setting.get_ref() {
                    file::Cores::Text(text) => values::cores(text),
                    file::Cores::List(list) => Ok(list.iter().map(|core| *core as usize).collect()),
                };
                (cores, written(setting))
            }
            (None, None) => {
                let but_one = match machine.cores.as_slice() {
                    [_, rest @ ..] if !rest.is_empty() => rest,
                    all => all,
                };
                let cores = but_one.iter().copied().take(MAX_SHARDS).collect();
                return Ok(cores);
            }
        };
        let cores = cores.map_err(|problem| self.fail(&origin, problem))?;
        if cores.is_empty() {
            return Err(self.fail(&origin, "is empty; name at least one core"));
        }
        if cores.len() > MAX_SHARDS {
            return Err(self.fail(&origin, format!("more than {MAX_SHARDS} cores")));
        }
        for (at, core) in cores.iter().enumerate() {
            if cores[..at].contains(core) {
                return Err(self.fail(&origin, format!("core {core} is listed twice")));
            }
            if !machine.cores.contains(core) {
                let allowed: Vec<String> = machine.cores.iter().map(usize::to_string).collect();
                let problem = format!(
                    "core {core} cannot be used here; this process may run on {}",
                    allowed.join(",")
                );
                return Err(self.fail(&origin, problem));
            }
        }
        Ok(cores)
    }

    fn sip(&self, file: &File) -> Result<Sip, ConfigError> {
        let (listen, origin) = self.list("RINGWIRE_SIP_LISTEN", &file.sip.listen, || {
            (vec![SIP_LISTEN.to_string()], "sip.listen")
        });
        let mut sockets: Vec<SocketAddr> = Vec::new();
        for text in &listen {
            let socket =
                values::listen(text, SIP_LISTEN).map_err(|problem| self.fail(&origin, problem))?;
            if socket.port() == 0 {
                return Err(self.fail(
                    &origin,
                    format!("{text}: SIP needs a port of its own, not 0"),
                ));
            }
            if sockets.contains(&socket) {
                return Err(self.fail(&origin, format!("{text} is listed twice")));
            }
            sockets.push(socket);
        }
        if sockets.is_empty() || sockets.len() > MAX_SIP_LISTENERS {
            let problem = format!("write one to {MAX_SIP_LISTENERS} addresses");
            return Err(self.fail(&origin, problem));
        }
        let agent = self.text(None, &file.sip.user_agent, "sip.user_agent", USER_AGENT);
        let user_agent = self.parse(agent, |text| {
            match !text.is_empty() && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic()) {
                true => Ok(text.to_string()),
                false => Err(format!(
                    "{text:?} is no header value; write printable ASCII"
                )),
            }
        })?;
        let milliseconds = |setting: &Setting<Whole>, default, allowed| {
            self.whole(setting, default, allowed, "milliseconds")
                .map(Duration::from_millis)
        };
        // RFC 3261 table 4; T1 may be chosen larger on slow links, and smaller
        // only inside closed networks.
        let sip = Sip {
            listen: sockets,
            user_agent,
            t1: milliseconds(&file.sip.t1_ms, 500, 10..=10_000)?,
            t2: milliseconds(&file.sip.t2_ms, 4_000, 10..=60_000)?,
            t4: milliseconds(&file.sip.t4_ms, 5_000, 10..=60_000)?,
            trace: operations::trace(self, file)?,
        };
        if sip.t2 < sip.t1 {
            let origin = file
                .sip
                .t2_ms
                .as_ref()
                .or(file.sip.t1_ms.as_ref())
                .map_or(Origin::Default("sip.t2_ms"), written);
            return Err(self.fail(&origin, "t2_ms must not be smaller than t1_ms"));
        }
        Ok(sip)
    }

    /// A list of texts; in the environment it is separated by commas.
    fn list(
        &self,
        variable: &'static str,
        setting: &Setting<file::Strings>,
        default: impl Fn() -> (Vec<String>, &'static str),
    ) -> (Vec<String>, Origin) {
        if let Some((text, origin)) = self.environment(variable) {
            let parts = text.split(',').map(|part| part.trim().to_string());
            return (parts.collect(), origin);
        }
        match setting {
            Some(setting) => (setting.get_ref().0.clone(), written(setting)),
            None => {
                let (list, field) = default();
                (list, Origin::Default(field))
            }
        }
    }

    fn public(
        &self,
        file: &File,
        machine: &Machine,
        sip: &Sip,
    ) -> Result<PublicAddresses, ConfigError> {
        let (listed, origin) = self.list("RINGWIRE_PUBLIC_IP", &file.public_ip, || {
            (Vec::new(), "public_ip")
        });
        let (mut v4, mut v6) = (None, None);
        for text in &listed {
            let address = values::public_ip(text).map_err(|problem| self.fail(&origin, problem))?;
            let twice = match address {
                IpAddr::V4(address) => v4.replace(address).is_some(),
                IpAddr::V6(address) => v6.replace(address).is_some(),
            };
            if twice {
                let problem = "holds two addresses of one family; write one per family at most";
                return Err(self.fail(&origin, problem));
            }
        }
        // Bound to one address only, we are reached there and nowhere else.
        let bound = |v4: bool| {
            let mut family = sip.listen.iter().filter(|socket| socket.is_ipv4() == v4);
            let first = family.next()?;
            let all_specific =
                !first.ip().is_unspecified() && family.all(|s| !s.ip().is_unspecified());
            all_specific.then(|| first.ip())
        };
        let default_v4 = match bound(true) {
            Some(IpAddr::V4(address)) => address,
            _ => machine.route_v4.unwrap_or(Ipv4Addr::LOCALHOST),
        };
        let default_v6 = match bound(false) {
            Some(IpAddr::V6(address)) => address,
            _ => machine.route_v6.unwrap_or(Ipv6Addr::LOCALHOST),
        };
        Ok(PublicAddresses {
            v4: v4.unwrap_or(default_v4),
            v6: v6.unwrap_or(default_v6),
            v4_is_set: v4.is_some(),
            v6_is_set: v6.is_some(),
        })
    }

    fn log(&self, file: &File) -> Result<Log, ConfigError> {
        let level = match self.text(None, &file.log_level, "log_level", "info") {
            (_, Origin::Default(_)) => tracing::Level::INFO,
            found => self.parse(found, values::log_level)?,
        };
        let format = match self.text(None, &file.log_format, "log_format", "text") {
            (_, Origin::Default(_)) => LogFormat::Text,
            found => self.parse(found, values::log_format)?,
        };
        Ok(Log { level, format })
    }

    fn http(&self, file: &File) -> Result<Http, ConfigError> {
        let listen = self.text(
            Some("RINGWIRE_HTTP_LISTEN"),
            &file.http.listen,
            "http.listen",
            HTTP_LISTEN,
        );
        Ok(Http {
            listen: self.parse(listen, |text| values::listen(text, HTTP_LISTEN))?,
            token_ttl: self.seconds(&file.http.token_ttl_s, 3_600, 1..=30 * DAY_S)?,
        })
    }

    fn rtp(
        &self,
        file: &File,
        cores: &[usize],
        machine: &Machine,
        sip: &Sip,
    ) -> Result<Rtp, ConfigError> {
        let shards = cores.len();
        let found = self.text(
            Some("RINGWIRE_RTP_PORTS"),
            &file.rtp.ports,
            "rtp.ports",
            RTP_PORTS,
        );
        let origin = found.1.clone();
        let ports = self.parse(found, values::ports)?;
        let pairs = values::port_pairs(&ports);
        if pairs < shards {
            let problem = format!(
                "holds {pairs} pairs of an even port and the odd one after it, but each of the {shards} shards needs at least one; a call takes one pair"
            );
            return Err(self.fail(&origin, problem));
        }
        if let Some(socket) = sip
            .listen
            .iter()
            .find(|socket| ports.contains(&socket.port()))
        {
            let problem = format!(
                "holds port {} of sip.listen; keep the two apart",
                socket.port()
            );
            return Err(self.fail(&origin, problem));
        }
        let backend = match self.text(None, &file.rtp.backend, "rtp.backend", "auto") {
            (_, Origin::Default(_)) => MediaBackend::Auto,
            found => self.parse(found, values::backend)?,
        };
        Ok(Rtp {
            ports,
            backend,
            realtime: self.realtime(&file.rtp.realtime, machine, cores)?,
            gather: self
                .whole(&file.rtp.gather_us, 500, 0..=5000, "microseconds")
                .map(Duration::from_micros)?,
            inactivity_timeout: self.seconds(&file.rtp.inactivity_timeout_s, 30, 1..=DAY_S)?,
            port_reuse_delay: self.seconds(&file.rtp.port_reuse_delay_s, 10, 0..=DAY_S)?,
        })
    }

    /// Threads that come before all others want a core without one of them.
    fn realtime(
        &self,
        setting: &Setting<file::Automatic>,
        machine: &Machine,
        cores: &[usize],
    ) -> Result<Realtime, ConfigError> {
        let no_core_left = machine.cores.iter().all(|core| cores.contains(core));
        match setting
            .as_ref()
            .map(|setting| (*setting.get_ref(), setting))
        {
            Some((file::Automatic::Said(false), _)) => Ok(Realtime::No),
            Some((file::Automatic::Said(true), setting)) if no_core_left => {
                let problem = "leaves everything else without time where every core has a shard; leave one out of cores, or write \"auto\"";
                Err(self.fail(&written(setting), problem))
            }
            Some((file::Automatic::Said(true), _)) => Ok(Realtime::Wanted),
            Some((file::Automatic::Auto, _)) | None if no_core_left => Ok(Realtime::No),
            Some((file::Automatic::Auto, _)) | None => Ok(Realtime::Allowed),
        }
    }

    fn calls(&self, file: &File) -> Result<Calls, ConfigError> {
        let calls = &file.calls;
        let policy = self.text(Some("RINGWIRE_SRTP"), &calls.srtp, "calls.srtp", "");
        let keying = self.text(
            Some("RINGWIRE_SRTP_KEYING"),
            &calls.srtp_keying,
            "calls.srtp_keying",
            "",
        );
        Ok(Calls {
            srtp: match policy {
                (_, Origin::Default(_)) => None,
                found => Some(self.parse(found, values::srtp)?),
            },
            srtp_keying: match keying {
                (_, Origin::Default(_)) => SrtpKeying::default(),
                found => self.parse(found, values::srtp_keying)?,
            },
            dtmf: match self.text(None, &calls.dtmf, "calls.dtmf", "auto") {
                (_, Origin::Default(_)) => DtmfPolicy::default(),
                found => self.parse(found, values::dtmf)?,
            },
            answer_timeout: self.seconds(&calls.answer_timeout_s, 180, 1..=DAY_S)?,
            ws_grace: self.seconds(&calls.ws_grace_s, 10, 0..=DAY_S)?,
            max_calls: self.whole(&calls.max_calls, 10_000, 1..=10_000_000, "calls")? as usize,
            drain_timeout: self.seconds(&calls.drain_timeout_s, 30, 0..=DAY_S)?,
        })
    }

    fn hooks(&self, file: &File) -> Result<Hooks, ConfigError> {
        let hooks = &file.hooks;
        let code = self.whole(
            &hooks.failure_code,
            480,
            400..=699,
            "(a SIP status that ends a call)",
        )?;
        let mut allow = Vec::new();
        for host in hooks.allow.iter().flatten() {
            let pattern = host.get_ref().parse();
            allow.push(pattern.map_err(|problem| self.fail(&written(host), problem))?);
        }
        let dead_letters_kept = &hooks.dead_letters_kept_s;
        Ok(Hooks {
            timeout: self.seconds(&hooks.timeout_s, 5, 1..=60)?,
            failure_code: code as u16,
            give_up: self.seconds(&hooks.give_up_s, 3_600, 1..=30 * DAY_S)?,
            delivered_kept: self.seconds(&hooks.delivered_kept_s, 3_600, 0..=30 * DAY_S)?,
            dead_letters_kept: self.seconds(dead_letters_kept, 7 * DAY_S, 0..=365 * DAY_S)?,
            policy: HookPolicy {
                allow,
                allow_private: hooks.allow_private.as_ref().is_some_and(|s| *s.get_ref()),
            },
        })
    }

    fn records(&self, file: &File) -> Result<Records, ConfigError> {
        let records = &file.records;
        let days = self.whole(&records.keep_days, 90, 1..=36_500, "days")?;
        Ok(Records {
            keep: Duration::from_secs(days * DAY_S),
            max: self.whole(&records.max, 1_000_000, 1..=1_000_000_000, "call records")?,
        })
    }
}

pub(super) fn written<T>(setting: &Spanned<T>) -> Origin {
    Origin::File(setting.span())
}
