//! The gateway as a process: a configuration written for the test, free
//! ports, a temporary data directory, its log printed when the test fails.

use std::fs::OpenOptions;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::Api;
use super::{PATIENCE, Ports, eventually, within};

/// The secret of the root app in every test.
pub const ROOT_SECRET: &str = "root-secret-of-the-tests";

/// The program.
const GATEWAY: &str = env!("CARGO_BIN_EXE_ringwire");

/// The media backend to ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    Uring,
    Poll,
}

/// What a test wants of its gateway.
pub struct Settings {
    shards: u8,
    backend: Backend,
    address: IpAddr,
    rtp_ports: u16,
    tables: String,
    calls: String,
    sip: String,
    log_format: &'static str,
    rtp: String,
    hooks: String,
    sync: String,
    rooms: String,
    environment: Vec<(&'static str, String)>,
    recordings_disk: Option<&'static str>,
}

impl Settings {
    /// The number of shards; each needs a core of its own.
    pub fn shards(mut self, shards: u8) -> Self {
        self.shards = shards;
        self
    }

    pub fn backend(mut self, backend: Backend) -> Self {
        self.backend = backend;
        self
    }

    /// Everything on `::1` instead of 127.0.0.1.
    pub fn ipv6(self) -> Self {
        self.at(Ipv6Addr::LOCALHOST.into())
    }

    /// SIP and media at this address instead of 127.0.0.1.
    pub fn at(mut self, address: IpAddr) -> Self {
        self.address = address;
        self
    }

    /// How many RTP ports there are, two for each leg.
    pub fn rtp_ports(mut self, count: u16) -> Self {
        self.rtp_ports = count;
        self
    }

    /// Lines of `[calls]`.
    pub fn calls(mut self, lines: &str) -> Self {
        self.calls = lines.to_owned();
        self
    }

    /// Lines of `[sip]` besides the listener.
    pub fn sip(mut self, lines: &str) -> Self {
        self.sip = lines.to_owned();
        self
    }

    /// The log as JSON, one object a line.
    pub fn json_log(mut self) -> Self {
        self.log_format = "json";
        self
    }

    /// A table of the configuration that has no method of its own.
    pub fn table(mut self, table: &str) -> Self {
        self.tables.push_str(&format!("{table}\n\n"));
        self
    }

    /// Lines of `[rtp]` besides the ports and the backend.
    pub fn rtp(mut self, lines: &str) -> Self {
        self.rtp = lines.to_owned();
        self
    }

    /// Lines of `[hooks]`.
    pub fn hooks(mut self, lines: &str) -> Self {
        self.hooks = lines.to_owned();
        self
    }

    /// Lines of `[rooms]`.
    pub fn rooms(mut self, lines: &str) -> Self {
        self.rooms = lines.to_owned();
        self
    }

    /// One more environment variable.
    #[allow(dead_code)] // `tests/deployment` asks for it, not every program does.
    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.environment.push((name, value.to_owned()));
        self
    }

    /// Recordings have a disk of their own of this size, such as `256k`, in a
    /// mount namespace of the gateway's: nobody else sees it.
    #[allow(dead_code)] // `tests/peers` asks for it, not every program does.
    pub fn recordings_disk(mut self, size: &'static str) -> Self {
        self.recordings_disk = Some(size);
        self
    }

    /// Lines of `[sync]`.
    pub fn sync(mut self, lines: &str) -> Self {
        self.sync = lines.to_owned();
        self
    }

    /// One more `[[app]]`.
    pub fn app(mut self, id: &str, secret: &str) -> Self {
        self.tables.push_str(&format!(
            "[[app]]\napp_id = \"{id}\"\napp_secret = \"{secret}\"\n\n"
        ));
        self
    }

