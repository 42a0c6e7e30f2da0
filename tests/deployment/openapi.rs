//! schemathesis (PyPI) reads `/openapi.json` of a running gateway and asks it
//! for everything that is described there, rightly and wrongly: nothing may
//! break, and every answer has to be a described one.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::gateway::ROOT_SECRET;
use crate::support::{Gateway, require_program};

/// Where scripts/install-dependencies puts it.
fn schemathesis() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache");
    let place = cache
        .unwrap_or_else(home)
        .join("ringwire-tests/schemathesis");
    let wanted = std::fs::read_to_string(directory().join("requirements.txt"))
        .expect("tests/deployment/requirements.txt");
    let found = std::fs::read_to_string(place.join("requirements.txt"));
    assert_eq!(
        found.ok(),
        Some(wanted),
        "this test needs schemathesis in {}: run scripts/install-dependencies test",
        place.display()
    );
    place.join("bin/schemathesis")
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/deployment")
}

/// A network of this test's own that has loopback and no way out: wherever the
/// generated calls and hooks are to go, nothing leaves.
fn enter_a_network_without_a_way_out() {
    require_program("ip");
    // SAFETY: no memory is involved; it changes what this thread sees only.
    let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(
        moved,
        0,
        "a network namespace needs root; without it, run the tests by `unshare -rn`: {}",
        std::io::Error::last_os_error()
    );
    let up = Command::new("ip")
        .args(["link", "set", "lo", "up"])
        .status();
    assert!(up.expect("`ip` runs").success(), "ip link set lo up");
}

#[test]
fn whatever_is_asked_the_answer_is_a_described_one() {
    let program = schemathesis();
    enter_a_network_without_a_way_out();
    let mut gateway = Gateway::with().rtp("port_reuse_delay_s = 0").start();
    // It keeps notes where it runs.
    let notes = tempfile::tempdir().expect("a temporary directory");
    let output = Command::new(program)
        .current_dir(notes.path())
        .env("SCHEMATHESIS_HOOKS", "hooks")
        .env("PYTHONPATH", directory())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("HYPOTHESIS_STORAGE_DIRECTORY", notes.path())
        .env("SCHEMATHESIS_TELEMETRY", "false")
        .args(["run", &format!("http://{}/openapi.json", gateway.http())])
        .args(["--header", &format!("Authorization: Bearer {ROOT_SECRET}")])
        .args(["--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", "20", "--generation-deterministic"])
        .args(["--checks", CHECKS])
        .args(["--request-timeout", "20", "--workers", "2", "--no-color"])
        .args(["--warnings", "off"])
        .stdin(Stdio::null())
        .output()
        .expect("schemathesis runs");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    // A run that found no operation would pass too.
    assert!(told.contains("No issues found"), "{told}");
    // And one that never got past the first refusal.
    let metrics = gateway.api().anonymous().get("/metrics").body;
    let metrics = metrics.as_str().expect("a text");
    for status in [200, 201, 400, 404, 415, 422, 426] {
        let counted = format!("ringwire_http_requests_total{{status=\"{status}\"}}");
        assert!(metrics.contains(&counted), "never answered {status}");
    }
    gateway.assert_alive();
}

/// What is checked of every answer.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_headers_conformance,response_schema_conformance,unsupported_method";
