//! A media server that rooms are on, played strictly: every request has to be
//! the right one, at the right time, with the right headers, and what is not
//! is a violation that fails the test. It has real RTP legs.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::gateway::ROOT_SECRET;
use super::rtp::{RtpPacket, RtpPeer};
use super::{PATIENCE, Ports, RUNTIME, within};

/// Payload types of its own: PCMA, and telephone events under a number that
/// phones do not use for them.
pub const PCMA: u8 = 8;
pub const EVENTS: u8 = 97;
/// What its legs fill their packets with.
pub const FILL: u8 = 0x5a;

/// A step of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    Token,
    Offer,
    Answer,
    Patch,
    Delete,
}

/// What goes wrong at a step.
#[derive(Debug, Clone)]
pub enum Fault {
    /// This status, without anything done.
    Status(u16),
    /// What is said of a wrong secret: 200 and `"status": false`.
    StatusFalse,
    /// The step is done, and its body is no JSON and no SDP.
    Garbage,
    /// The step is done, and the response does not say where.
    NoLocation,
    /// The step is done after this time.
    Late(Duration),
}

/// What a leg says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    /// Packets of [`FILL`], all the time.
    Itself,
    /// What it hears.
    Echo,
}

enum Leg {
    Peer(RtpPeer),
    Echo(Echo),
}

impl Leg {
    fn address(&self) -> SocketAddr {
        match self {
            Leg::Peer(peer) => peer.address(),
            Leg::Echo(echo) => echo.address,
        }
    }
}

struct Session {
    leg: Leg,
    /// By an offer of ours that was not answered yet.
    wants_answer: bool,
    deleted: bool,
}

struct Token {
    used: bool,
}

struct State {
    says: Says,
    ports: Ports,
    tokens: HashMap<String, Token>,
    token_requests: Vec<Value>,
    sessions: Vec<Session>,
    faults: HashMap<Step, VecDeque<Fault>>,
    requests: Vec<Step>,
    violations: Vec<String>,
}

/// The running server; ended when the value is dropped, which fails the test
/// if there was a violation.
pub struct MediaServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: tokio::task::JoinHandle<()>,
}

impl MediaServer {
    /// One whose legs talk.
    pub fn start() -> Self {
        Self::saying(Says::Itself)
    }

    /// One whose legs send back what they hear.
    pub fn echo() -> Self {
        Self::saying(Says::Echo)
    }

