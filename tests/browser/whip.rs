//! A WHIP publisher and a WHEP player (RFC 9725) that are no browsers, with a
//! telephone in the room.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::network::Family;
use crate::scene::{PHONE_HERTZ, SECONDS, dial, on_network, phone, token};
use crate::support::baresip::Codec;
use crate::support::http::Reply;
use crate::support::{Baresip, Gateway, eventually, tone, within};

const PUBLISHER_HERTZ: u32 = 600;
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

/// aiortc in a process of its own; ended when the value is dropped.
struct Client {
    child: Child,
    input: Option<ChildStdin>,
    told: Arc<Mutex<Vec<Value>>>,
    directory: TempDir,
}

impl Client {
    /// Says a tone into the room `talk` as `studio`.
    fn publishing(gateway: &Gateway) -> Self {
        Self::start(gateway, "publish", "studio", &PUBLISHER_HERTZ.to_string())
    }

    /// Listens in the room `talk` as `audience`.
    fn playing(gateway: &Gateway) -> Self {
        Self::start(gateway, "play", "audience", "heard.wav")
    }

    #[track_caller]
    fn start(gateway: &Gateway, role: &str, peer: &str, what: &str) -> Self {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
        let python = scripts.join("venv/bin/python");
        assert!(
            python.exists(),
            "this test needs aiortc: run scripts/install-dependencies test"
        );
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut child = Command::new(python)
            .arg(scripts.join("whip.py"))
            .arg(role)
            .arg(format!("http://{}/rooms/talk/peers/{peer}", gateway.http()))
            .arg(token(gateway, peer))
            .arg(what)
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("its output"));
        let told = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&told);
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let message = serde_json::from_str(&line).unwrap_or(Value::String(line));
                record.lock().expect("what it told").push(message);
            }
        });
        Self {
            child,
            input,
            told,
            directory,
        }
    }

    /// Waits for a message with this field.
    #[track_caller]
    fn wait_for(&self, field: &str) -> Value {
        eventually(&format!("the client's {field}"), || {
            let told = self.told.lock().expect("what it told");
            told.iter()
                .find(|message| !message[field].is_null())
                .cloned()
        })
    }

    #[track_caller]
    fn wait_until_connected(&self) {
        eventually("the client is connected", || {
            let told = self.told.lock().expect("what it told");
            told.contains(&json!({ "state": "connected" }))
                .then_some(())
        });
    }

    /// Lets it leave; the status of its DELETE.
    #[track_caller]
    fn leave(&mut self) -> Value {
        drop(self.input.take());
        self.wait_for("left")["left"].clone()
    }

    fn recording(&self) -> PathBuf {
        self.directory.path().join("heard.wav")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- the WHIP client told {:#?}", self.told);
        }
        drop(self.input.take());
        let ended = within(Duration::from_secs(5), || {
            self.child.try_wait().ok().flatten()
        });
        if ended.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A gateway, and a phone that it dialled into the room `talk`.
fn phone_in_room(codec: Codec) -> (Gateway, Baresip) {
    let mut gateway = on_network(Family::V4).start();
    let phone = phone(&mut gateway, codec);
    dial(&gateway, &phone, &json!({}));
    (gateway, phone)
}

/// What a POST has to be answered with; the session's path and its ETag.
#[track_caller]
fn assert_created(answer: &Value) -> (String, String) {
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    assert_eq!(answer["status"], 201, "{answer}");
    assert_eq!(answer["content-type"], "application/sdp");
    assert_eq!(answer["link"], Value::Null, "no ICE server is needed");
    let (location, etag) = (text("location"), text("etag"));
    assert!(location.starts_with("/rooms/talk/peers/"), "{location}");
    assert!(etag.starts_with('"') && etag.len() > 2, "{etag}");
    (location, etag)
}

#[test]
fn a_whip_publisher_is_heard_by_a_phone_and_leaves() {
    let (gateway, mut phone) = phone_in_room(Codec::Pcma);
    let mut studio = Client::publishing(&gateway);
    let answer = studio.wait_for("status");
    let (location, _) = assert_created(&answer);
    let sdp = answer["body"].as_str().unwrap_or_default();
    assert!(sdp.contains("a=recvonly\r\n"), "{sdp}");
    studio.wait_until_connected();
    phone.wait_until_heard(SECONDS);
    phone.hang_up();
    phone.wait_for("CALL_CLOSED");
    phone.listen().assert_tone(PUBLISHER_HERTZ);
    assert_eq!(studio.leave(), 200);
    let gone = gateway.api().delete(&location);
    gone.refused(404, "PEER_NOT_FOUND");
}

#[test]
fn a_whep_player_hears_a_phone_in_opus_and_leaves() {
    let (gateway, _phone) = phone_in_room(Codec::Opus);
    let mut audience = Client::playing(&gateway);
    let answer = audience.wait_for("status");
    assert_created(&answer);
    let sdp = answer["body"].as_str().unwrap_or_default();
    assert!(sdp.contains("a=sendonly\r\n"), "{sdp}");
    audience.wait_until_connected();
    eventually("audio at the player", || {
        let bytes = std::fs::metadata(audience.recording()).ok()?.len();
        let rate = f64::from(tone::bytes_per_second(&audience.recording())?);
        (bytes as f64 >= SECONDS * rate).then_some(())
    });
    assert_eq!(audience.leave(), 200);
    tone::analyse(&audience.recording()).assert_tone(PHONE_HERTZ);
}

#[test]
fn a_whip_session_is_trickled_to_restarted_and_refused_as_the_rfc_says() {
    let gateway = on_network(Family::V4).start();
    let studio = Client::publishing(&gateway);
    let answer = studio.wait_for("status");
    let (location, etag) = assert_created(&answer);
    studio.wait_until_connected();
    let ask = |method: &str, path: &str, headers: &[(&str, &str)], kind: &str, text: &str| {
        let body = Some((kind.to_owned(), text.to_owned()));
        let answer = gateway.api().send_with(method, path, headers, body);
        answer.expect("an answer")
    };
    let patch = |if_match: &str, text: &str| -> Reply {
        ask(
            "PATCH",
            &location,
            &[("If-Match", if_match)],
            FRAGMENT,
            text,
        )
    };

    // RFC 9725 section 4.3.2, trickling.
    let offer = answer["offer"].as_str().unwrap_or_default();
    let line = |name: &str| {
        let found = offer.lines().find(|line| line.starts_with(name));
        found
            .unwrap_or_else(|| panic!("no {name} in {offer}"))
            .to_owned()
    };
    let (ufrag, password) = (line("a=ice-ufrag:"), line("a=ice-pwd:"));
    let candidate = "a=candidate:9 1 udp 1 10.99.0.2 4000 typ host";
    let audio = format!("m=audio 9 UDP/TLS/RTP/SAVPF 0\r\n{}\r\n", line("a=mid:"));
    let fragment = format!("{ufrag}\r\n{password}\r\n{audio}{candidate}\r\n");
    assert_eq!(patch(&etag, &fragment).status, 204);
    patch("\"another\"", &fragment).refused(412, "PRECONDITION_FAILED");
    // Section 4.3.3, a restart: credentials and a name that are new.
    let restart = format!(
        "a=ice-ufrag:anew\r\na=ice-pwd:{}\r\n{audio}{candidate}\r\n",
        "x".repeat(24)
    );
    let restarted = patch("*", &restart);
    assert_eq!(restarted.status, 200, "{restarted:?}");
    assert_eq!(restarted.headers["content-type"], FRAGMENT);
    assert_ne!(restarted.headers["etag"], etag.as_str());
    patch(&etag, &fragment).refused(412, "PRECONDITION_FAILED");

    // Sections 4.2 and 4.4: what may be asked, and what may not.
    let endpoint = "/rooms/talk/peers/studio";
    let options = ask("OPTIONS", endpoint, &[], "text/plain", "");
    assert_eq!(options.status, 204);
    assert_eq!(options.headers["accept-post"], "application/sdp");
    for method in ["GET", "PUT"] {
        for path in [endpoint, location.as_str()] {
            ask(method, path, &[], "text/plain", "").refused(405, "METHOD_NOT_ALLOWED");
        }
    }
    ask("POST", endpoint, &[], "text/plain", "x").refused(415, "UNSUPPORTED_MEDIA_TYPE");
    ask("POST", endpoint, &[], "application/sdp", "x").refused(400, "BAD_REQUEST");
    ask("PATCH", &location, &[], "text/plain", "x").refused(415, "UNSUPPORTED_MEDIA_TYPE");
    let anonymous = gateway.api().anonymous();
    anonymous.delete(&location).refused(401, "UNAUTHORIZED");
    assert_eq!(gateway.api().delete(&location).status, 200);
}
