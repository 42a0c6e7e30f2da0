//! An integrator's end of the hooks: records what is posted, in order, checks
//! every signature, and answers as the test says.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::gateway::ROOT_SECRET;
use super::{RUNTIME, eventually};

/// One POST as it came.
#[derive(Debug, Clone)]
pub struct HookPost {
    /// `X-Hook-Id`.
    pub id: String,
    pub content_type: String,
    pub body: Bytes,
    /// Whether `X-Hook-Signature` is right for the secret.
    pub signed: bool,
}

impl HookPost {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The event's short name: see [`event_name`].
    pub fn event(&self) -> String {
        event_name(&self.json())
    }

    pub fn call_id(&self) -> String {
        self.json()["call_id"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }
}

/// What the hook answers to one POST.
#[derive(Debug, Clone)]
pub struct HookReply {
    pub status: u16,
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// How long the hook thinks before it answers.
    pub delay: Duration,
}

impl HookReply {
    /// 204: no opinion, which means continue.
    pub fn nothing() -> Self {
        Self {
            status: 204,
            content_type: "application/json",
            body: Vec::new(),
            delay: Duration::ZERO,
        }
    }

    pub fn json(body: Value) -> Self {
        Self {
            status: 200,
            body: body.to_string().into_bytes(),
            ..Self::nothing()
        }
    }

    pub fn protobuf(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            content_type: "application/protobuf",
            body,
            ..Self::nothing()
        }
    }

    pub fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::nothing()
        }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

type Script = dyn FnMut(&HookPost) -> HookReply + Send;

/// An HTTP server that is somebody's hook.
pub struct HookReceiver {
    address: SocketAddr,
    posts: Arc<Mutex<Vec<HookPost>>>,
    server: tokio::task::JoinHandle<()>,
}

impl HookReceiver {
    /// A hook that answers 204 to everything.
    pub fn silent() -> Self {
        Self::scripted(|_| HookReply::nothing())
    }

    /// A hook that answers `arrived` so, and 204 to everything else.
    pub fn answering(answer: Value) -> Self {
        Self::scripted(move |post| match post.event().as_str() {
            "notify.arrived" => HookReply::json(answer.clone()),
            _ => HookReply::nothing(),
        })
    }

    /// A hook of the root app that answers each POST as `script` says.
    pub fn scripted(script: impl FnMut(&HookPost) -> HookReply + Send + 'static) -> Self {
        Self::scripted_with_secret(ROOT_SECRET, script)
    }

    /// The same for an app with its own secret.
    pub fn scripted_with_secret(
        secret: &str,
        script: impl FnMut(&HookPost) -> HookReply + Send + 'static,
    ) -> Self {
        let posts = Arc::new(Mutex::new(Vec::new()));
        let script: Arc<Mutex<Box<Script>>> = Arc::new(Mutex::new(Box::new(script)));
        let secret = secret.to_owned();
        let record = Arc::clone(&posts);
        let handler = move |headers: HeaderMap, body: Bytes| {
            let post = read_post(&secret, &headers, body);
            record.lock().expect("the posts").push(post.clone());
            let reply = script.lock().expect("the script")(&post);
            answer(reply)
        };
        let listener = RUNTIME
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port for the hook");
        let address = listener.local_addr().expect("the hook's address");
        let server = RUNTIME.spawn(async move {
            let app = Router::new().fallback(handler);
            axum::serve(listener, app).await.expect("the hook serves");
        });
        Self {
            address,
            posts,
            server,
        }
    }

    /// What goes into `hook`.
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Everything posted so far.
    pub fn posts(&self) -> Vec<HookPost> {
        self.posts.lock().expect("the posts").clone()
    }

    /// The names of the events so far, a retry of the same event once.
    pub fn events(&self) -> Vec<String> {
        let mut seen = Vec::new();
        let mut names = Vec::new();
        for post in self.posts() {
            if !seen.contains(&post.id) {
                seen.push(post.id.clone());
                names.push(post.event());
            }
        }
        names
    }

    /// Waits for an event of this name and returns its first post.
    #[track_caller]
    pub fn wait_for(&self, name: &str) -> HookPost {
        let found = super::within(super::PATIENCE, || {
            self.posts().into_iter().find(|post| post.event() == name)
        });
        found.unwrap_or_else(|| panic!("no hook event {name}; there were {:?}", self.events()))
    }

    /// Waits until `ended` came, then returns all events.
    #[track_caller]
    pub fn events_to_the_end(&self) -> Vec<String> {
        let ended = |name: &String| name == "incoming.ended" || name == "outgoing.ended";
        super::within(super::PATIENCE, || {
            self.events().iter().any(ended).then_some(())
        })
        .unwrap_or_else(|| panic!("no ended event; there were {:?}", self.events()));
        self.events()
    }

    /// Panics unless there were posts and every one was signed.
    #[track_caller]
    pub fn assert_all_signed(&self) {
        let posts = self.posts();
        assert!(!posts.is_empty(), "nothing was posted");
        for post in posts {
            assert!(
                post.signed,
                "the signature of {} is wrong or missing",
                post.event()
            );
            assert!(!post.id.is_empty(), "{} has no X-Hook-Id", post.event());
        }
    }

    /// Waits until `count` posts came.
    #[track_caller]
    pub fn wait_for_posts(&self, count: usize) {
        eventually(&format!("{count} posts to the hook"), || {
            (self.posts().len() >= count).then_some(())
        });
    }
}

impl Drop for HookReceiver {
    fn drop(&mut self) {
        self.server.abort();
        if std::thread::panicking() {
            eprintln!("--- events posted to {}: {:?}", self.url(), self.events());
        }
    }
}

async fn answer(reply: HookReply) -> Response {
    // Part of the script: how long this hook takes, not a wait for something.
    tokio::time::sleep(reply.delay).await;
    let status = StatusCode::from_u16(reply.status).expect("an HTTP status");
    (
        status,
        [(header::CONTENT_TYPE, reply.content_type)],
        reply.body,
    )
        .into_response()
}

fn read_post(secret: &str, headers: &HeaderMap, body: Bytes) -> HookPost {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let timestamp = text("x-hook-timestamp");
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("a key of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b".");
    mac.update(&body);
    let expected = format!("v1={}", hex::encode(mac.finalize().into_bytes()));
    HookPost {
        id: text("x-hook-id"),
        content_type: text("content-type"),
        signed: text("x-hook-signature") == expected,
        body,
    }
}

/// The short name of a message in proto3 JSON: the path of its oneof fields,
/// and the SIP code where there is one. `{"event":{"sip":{"early":{"code":183}}}}`
/// is `sip.early 183`; a hook body `{"call_id":…,"outgoing":{"ended":{}}}` is
/// `outgoing.ended`; a response's `{"response":{"req_id":7,"end":{}}}` is
/// `response.end`.
pub fn event_name(message: &Value) -> String {
    let mut path: Vec<&str> = Vec::new();
    let mut here = message;
    while let Some((name, value)) = oneof(here) {
        if !(path.is_empty() && name == "event") {
            path.push(name);
        }
        here = value;
    }
    match here["code"].as_u64() {
        Some(code) => format!("{} {code}", path.join(".")),
        None => path.join("."),
    }
}

/// The field of a message that is itself one.
fn oneof(message: &Value) -> Option<(&String, &Value)> {
    message
        .as_object()?
        .iter()
        .find(|(_, value)| value.is_object())
}