    fn saying(says: Says) -> Self {
        let state = Arc::new(Mutex::new(State {
            says,
            ports: Ports::lease(),
            tokens: HashMap::new(),
            token_requests: Vec::new(),
            sessions: Vec::new(),
            faults: HashMap::new(),
            requests: Vec::new(),
            violations: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        let handler = move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            let state = Arc::clone(&shared);
            async move { handle(&state, &method, uri.path(), &headers, &body).await }
        };
        let listener = RUNTIME
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port for the media server");
        let address = listener.local_addr().expect("the media server's address");
        let task = RUNTIME.spawn(async move {
            let app = Router::new().fallback(handler);
            axum::serve(listener, app)
                .await
                .expect("the media server serves");
        });
        Self {
            address,
            state,
            task,
        }
    }

    /// `[rooms]` of a gateway that uses it, and gives it a second for each
    /// request. The path shows that what follows it is appended.
    pub fn rooms(&self) -> String {
        rooms_at(self.address)
    }

    /// The next request of this step goes wrong so.
    pub fn fail(&self, step: Step, fault: Fault) {
        let mut state = self.state.lock().expect("the state");
        state.faults.entry(step).or_default().push_back(fault);
    }

    /// The steps asked for so far, in order.
    pub fn requests(&self) -> Vec<Step> {
        self.state.lock().expect("the state").requests.clone()
    }

    /// The bodies of the requests for tokens.
    pub fn token_requests(&self) -> Vec<Value> {
        self.state.lock().expect("the state").token_requests.clone()
    }

    /// Waits until these are the steps asked for, and forgets them.
    #[track_caller]
    pub fn expect(&self, steps: &[Step]) {
        let came = within(PATIENCE, || (self.requests() == steps).then_some(()));
        assert!(
            came.is_some(),
            "the media server wanted {steps:?}, and was asked {:?}",
            self.requests()
        );
        self.state.lock().expect("the state").requests.clear();
    }

    /// Waits until this step was asked for.
    #[track_caller]
    pub fn wait_for(&self, step: Step) {
        let came = within(PATIENCE, || self.requests().contains(&step).then_some(()));
        assert!(came.is_some(), "{step:?} was not asked for");
    }

    /// How many sessions were made, and how many of them are left.
    pub fn sessions(&self) -> (usize, usize) {
        let state = self.state.lock().expect("the state");
        let left = state.sessions.iter().filter(|session| !session.deleted);
        (state.sessions.len(), left.count())
    }

    /// Waits until the last session has heard `count` packets of this type
    /// that are filled with this byte.
    #[track_caller]
    pub fn hears(&self, count: usize, payload_type: u8, fill: u8) {
        let matching = || {
            let packets = self.heard();
            let wanted = |packet: &&RtpPacket| {
                packet.payload_type == payload_type
                    && packet.payload.iter().all(|byte| *byte == fill)
            };
            packets.iter().filter(wanted).count()
        };
        let heard = within(PATIENCE, || (matching() >= count).then_some(()));
        assert!(
            heard.is_some(),
            "{count} packets of {payload_type} filled with {fill:#04x}; the media server heard {} of {}",
            matching(),
            self.heard().len()
        );
    }

    fn heard(&self) -> Vec<RtpPacket> {
        let state = self.state.lock().expect("the state");
        match state.sessions.last().map(|session| &session.leg) {
            Some(Leg::Peer(peer)) => peer.heard(),
            Some(Leg::Echo(_)) | None => Vec::new(),
        }
    }
}

impl Drop for MediaServer {
    fn drop(&mut self) {
        self.task.abort();
        let Ok(state) = self.state.lock() else {
            return;
        };
        if std::thread::panicking() {
            eprintln!(
                "--- the media server was asked {:?}; violations: {:#?}",
                state.requests, state.violations
            );
        } else {
            assert!(state.violations.is_empty(), "{:#?}", state.violations);
        }
    }
}

/// `[rooms]` on a media server at this address.
pub fn rooms_at(address: SocketAddr) -> String {
    format!("backend = \"external\"\nurl = \"http://{address}/media/\"\ntimeout_s = 1\n")
}

async fn handle(
    state: &Mutex<State>,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Response {
    let Some(step) = step(method, path) else {
        let mut state = state.lock().expect("the state");
        state
            .violations
            .push(format!("{method} {path}: no such thing"));
        return StatusCode::NOT_FOUND.into_response();
    };
    let fault = {
        let mut state = state.lock().expect("the state");
        state.requests.push(step);
        state.faults.get_mut(&step).and_then(VecDeque::pop_front)
    };
    match fault {
        Some(Fault::Status(status)) => {
            return StatusCode::from_u16(status)
                .expect("an HTTP status")
                .into_response();
        }
        Some(Fault::StatusFalse) => return wrong_secret(),
        // Part of the script: how long this server thinks.
        Some(Fault::Late(time)) => tokio::time::sleep(time).await,
        Some(Fault::Garbage | Fault::NoLocation) | None => {}
    }
    let mut state = state.lock().expect("the state");
    let mut response = match step {
        Step::Token => state.token(headers, body),
        Step::Offer => state.offer(headers, body),
        Step::Answer => state.answer(headers, body),
        Step::Patch => state.patch(path, headers, body),
        Step::Delete => state.delete(path),
    };
    match fault {
        Some(Fault::Garbage) => *response.body_mut() = "<html>".into(),
        Some(Fault::NoLocation) => {
            response.headers_mut().remove(header::LOCATION);
            // Nobody can delete what has no name.
            if let Some(session) = state.sessions.last_mut() {
                session.deleted = true;
            }
        }
        Some(Fault::Status(_) | Fault::StatusFalse | Fault::Late(_)) | None => {}
    }
    response
}

fn step(method: &Method, path: &str) -> Option<Step> {
    match (method.as_str(), path) {
        ("POST", "/media/token/rtpengine") => Some(Step::Token),
        ("POST", "/media/rtpengine/offer") => Some(Step::Offer),
        ("POST", "/media/rtpengine/answer") => Some(Step::Answer),
        ("PATCH", path) if path.starts_with("/media/rtpengine/conn/") => Some(Step::Patch),
        ("DELETE", path) if path.starts_with("/media/rtpengine/conn/") => Some(Step::Delete),
        _ => None,
    }
}

fn wrong_secret() -> Response {
    let body = json!({ "status": false, "error": "APP_TOKEN_INVALID" });
    axum::Json(body).into_response()
}

fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default()
}

impl State {
    fn check(&mut self, holds: bool, what: &str) -> bool {
        if !holds {
            self.violations.push(what.to_owned());
        }
        holds
    }

    fn token(&mut self, headers: &HeaderMap, body: &[u8]) -> Response {
        let json = header(headers, "content-type") == "application/json";
        self.check(json, "token: the content type is not application/json");
        if header(headers, "authorization") != format!("Bearer {ROOT_SECRET}") {
            return wrong_secret();
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let fits = body["room"].is_string()
            && body["peer"].is_string()
            && body["ttl"].as_u64().is_some_and(|ttl| ttl > 0)
            && body["record"].is_boolean()
            && body.as_object().is_some_and(|fields| fields.len() == 4);
        self.check(fits, &format!("token: {body}"));
        self.token_requests.push(body);
        let token = format!("token-{}", self.tokens.len());
        self.tokens.insert(token.clone(), Token { used: false });
        axum::Json(json!({ "status": true, "data": { "token": token } })).into_response()
    }

    /// A token makes one session.
    fn admit(&mut self, headers: &HeaderMap) -> bool {
        let token = header(headers, "authorization").strip_prefix("Bearer ");
        let token = token.and_then(|token| self.tokens.get_mut(token));
        let fresh = token.is_some_and(|token| !std::mem::replace(&mut token.used, true));
        self.check(fresh, "a token that is unknown or used")
    }

    fn offer(&mut self, headers: &HeaderMap, body: &[u8]) -> Response {
        if !self.admit(headers) {
            return StatusCode::BAD_REQUEST.into_response();
        }
        self.check(body.is_empty(), "offer: there is a body");
        self.made(None)
    }

    fn answer(&mut self, headers: &HeaderMap, body: &[u8]) -> Response {
        if !self.admit(headers) {
            return StatusCode::BAD_REQUEST.into_response();
        }
        match self.read(headers, body) {
            Some(remote) => self.made(Some(remote)),
            None => StatusCode::BAD_REQUEST.into_response(),
        }
    }

    fn patch(&mut self, path: &str, headers: &HeaderMap, body: &[u8]) -> Response {
        let Some(number) = self.named(path) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let session = &mut self.sessions[number];
        let wanted = std::mem::replace(&mut session.wants_answer, false) && !session.deleted;
        self.check(wanted, "patch: no answer is wanted");
        let Some(remote) = self.read(headers, body) else {
            return StatusCode::BAD_REQUEST.into_response();
        };
        let text = String::from_utf8_lossy(body);
        let formats = text.lines().find_map(|line| line.strip_prefix("m=audio "));
        let formats = formats.unwrap_or_default().trim().split(' ').skip(2);
        let all_offered = formats.into_iter().all(|format| {
            [PCMA, EVENTS]
                .iter()
                .any(|offered| format == offered.to_string())
        });
        self.check(all_offered, &format!("patch: not what was offered: {text}"));
        self.sessions[number].leg.talk_to(remote);
        StatusCode::OK.into_response()
    }

    fn delete(&mut self, path: &str) -> Response {
        let Some(number) = self.named(path) else {
            return StatusCode::NOT_FOUND.into_response();
        };
        let again = std::mem::replace(&mut self.sessions[number].deleted, true);
        self.check(!again, "delete: it was deleted already");
        StatusCode::OK.into_response()
    }

    fn named(&mut self, path: &str) -> Option<usize> {
        let name = path.rsplit('/').next()?;
        let number = name.parse().ok().filter(|n| *n < self.sessions.len());
        self.check(number.is_some(), &format!("{path}: no such session"));
        number
    }

    /// Where an SDP of the gateway wants RTP, if it can be read as simply as
    /// such servers do.
    fn read(&mut self, headers: &HeaderMap, body: &[u8]) -> Option<SocketAddr> {
        let sdp = header(headers, "content-type") == "application/sdp";
        self.check(sdp, "the content type is not application/sdp");
        let text = String::from_utf8_lossy(body).into_owned();
        let (session, media) = text.split_once("m=audio ").unwrap_or((&text, ""));
        let address: Option<IpAddr> = session
            .lines()
            .find_map(|line| line.strip_prefix("c=IN IP4 ")?.trim().parse().ok());
        let mut words = media.split(' ');
        let port: Option<u16> = words.next().and_then(|port| port.parse().ok());
        let plain = words.next() == Some("RTP/AVP");
        let fits = text.starts_with("v=0\r\n")
            && plain
            && !media.contains("m=")
            && media.contains("a=rtcp-mux\r\n");
        self.check(fits, &format!("no SDP of a plain audio leg: {text}"));
        Some(SocketAddr::new(address?, port?))
    }

    fn made(&mut self, remote: Option<SocketAddr>) -> Response {
        let leg = match self.says {
            Says::Itself => Leg::Peer(RtpPeer::open(
                &mut self.ports,
                Ipv4Addr::LOCALHOST.into(),
                FILL,
            )),
            Says::Echo => Leg::Echo(Echo::open(self.ports.pair())),
        };
        if let Some(remote) = remote {
            leg.talk_to(remote);
        }
        let port = leg.address().port();
        let number = self.sessions.len();
        self.sessions.push(Session {
            leg,
            wants_answer: remote.is_none(),
            deleted: false,
        });
        // Bare LF, and a name of one letter.
        let sdp = format!(
            "v=0\no=Z 0 0 IN IP4 127.0.0.1\ns=Z\nc=IN IP4 127.0.0.1\nt=0 0\n\
             m=audio {port} RTP/AVP {PCMA} {EVENTS}\na=rtpmap:{PCMA} PCMA/8000\n\
             a=rtpmap:{EVENTS} telephone-event/8000\na=fmtp:{EVENTS} 0-16\na=rtcp-mux\na=sendrecv\n"
        );
        let headers = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
            (header::LOCATION, format!("/rtpengine/conn/{number}")),
        ];
        (StatusCode::CREATED, headers, sdp).into_response()
    }
}

impl Leg {
    fn talk_to(&self, remote: SocketAddr) {
        match self {
            Leg::Peer(peer) => peer.talk_to(remote, PCMA),
            Leg::Echo(echo) => *echo.remote.lock().expect("the remote") = Some(remote),
        }
    }
}

/// Sends what comes from the gateway back to it.
struct Echo {
    address: SocketAddr,
    remote: Arc<Mutex<Option<SocketAddr>>>,
    over: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Echo {
    fn open(port: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("an RTP port");
        socket
            .set_read_timeout(Some(Duration::from_millis(50)))
            .expect("a timeout");
        let address = socket.local_addr().expect("the RTP address");
        let remote = Arc::new(Mutex::new(None));
        let over = Arc::new(AtomicBool::new(false));
        let (to, stop) = (Arc::clone(&remote), Arc::clone(&over));
        let thread = std::thread::spawn(move || {
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                let Ok((length, source)) = socket.recv_from(&mut buffer) else {
                    continue;
                };
                // RTCP (RFC 5761 section 4) is for this end, and no sound.
                let is_rtcp = (192..=223).contains(&buffer[1]);
                if !is_rtcp && *to.lock().expect("the remote") == Some(source) {
                    // An error is an ICMP answer: the call is over.
                    let _ = socket.send_to(&buffer[..length], source);
                }
            }
        });
        Self {
            address,
            remote,
            over,
            thread: Some(thread),
        }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
