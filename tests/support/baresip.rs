//! baresip, a SIP phone without a head: a tone goes in as its microphone, and
//! what it hears comes out as a WAV file. It is driven over ctrl_tcp, which
//! speaks JSON in netstrings.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::tone::{self, Heard};
use super::{Ports, eventually, require_program, within};

/// What this phone can do with audio.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    Pcmu,
    Pcma,
    G722,
    Opus,
}

impl Codec {
    fn module(self) -> &'static str {
        match self {
            Codec::Pcmu | Codec::Pcma => "g711",
            Codec::G722 => "g722",
            Codec::Opus => "opus",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU/8000/1",
            Codec::Pcma => "PCMA/8000/1",
            Codec::G722 => "G722/16000/1",
            Codec::Opus => "opus/48000/2",
        }
    }
}

/// A running phone; ended when the value is dropped.
pub struct Baresip {
    child: Child,
    directory: TempDir,
    control: TcpStream,
    heard: Arc<Mutex<Vec<Value>>>,
    address: SocketAddr,
}

impl Baresip {
    /// A phone at `ip` that answers calls to `user` by itself and says `hertz`
    /// in this codec.
    #[track_caller]
    pub fn start(ports: &mut Ports, user: &str, ip: IpAddr, codec: Codec, hertz: u32) -> Self {
        Self::start_with(ports, user, "", ip, codec, hertz)
    }

    /// The same with further parameters of its account, each after a semicolon.
    #[track_caller]
    pub fn start_with(
        ports: &mut Ports,
        user: &str,
        account: &str,
        ip: IpAddr,
        codec: Codec,
        hertz: u32,
    ) -> Self {
        require_program("baresip");
        let directory = tempfile::tempdir().expect("a temporary directory");
        // It also listens for TLS, on the port above.
        let address = SocketAddr::new(ip, ports.pair());
        let control = SocketAddr::from(([127, 0, 0, 1], ports.one()));
        let account = format!(
            "<sip:{user}@{address}>;regint=0;answermode=auto{account};audio_codecs={}",
            codec.name()
        );
        write_configuration(
            directory.path(),
            &account,
            address,
            control,
            ports,
            codec,
            hertz,
        );
        let log = std::fs::File::create(directory.path().join("log")).expect("baresip's log");
        let mut child = Command::new("baresip")
            .arg("-f")
            .arg(directory.path())
            .args(["-t", "120", "-v"])
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("baresip's log"))
            .stderr(log)
            .spawn()
            .expect("baresip starts");
        let stream = eventually("baresip's control port", || {
            if let Some(status) = child.try_wait().expect("baresip's state") {
                panic!(
                    "baresip ended at start: {status}\n{}",
                    read(directory.path(), "log")
                );
            }
            TcpStream::connect(control).ok()
        });
        let heard = Arc::new(Mutex::new(Vec::new()));
        let reader = stream.try_clone().expect("a second handle");
        let record = Arc::clone(&heard);
        std::thread::spawn(move || read_netstrings(reader, &record));
        let mut phone = Self {
            child,
            directory,
            control: stream,
            heard,
            address,
        };
        // It answers commands once its modules are loaded and it listens.
        eventually("baresip answers", || {
            phone.command("uastat", "");
            within(Duration::from_millis(500), || {
                phone
                    .messages()
                    .iter()
                    .any(|m| m["response"] == true)
                    .then_some(())
            })
        });
        phone
    }

    /// Where it takes calls.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Calls this user at an address.
    #[track_caller]
    pub fn dial(&mut self, user: &str, server: SocketAddr) {
        self.command("dial", &format!("sip:{user}@{server}"));
    }

    /// Hangs up.
    pub fn hang_up(&mut self) {
        self.command("hangup", "");
    }

    /// Sends one command; the answer is among the messages.
    pub fn command(&mut self, command: &str, parameters: &str) {
        let body =
            json!({ "command": command, "params": parameters, "token": command }).to_string();
        let _ = self
            .control
            .write_all(format!("{}:{body},", body.len()).as_bytes());
    }

    /// Waits for an event of this type, `CALL_ESTABLISHED` say.
    #[track_caller]
    pub fn wait_for(&self, kind: &str) -> Value {
        eventually(&format!("baresip's event {kind}"), || {
            self.messages()
                .into_iter()
                .find(|message| message["type"] == kind)
        })
    }

    fn messages(&self) -> Vec<Value> {
        self.heard.lock().expect("baresip's messages").clone()
    }

    /// Waits until this much audio was heard.
    #[track_caller]
    pub fn wait_until_heard(&self, seconds: f64) {
        eventually("audio at the phone", || {
            let file = self.recording()?;
            let length = std::fs::metadata(&file).ok()?.len();
            let bytes_per_second = tone::bytes_per_second(&file)?;
            (length as f64 >= seconds * f64::from(bytes_per_second)).then_some(())
        });
    }

    /// What it heard, once the call is over.
    #[track_caller]
    pub fn listen(&self) -> Heard {
        let file = self.recording().expect("the phone recorded something");
        tone::analyse(&file)
    }

    /// The decoded audio, as the sndfile module dumps it.
    fn recording(&self) -> Option<PathBuf> {
        let entries = std::fs::read_dir(self.directory.path()).ok()?;
        let mut files: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.to_string_lossy().ends_with("-dec.wav"))
            .collect();
        files.sort();
        files.pop()
    }
}

