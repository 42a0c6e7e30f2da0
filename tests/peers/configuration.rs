//! Starting: the configuration is checked, wrong ones are explained, and the
//! gateway says what it does.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use crate::support::http::Api;
use crate::support::{Gateway, Ports, eventually};

fn check(text: &str) -> Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("gateway.toml");
    std::fs::write(&file, text).expect("the configuration");
    check_file(&file)
}

fn check_file(file: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ringwire"))
        .arg("check-config")
        .arg("--config")
        .arg(file)
        .env_remove("RINGWIRE_SECRET")
        .output()
        .expect("the gateway runs")
}

/// Asserts a refusal that names the file, this line, and each of these words.
#[track_caller]
fn refused(text: &str, line: usize, words: &[&str]) {
    let output = check(text);
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!output.status.success(), "it was accepted: {said}");
    let place = format!("gateway.toml:{line}");
    for word in words.iter().copied().chain([place.as_str()]) {
        assert!(said.contains(word), "{word:?} is missing in: {said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn the_example_configuration_is_right() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/gateway.example.toml");
    let output = check_file(&file);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn an_empty_configuration_is_right() {
    assert!(check("").status.success());
}

#[test]
fn an_unknown_field_is_named_with_its_line() {
    refused(
        "[http]\nlisten = \"127.0.0.1:8008\"\nport = 8008\n",
        3,
        &["port", "listen"],
    );
}

#[test]
fn an_unknown_table_is_named_with_its_line() {
    refused(
        "\n[htpp]\nlisten = \"127.0.0.1:8008\"\n",
        2,
        &["htpp", "http"],
    );
}

#[test]
fn a_wrong_type_says_what_would_be_right() {
    refused(
        "[calls]\nanswer_timeout_s = \"long\"\n",
        2,
        &["answer_timeout_s"],
    );
}

#[test]
fn a_wrong_address_says_what_would_be_right() {
    refused(
        "[http]\nlisten = \"everywhere\"\n",
        2,
        &["listen", "everywhere"],
    );
}

#[test]
fn rtp_ports_upside_down_are_refused() {
    refused("[rtp]\nports = \"40000-30000\"\n", 2, &["ports"]);
}

#[test]
fn a_number_of_an_app_that_does_not_exist_is_refused() {
    refused(
        "[[number]]\nnumber = \"7000\"\nsubnets = [\"10.0.0.0/8\"]\napp_id = \"nobody\"\n",
        4,
        &["app_id", "nobody"],
    );
}

#[test]
fn a_subnet_that_is_none_is_refused() {
    refused(
        "[[number]]\nnumber = \"7000\"\nsubnets = [\"10.0.0.0/64\"]\n",
        3,
        &["subnets", "10.0.0.0/64"],
    );
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    refused("data_dir = \"data\"\ncores = [0\n", 2, &[]);
}

#[test]
fn a_missing_file_is_named() {
    let output = check_file(Path::new("/nonexistent/gateway.toml"));
    assert!(!output.status.success());
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("/nonexistent/gateway.toml"),
        "{output:?}"
    );
}

/// A gateway without a configuration file, all by environment.
struct Bare {
    child: Child,
    directory: tempfile::TempDir,
    api: Api,
    _ports: Ports,
}

impl Bare {
    fn start(directory: tempfile::TempDir, secret: Option<&str>) -> Self {
        let mut ports = Ports::lease();
        let http = format!("127.0.0.1:{}", ports.one());
        let rtp = ports.range(8);
        let log = std::fs::File::create(directory.path().join("log")).expect("the log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringwire"));
        command
            .current_dir(directory.path())
            .env("RINGWIRE_HTTP_LISTEN", &http)
            .env("RINGWIRE_SIP_LISTEN", format!("127.0.0.1:{}", ports.one()))
            .env("RINGWIRE_PUBLIC_IP", "127.0.0.1")
            .env(
                "RINGWIRE_RTP_PORTS",
                format!("{}-{}", rtp.start(), rtp.end()),
            )
            .env("RINGWIRE_WEBRTC_PORT", "0")
            .env("RINGWIRE_DATA_DIR", directory.path().join("data"))
            .env("RINGWIRE_CORES", "0")
            .env_remove("RINGWIRE_SECRET")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log"))
            .stderr(log);
        if let Some(secret) = secret {
            command.env("RINGWIRE_SECRET", secret);
        }
        let child = command.spawn().expect("the gateway starts");
        let api = Api::new(&format!("http://{http}"), secret);
        let mut bare = Self {
            child,
            directory,
            api,
            _ports: ports,
        };
        eventually("the gateway is ready", || {
            if let Some(status) = bare.child.try_wait().expect("its state") {
                panic!("it ended at start: {status}\n{}", bare.log());
            }
            let reply = bare.api.anonymous().send("GET", "/healthz", None).ok()?;
            (reply.status == 200).then_some(())
        });
        bare
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    /// Every file of the data directory that only its owner may read.
    fn private_files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path().join("data")).expect("the data dir");
        entries
            .filter_map(|entry| {
                let path = entry.ok()?.path();
                let mode = std::fs::metadata(&path).ok()?.permissions().mode();
                (path.is_file() && mode & 0o777 == 0o600)
                    .then(|| std::fs::read_to_string(path).ok())?
            })
            .map(|text| text.trim().to_owned())
            .collect()
    }

    fn stop(mut self) -> tempfile::TempDir {
        self.end();
        std::mem::replace(
            &mut self.directory,
            tempfile::tempdir().expect("a temporary directory"),
        )
    }

    fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.end();
        if std::thread::panicking() {
            eprintln!("--- the gateway's log ---\n{}", self.log());
        }
    }
}

#[test]
fn without_a_file_the_environment_is_enough() {
    let bare = Bare::start(
        tempfile::tempdir().expect("a directory"),
        Some("from-the-environment"),
    );
    assert_eq!(bare.api.get("/calls").status, 200);
}

#[test]
fn a_secret_is_made_once_kept_private_and_used_again() {
    let first = Bare::start(tempfile::tempdir().expect("a directory"), None);
    let secrets = first.private_files();
    let works =
        |bare: &Bare, secret: &String| bare.api.with_token(secret).get("/calls").status == 200;
    let secret = secrets.iter().find(|secret| works(&first, secret)).cloned();
    let secret =
        secret.unwrap_or_else(|| panic!("no private file holds the secret: {}", secrets.len()));
    assert_eq!(first.api.get("/calls").status, 401);

    let again = Bare::start(first.stop(), None);
    assert!(
        works(&again, &secret),
        "the second start uses the same secret"
    );
}

#[test]
fn the_banner_says_what_runs_where() {
    let gateway = Gateway::with().shards(2).start();
    let log = gateway.log();
    for word in [
        gateway.http().to_string(),
        gateway.sip().to_string(),
        "uring".into(),
        "shard".into(),
    ] {
        assert!(log.contains(&word), "{word:?} is missing in: {log}");
    }
    assert!(
        !log.contains(crate::support::gateway::ROOT_SECRET),
        "a secret from outside is not logged"
    );
}

#[test]
fn the_poll_backend_is_named_when_it_is_chosen() {
    let gateway = Gateway::with()
        .backend(crate::support::gateway::Backend::Poll)
        .start();
    assert!(gateway.log().contains("poll"), "{}", gateway.log());
}
