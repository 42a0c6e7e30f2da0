//! `ringwire doctor` as it is run: what it prints, and with which exit code.

use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Gateway, Ports};

fn doctor(arguments: &[&str], http: &str) -> Output {
    let mut ports = Ports::lease();
    let sip = ports.one();
    let rtp = ports.range(20);
    let data = tempfile::tempdir().expect("a temporary directory");
    Command::new(env!("CARGO_BIN_EXE_ringwire"))
        .arg("doctor")
        .args(arguments)
        .env("RINGWIRE_DATA_DIR", data.path())
        .env("RINGWIRE_HTTP_LISTEN", http)
        .env(
            "RINGWIRE_RTP_PORTS",
            format!("{}-{}", rtp.start(), rtp.end()),
        )
        .env("RINGWIRE_SIP_LISTEN", format!("127.0.0.1:{sip}"))
        .output()
        .expect("the doctor runs")
}

#[test]
fn a_port_that_is_taken_is_a_problem_and_the_exit_code_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address").to_string();
    let output = doctor(&["--json"], &address);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let findings = told["findings"].as_array().expect("a list");
    let http = findings
        .iter()
        .find(|finding| finding["check"] == "http.listen")
        .expect("the check");
    assert_eq!(http["level"], "problem", "{http}");
    assert!(
        http["remedy"]
            .as_str()
            .expect("a remedy")
            .contains("ss -tlpn")
    );
}

#[test]
fn people_read_a_line_for_each_check_and_the_sum() {
    let output = doctor(&[], "127.0.0.1:0");
    let text = String::from_utf8(output.stdout).expect("text");
    for start in ["kernel", "io_uring", "cores", "http.listen", "data_dir"] {
        let has = text
            .lines()
            .any(|line| line.split_whitespace().nth(1) == Some(start));
        assert!(has, "{start}: {text}");
    }
    assert!(
        text.lines().last().expect("a sum").contains(" ok, "),
        "{text}"
    );
}

#[test]
fn a_gateway_that_runs_is_healthy_and_one_that_is_gone_is_not() {
    let mut gateway = Gateway::with().start();
    let listen = gateway.http().to_string();
    let healthy = || {
        Command::new(env!("CARGO_BIN_EXE_ringwire"))
            .arg("healthy")
            .env("RINGWIRE_HTTP_LISTEN", &listen)
            .output()
            .expect("it runs")
    };
    assert_eq!(healthy().status.code(), Some(0), "{:?}", healthy());
    gateway.terminate();
    gateway.wait_for_exit();
    assert_eq!(healthy().status.code(), Some(1));
}