    /// One more `[[number]]` that loopback may call, with further lines.
    pub fn number(self, number: &str, lines: &str) -> Self {
        self.number_from(number, r#"["127.0.0.0/8", "::1/128"]"#, lines)
    }

    /// One more `[[number]]` with its own list of subnets.
    pub fn number_from(mut self, number: &str, subnets: &str, lines: &str) -> Self {
        self.tables.push_str(&format!(
            "[[number]]\nnumber = \"{number}\"\nsubnets = {subnets}\n{lines}\n\n"
        ));
        self
    }

    /// Starts the gateway and waits until it says that it is ready.
    #[track_caller]
    pub fn start(self) -> Gateway {
        Gateway::launch(self)
    }
}

/// A running gateway; ended when the value is dropped.
pub struct Gateway {
    child: Child,
    directory: TempDir,
    environment: Vec<(&'static str, String)>,
    recordings_disk: Option<&'static str>,
    http: SocketAddr,
    sip: SocketAddr,
    api: Api,
    /// Ports of this test that the gateway does not use.
    pub ports: Ports,
}

impl Gateway {
    /// One shard, io_uring, IPv4, and no number.
    pub fn with() -> Settings {
        Settings {
            shards: 1,
            backend: Backend::Uring,
            address: Ipv4Addr::LOCALHOST.into(),
            rtp_ports: 40,
            tables: String::new(),
            calls: String::new(),
            sip: String::new(),
            log_format: "text",
            rtp: String::new(),
            hooks: String::new(),
            sync: String::new(),
            rooms: String::new(),
            environment: Vec::new(),
            recordings_disk: None,
        }
    }

    #[track_caller]
    fn launch(settings: Settings) -> Self {
        let mut ports = Ports::lease();
        let directory = tempfile::tempdir().expect("a temporary directory");
        // IPv6 SIP and media; the API may stay where the clients are.
        let http = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.one()));
        let sip = SocketAddr::from((settings.address, ports.one()));
        let rtp = ports.range(settings.rtp_ports);
        let cores: Vec<u8> = (0..settings.shards).collect();
        let backend = match settings.backend {
            Backend::Uring => "uring",
            Backend::Poll => "poll",
        };
        let data = directory.path().join("data");
        let Settings {
            address,
            tables,
            calls,
            sip: sip_lines,
            log_format,
            rtp: rtp_lines,
            hooks,
            sync,
            rooms,
            environment,
            recordings_disk,
            ..
        } = settings;
        // Tests share their cores with whatever they are tests with.
        let realtime = match rtp_lines.contains("realtime") {
            true => "",
            false => "realtime = false\n",
        };
        let text = format!(
            "data_dir = {data:?}\n\
             cores = {cores:?}\n\
             secret = \"{ROOT_SECRET}\"\n\
             public_ip = [\"{address}\"]\n\
             log_level = \"debug\"\nlog_format = \"{log_format}\"\n\n\
             [http]\nlisten = \"{http}\"\n\n\
             [sip]\nlisten = [\"{sip}\"]\n{sip_lines}\n\n\
             [rtp]\nports = \"{}-{}\"\nbackend = \"{backend}\"\n{realtime}{rtp_lines}\n\n\
             [webrtc]\nport = 0\n\n\
             [calls]\n{calls}\n\n\
             [hooks]\nallow_private = true\n{hooks}\n\n\
             [sync]\n{sync}\n\n\
             [rooms]\n{rooms}\n\n\
             {tables}",
            rtp.start(),
            rtp.end(),
        );
        std::fs::write(directory.path().join("gateway.toml"), text).expect("the configuration");
        let child = spawn(directory.path(), &environment, recordings_disk);
        let api = Api::new(&format!("http://{http}"), Some(ROOT_SECRET));
        let mut gateway = Self {
            child,
            directory,
            environment,
            recordings_disk,
            http,
            sip,
            api,
            ports,
        };
        gateway.wait_until_ready();
        gateway
    }