impl Drop for Baresip {
    fn drop(&mut self) {
        self.command("quit", "");
        let ended = within(Duration::from_secs(3), || {
            self.child.try_wait().ok().flatten()
        });
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let events: Vec<Value> = self
                .messages()
                .into_iter()
                .filter(|message| message["event"] == true)
                .collect();
            eprintln!(
                "--- baresip on {} ---\nevents: {events:#?}\n{}",
                self.address,
                read(self.directory.path(), "log")
            );
        }
    }
}

fn read(directory: &Path, name: &str) -> String {
    std::fs::read(directory.join(name))
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .unwrap_or_default()
}

fn write_configuration(
    directory: &Path,
    account: &str,
    address: SocketAddr,
    control: SocketAddr,
    ports: &mut Ports,
    codec: Codec,
    hertz: u32,
) {
    let rtp = ports.range(8);
    let mut lines: Vec<String> = vec![
        "poll_method epoll".into(),
        format!("sip_listen {address}"),
        "call_local_timeout 60".into(),
        "call_max_calls 4".into(),
        "audio_player aubridge,nil".into(),
        format!("audio_source ausine,{hertz}"),
        "audio_alert aubridge,nil".into(),
        "audio_path /nonexistent".into(),
        // ausine makes 48 kHz stereo only.
        "ausrc_srate 48000".into(),
        "ausrc_channels 2".into(),
        "ausrc_format s16".into(),
        "auplay_format s16".into(),
        "auenc_format s16".into(),
        "audec_format s16".into(),
        "audio_buffer 20-160".into(),
        "jitter_buffer_delay 1-20".into(),
        "opus_bitrate 28000".into(),
        format!("rtp_ports {}-{}", rtp.start(), rtp.end()),
        format!("net_interface {}", address.ip()),
        format!("snd_path {}", directory.display()),
        "module_path /usr/lib/baresip/modules".into(),
        format!("ctrl_tcp_listen {control}"),
        "menu_bell no".into(),
        "ringback_disabled yes".into(),
    ];
    for (keying, module) in [
        ("mediaenc=srtp", "srtp"),
        ("mediaenc=dtls_srtp", "dtls_srtp"),
    ] {
        if account.contains(keying) {
            lines.push(format!("module {module}.so"));
        }
    }
    for module in [codec.module(), "ausine", "aubridge", "sndfile"] {
        lines.push(format!("module {module}.so"));
    }
    for module in ["uuid", "account"] {
        lines.push(format!("module_tmp {module}.so"));
    }
    for module in ["menu", "ctrl_tcp", "debug_cmd"] {
        lines.push(format!("module_app {module}.so"));
    }
    for (name, text) in [
        ("config", lines.join("\n")),
        ("accounts", account.to_owned()),
        ("contacts", String::new()),
    ] {
        std::fs::write(directory.join(name), text + "\n").expect("baresip's configuration");
    }
}

/// Reads `length:body,` until the connection ends.
fn read_netstrings(mut stream: TcpStream, record: &Mutex<Vec<Value>>) {
    let mut buffer = Vec::new();
    let mut chunk = [0; 8192];
    while let Ok(count) = stream.read(&mut chunk) {
        if count == 0 {
            return;
        }
        buffer.extend_from_slice(&chunk[..count]);
        while let Some(colon) = buffer.iter().position(|byte| *byte == b':') {
            let digits = String::from_utf8_lossy(&buffer[..colon]).into_owned();
            let Ok(length) = digits.parse::<usize>() else {
                return;
            };
            let end = colon + 1 + length;
            if buffer.len() <= end {
                break;
            }
            if let Ok(message) = serde_json::from_slice(&buffer[colon + 1..end]) {
                record.lock().expect("baresip's messages").push(message);
            }
            buffer.drain(..=end);
        }
    }
}
