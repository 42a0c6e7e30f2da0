//! sipp as caller or callee. A scenario is an XML file in `tests/sipp/` in
//! which `{{name}}` is replaced before sipp reads it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use tempfile::TempDir;

use super::{Gateway, Ports, eventually, ports, require_program};

/// sipp to be started.
pub struct Sipp {
    scenario: String,
    replacements: Vec<(String, String)>,
    arguments: Vec<String>,
    address: IpAddr,
    calls: u32,
}

impl Sipp {
    /// The scenario `tests/sipp/{name}.xml`.
    pub fn scenario(name: &str) -> Self {
        Self {
            scenario: name.to_owned(),
            replacements: Vec::new(),
            arguments: Vec::new(),
            address: Ipv4Addr::LOCALHOST.into(),
            calls: 1,
        }
    }

    /// Replaces `{{name}}` in the scenario.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.replacements.push((name.to_owned(), value.to_owned()));
        self
    }

    /// How many calls to make or take.
    pub fn calls(mut self, calls: u32) -> Self {
        self.calls = calls;
        self
    }

    pub fn argument(mut self, name: &str, value: &str) -> Self {
        self.arguments.push(name.to_owned());
        self.arguments.push(value.to_owned());
        self
    }

    /// What sipp answers digest challenges with.
    pub fn credentials(self, username: &str, password: &str) -> Self {
        self.argument("-au", username).argument("-ap", password)
    }

    /// Calls `number` at the gateway, from loopback.
    #[track_caller]
    pub fn call(self, gateway: &mut Gateway, number: &str) -> SippRun {
        let target = gateway.sip();
        self.call_at(target, number, &mut gateway.ports)
    }

    /// Calls `number` at any address (a relay in between, say).
    #[track_caller]
    pub fn call_at(mut self, target: SocketAddr, number: &str, ports: &mut Ports) -> SippRun {
        self.address = if target.is_ipv6() {
            "::1".parse().expect("an address")
        } else {
            self.address
        };
        self.argument("-s", number).start(Some(target), ports)
    }

    /// Waits for calls; returns once its port is bound.
    #[track_caller]
    pub fn answer(self, gateway: &mut Gateway) -> SippRun {
        self.answer_on(&mut gateway.ports)
    }

    #[track_caller]
    pub fn answer_on(self, ports: &mut Ports) -> SippRun {
        let mut run = self.start(None, ports);
        let port = run.address.port();
        eventually("sipp listens", || {
            if let Some(status) = run.child.try_wait().expect("sipp's state") {
                panic!("sipp ended at start: {status}\n{}", run.report());
            }
            ports::udp_is_bound(port).then_some(())
        });
        run
    }

    #[track_caller]
    fn start(self, target: Option<SocketAddr>, ports: &mut Ports) -> SippRun {
        require_program("sipp");
        let directory = tempfile::tempdir().expect("a temporary directory");
        let scenario = self.write_scenario(directory.path());
        let address = SocketAddr::new(self.address, ports.one());
        let media = ports.range(4);
        let output = std::fs::File::create(directory.path().join("screen")).expect("sipp's output");
        let mut command = Command::new("sipp");
        if let Some(target) = target {
            command.arg(target.to_string());
        }
        command
            .arg("-sf")
            .arg(&scenario)
            .args([
                "-i",
                &bracketed(address.ip()),
                "-p",
                &address.port().to_string(),
            ])
            .args([
                "-mi",
                &bracketed(address.ip()),
                "-mp",
                &media.start().to_string(),
            ])
            .args(["-cp", &ports.one().to_string()])
            .args(["-m", &self.calls.to_string(), "-nostdin"])
            // Past this sipp is stuck; the test's own deadlines are shorter.
            .args(["-timeout", "60s", "-timeout_error"])
            .args(["-trace_err", "-error_file", "errors"])
            .args(["-trace_msg", "-message_file", "messages"])
            .args(&self.arguments)
            .current_dir(directory.path())
            .env("TERM", "dumb")
            .stdin(Stdio::null())
            .stdout(output.try_clone().expect("sipp's output"))
            .stderr(output);
        let child = command.spawn().expect("sipp starts");
        SippRun {
            child,
            directory,
            scenario: self.scenario,
            address,
            status: None,
        }
    }

    #[track_caller]
    fn write_scenario(&self, directory: &Path) -> PathBuf {
        let source = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/sipp")
            .join(format!("{}.xml", self.scenario));
        let mut text = std::fs::read_to_string(&source)
            .unwrap_or_else(|error| panic!("{}: {error}", source.display()));
        for (name, value) in &self.replacements {
            let mark = format!("{{{{{name}}}}}");
            assert!(text.contains(&mark), "{} has no {mark}", source.display());
            text = text.replace(&mark, value);
        }
        if let Some(at) = text.find("{{") {
            panic!(
                "{}: nothing was set for {}",
                source.display(),
                &text[at..text.len().min(at + 20)]
            );
        }
        let path = directory.join("scenario.xml");
        std::fs::write(&path, text).expect("the scenario");
        path
    }
}

/// sipp wants IPv6 addresses in brackets.
fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

/// A running sipp; ended when the value is dropped.
pub struct SippRun {
    child: Child,
    directory: TempDir,
    scenario: String,
    address: SocketAddr,
    status: Option<ExitStatus>,
}

impl SippRun {
    /// Where it sends from and listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the end; panics with sipp's own report unless every call went
    /// as the scenario says.
    #[track_caller]
    pub fn succeeds(mut self) -> String {
        let status = eventually(&format!("sipp ends ({})", self.scenario), || {
            self.child.try_wait().expect("sipp's state")
        });
        self.status = Some(status);
        assert!(
            status.success(),
            "sipp {}: {status}\n{}",
            self.scenario,
            self.report()
        );
        self.messages()
    }

    /// Every message sent and received so far.
    pub fn messages(&self) -> String {
        self.file("messages")
    }

    fn file(&self, name: &str) -> String {
        std::fs::read(self.directory.path().join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    fn report(&self) -> String {
        format!(
            "errors:\n{}\nmessages:\n{}",
            self.file("errors"),
            self.messages()
        )
    }
}

impl Drop for SippRun {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!(
                "--- sipp {} on {} ---\n{}",
                self.scenario,
                self.address,
                self.report()
            );
        }
    }
}