    /// Waits until it says that it is ready.
    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        eventually("the gateway is ready", || {
            if let Some(status) = self.child.try_wait().expect("the gateway's state") {
                panic!("the gateway ended at start: {status}");
            }
            let reply = self.api.anonymous().send("GET", "/healthz", None).ok()?;
            (reply.status == 200).then_some(())
        });
    }

    /// Ends the process as a crash does: SIGKILL, at once.
    pub fn kill(&mut self) {
        self.child.kill().expect("SIGKILL to the gateway");
        self.child.wait().expect("the gateway is gone");
    }

    /// Starts it again after [`Gateway::kill`], with the same configuration and
    /// data directory.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.start_without_waiting();
        self.wait_until_ready();
    }

    /// The same, and whoever comes before it is ready sees it start.
    pub fn start_without_waiting(&mut self) {
        self.child = spawn(
            self.directory.path(),
            &self.environment,
            self.recordings_disk,
        );
    }

    /// Its data directory.
    pub fn data_dir(&self) -> std::path::PathBuf {
        self.directory.path().join("data")
    }

    /// Where it takes SIP over UDP.
    pub fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// Where it takes HTTP and WebSockets.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Its API with the root app's secret.
    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Everything logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// How many datagrams the relay dropped for this reason.
    pub fn dropped(&self, reason: &str) -> u64 {
        self.counted("media_drops_total", reason)
    }

    /// A metric's sum over all shards, of the series with this label value;
    /// an empty one means all series.
    pub fn counted(&self, name: &str, label: &str) -> u64 {
        let metrics = self.api().anonymous().get("/metrics").body;
        let metrics = metrics.as_str().expect("a text");
        let start = format!("ringwire_{name}{{");
        let label = match label.is_empty() {
            true => String::new(),
            false => format!("=\"{label}\""),
        };
        metrics
            .lines()
            .filter(|line| line.starts_with(&start) && line.contains(&label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// The value of this line of the metrics, 0 where there is none.
    pub fn metric(&self, name_and_labels: &str) -> u64 {
        let metrics = self.api().anonymous().get("/metrics").body;
        let metrics = metrics.as_str().expect("a text");
        metrics
            .lines()
            .find_map(|line| line.strip_prefix(name_and_labels)?.trim().parse().ok())
            .unwrap_or_default()
    }

    /// Panics unless the process is alive and answers.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        if let Some(status) = self.child.try_wait().expect("the gateway's state") {
            panic!("the gateway ended: {status}");
        }
        assert_eq!(self.api.anonymous().get("/healthz").status, 200);
    }

    /// Its configuration file.
    pub fn configuration(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("gateway.toml"))
            .expect("the configuration")
    }

    /// Writes another configuration file; the gateway does not read it yet.
    pub fn configure(&self, text: &str) {
        std::fs::write(self.directory.path().join("gateway.toml"), text)
            .expect("the configuration");
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal(libc::SIGHUP);
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    fn signal(&self, signal: libc::c_int) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        // SAFETY: no memory is involved; the child is ours and not yet waited for.
        let result = unsafe { libc::kill(pid, signal) };
        assert_eq!(result, 0, "a signal to the gateway");
    }

    /// Whether a shard's thread comes before all ordinary ones of its core.
    #[allow(dead_code)] // `tests/peers` asks for it, not every program does.
    #[track_caller]
    pub fn shard_is_realtime(&self, shard: u8) -> bool {
        let name = format!("shard-{shard}");
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("threads");
        let thread = tasks
            .map(|task| task.expect("a thread").path())
            .find(|task| {
                let comm = std::fs::read_to_string(task.join("comm"));
                comm.is_ok_and(|comm| comm.trim() == name)
            })
            .expect("the shard's thread");
        let id = thread.file_name().and_then(|id| id.to_str()?.parse().ok());
        // SAFETY: takes no pointers.
        let policy = unsafe { libc::sched_getscheduler(id.expect("a thread id")) };
        policy & !libc::SCHED_RESET_ON_FORK == libc::SCHED_FIFO
    }

    /// How long its shards have been ready to run and had no core so far:
    /// this machine's doing, which no gateway can help.
    #[allow(dead_code)] // `tests/quality` asks for it, not every program does.
    #[track_caller]
    pub fn waited_for_cores(&self) -> Duration {
        let tasks = format!("/proc/{}/task", self.child.id());
        let tasks = std::fs::read_dir(tasks).expect("its threads");
        let waited = tasks.filter_map(|task| {
            let task = task.ok()?.path();
            let name = std::fs::read_to_string(task.join("comm")).ok()?;
            // Time on a core, time on the way to one, both in ns.
            let times = std::fs::read_to_string(task.join("schedstat")).ok()?;
            let waited: u64 = times.split_whitespace().nth(1)?.parse().ok()?;
            name.starts_with("shard-").then_some(waited)
        });
        Duration::from_nanos(waited.sum())
    }

    /// Kills it, as a crash does, and starts it again with the same
    /// configuration and data.
    #[track_caller]
    pub fn crash_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Waits for the process to end by itself.
    #[track_caller]
    pub fn wait_for_exit(&mut self) -> ExitStatus {
        eventually("the gateway ends", || {
            self.child.try_wait().expect("the gateway's state")
        })
    }

    /// `POST /call/outgoing` to a SIP server, into the room as `peer`.
    #[track_caller]
    pub fn dial(&self, server: SocketAddr, room: &str, peer: &str) -> OutgoingCall {
        self.dial_with(json!({
            "sip_server": server.to_string(),
            "from_number": "1000",
            "to_number": "2000",
            "streaming": { "room": room, "peer": peer, "record": false },
        }))
    }

    /// `POST /call/outgoing` with this body.
    #[track_caller]
    pub fn dial_with(&self, body: Value) -> OutgoingCall {
        let data = self.api.post("/call/outgoing", &body).data();
        let text = |field: &str| {
            data[field]
                .as_str()
                .unwrap_or_else(|| panic!("{field} in {data}"))
                .to_owned()
        };
        OutgoingCall {
            id: text("call_id"),
            token: text("call_token"),
            ws: text("call_ws"),
        }
    }

    /// The calls that are not over yet, as `GET /calls` tells them.
    #[track_caller]
    pub fn live_calls(&self) -> Vec<Value> {
        let data = self.api.get("/calls").data();
        let list = data["calls"].as_array();
        let list = list.unwrap_or_else(|| panic!("a list of calls: {data}"));
        list.iter()
            .filter(|call| call["state"] != "ended")
            .cloned()
            .collect()
    }

    /// How many calls are not over yet.
    #[track_caller]
    pub fn calls(&self) -> usize {
        self.live_calls().len()
    }

    /// Waits until no call is left.
    #[track_caller]
    pub fn wait_until_idle(&self) {
        let over = within(PATIENCE, || (self.calls() == 0).then_some(()));
        assert!(
            over.is_some(),
            "calls are left after {} s: {:#?}",
            PATIENCE.as_secs(),
            self.live_calls()
        );
    }
}

