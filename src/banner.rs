//! What the operator reads first: what listens where, on which cores, by which
//! means.

use std::net::SocketAddr;

use crate::config::{Config, KeptSecret, Rooms, SecretOrigin};

/// What the start found out.
#[derive(Debug, Clone)]
pub struct Started<'s> {
    /// The api's socket as bound.
    pub http: SocketAddr,
    /// SIP sockets as bound.
    pub sip: &'s [SocketAddr],
    /// The media backend in use.
    pub backend: &'static str,
    /// Where the root app's secret is.
    pub secret: &'s SecretOrigin,
    /// How many numbers the book has.
    pub numbers: usize,
    /// How many apps the book has.
    pub apps: usize,
}

/// The lines of the start banner.
pub fn started(config: &Config, started: &Started) -> Vec<String> {
    let mut lines = vec![
        format!("ringwire {}", env!("CARGO_PKG_VERSION")),
        format!("api: http://{}", started.http),
    ];
    for &bound in started.sip {
        let advertised = config.public.advertised(bound);
        lines.push(format!("sip: udp {bound}, known to peers as {advertised}"));
    }
    lines.push(format!(
        "media: {}, backend {}",
        ports(config),
        started.backend
    ));
    lines.push(format!("rooms: {}", rooms(config)));
    lines.push(format!("shards: {}", shards(config)));
    lines.push(format!(
        "number book: {} numbers, {} apps; configuration: {}",
        started.numbers,
        started.apps,
        file(config)
    ));
    lines.push(format!("root app secret: {}", secret(started.secret)));
    lines
}

/// Where the admin panel is, and how its first password is set.
pub fn admin(listens: SocketAddr, setup: Option<&KeptSecret>) -> Vec<String> {
    let mut lines = vec![format!("admin panel: http://{listens}/admin/")];
    if let Some(setup) = setup {
        lines.push(format!(
            "admin password: not set; the panel takes the first one with the setup code in {}, which is good for once",
            setup.file.display()
        ));
    }
    lines
}

/// What `check-config` says of a good configuration.
pub fn checked(config: &Config) -> String {
    let sip: Vec<String> = config.sip.listen.iter().map(ToString::to_string).collect();
    format!(
        "the configuration is good: {}\n  api: http://{}\n  sip: udp {}\n  media: {}\n  rooms: {}\n  shards: {}\n  number book: {} numbers",
        file(config),
        config.http.listen,
        sip.join(", "),
        ports(config),
        rooms(config),
        shards(config),
        config.book.len(),
    )
}

fn file(config: &Config) -> String {
    match &config.file {
        Some(file) => file.display().to_string(),
        None => "no file, all defaults".to_string(),
    }
}

fn ports(config: &Config) -> String {
    format!(
        "udp ports {}-{}",
        config.rtp.ports.start(),
        config.rtp.ports.end()
    )
}

/// Where rooms are.
fn rooms(config: &Config) -> String {
    match &config.rooms {
        Rooms::Local => "on the shards".to_string(),
        Rooms::External(server) => format!("on the media server {}", server.url),
    }
}

fn shards(config: &Config) -> String {
    let cores: Vec<String> = config.cores.iter().map(ToString::to_string).collect();
    match cores.len() {
        1 => format!("1, on core {}", cores[0]),
        count => format!("{count}, on cores {}", cores.join(", ")),
    }
}

fn secret(origin: &SecretOrigin) -> String {
    match origin {
        SecretOrigin::Configured => "as configured".to_string(),
        SecretOrigin::Stored { file, new: true } => {
            format!("made just now, in {} (mode 0600)", file.display())
        }
        SecretOrigin::Stored { file, new: false } => format!("in {}", file.display()),
    }
}