/// The gateway with the configuration in this directory; the log goes there
/// too.
fn spawn(
    directory: &Path,
    environment: &[(&'static str, String)],
    recordings_disk: Option<&str>,
) -> Child {
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(directory.join("log"))
        .expect("the log");
    let mut command = match recordings_disk {
        None => Command::new(GATEWAY),
        Some(size) => with_recordings_disk(&directory.join("data/recordings"), size),
    };
    command
        .arg("--config")
        .arg(directory.join("gateway.toml"))
        .current_dir(directory)
        .envs(environment.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the log"))
        .stderr(log)
        .spawn()
        .expect("the gateway starts")
}

/// The gateway, but for its arguments, with a disk of this size there. Each
/// program makes way for the next, so that the process is the gateway.
fn with_recordings_disk(at: &Path, size: &str) -> Command {
    let mount = "mkdir -p -m 700 \"$1\" && mount -t tmpfs -o size=\"$2\",mode=700 none \"$1\" \
                 && shift 2 && exec \"$@\"";
    super::require_program("unshare");
    let mut command = Command::new("unshare");
    command
        .args(["--map-root-user", "--mount", "sh", "-c", mount, "sh"])
        .arg(at)
        .args([size, GATEWAY]);
    command
}

/// What `POST /call/outgoing` answered.
#[derive(Debug, Clone)]
pub struct OutgoingCall {
    pub id: String,
    pub token: String,
    pub ws: String,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let ended = within(Duration::ZERO, || self.child.try_wait().ok().flatten());
        if ended.is_none() {
            let _ = self.child.kill();
        }
        let status = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(300)..];
            eprintln!(
                "--- the gateway's log (ended: {ended:?}, {status:?}) ---\n{}\n---",
                tail.join("\n")
            );
        } else if let Some(status) = ended {
            assert!(status.success(), "the gateway ended by itself: {status}");
        }
    }
}
