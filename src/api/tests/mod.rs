//! The whole API over real sockets, with shards that do what a test says.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message as WsMessage;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{
    Api, ApiSettings, Facts, FirstBook, HookSettings, Listeners, RecordSettings, Surroundings,
};
use crate::book::{
    Answering, App, Book, CallLimits, Hook, HookContentType, HookPolicy, Number, Outgoing, SipAuth,
};
use crate::call::event::{Arrival, CallEvent, CallEventKind};
use crate::call::request::{
    Action, CallReply, CallRequest, CallSnapshot, CallState, Dial, Direction, ShardCounters,
};
use crate::config::{Config, Machine};
use crate::ids::{AppId, CallId, ShardId};
use crate::recording::Recordings;
use crate::shard::mailbox::{ApiRequest, Mailbox, Shards, Wake};
use crate::store::Store;

mod admin;
mod assets;
mod clips;
mod hooks;
mod on_its_way;
mod openapi;
mod outbox;
mod peers;
mod receiver;
mod recordings;
mod records;
mod rest;
mod sockets;
mod sound;
mod sound_access;
mod sync;
mod waiting;

use receiver::{HookReply, Receiver};

/// Longer than anything here takes; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);

const ROOT: &str = "root-secret";
const ACME: &str = "acme-secret";

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

type Script = Box<dyn FnMut(&CallRequest) -> Option<CallReply> + Send>;

struct Woken(tokio::sync::Notify);

impl Wake for Woken {
    fn wake(&self) {
        self.0.notify_one();
    }
}

/// A shard that replies by script, and else as if all went well.
fn shard(
    id: u8,
    script: Arc<Mutex<Script>>,
    seen: mpsc::UnboundedSender<CallRequest>,
) -> Mailbox<ApiRequest> {
    let woken = Arc::new(Woken(tokio::sync::Notify::new()));
    let (mailbox, receiver) = Mailbox::new(woken.clone());
    tokio::spawn(async move {
        let mut dialled = 0;
        loop {
            while let Some(ApiRequest { request, reply }) = receiver.take() {
                let scripted = script.lock().unwrap()(&request);
                let answer = scripted.unwrap_or_else(|| match &request {
                    CallRequest::Dial(_) => {
                        dialled += 1;
                        CallReply::Dialed {
                            call: call_id(id, 1000 + dialled),
                            sip_call_id: Some(Arc::from("x@y")),
                        }
                    }
                    CallRequest::Calls(_) => CallReply::Calls(Vec::new()),
                    CallRequest::Rooms(_) => CallReply::Rooms(Vec::new()),
                    CallRequest::Admission { .. } => {
                        CallReply::Admission(crate::call::request::Admission {
                            banned: false,
                            closed: None,
                            exceeded: None,
                        })
                    }
                    CallRequest::Counters => CallReply::Counters(Box::default()),
                    _ => CallReply::Done,
                });
                let _ = seen.send(request);
                let _ = reply.send(answer);
            }
            if receiver.may_sleep() {
                woken.0.notified().await;
            }
        }
    });
    mailbox
}

fn call_id(shard: u8, random: u128) -> CallId {
    CallId {
        shard: ShardId(shard),
        random,
    }
}

struct Gateway {
    address: SocketAddr,
    api: Api,
    events: mpsc::Sender<CallEvent>,
    seen: mpsc::UnboundedReceiver<CallRequest>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<std::io::Result<()>>,
    http: reqwest::Client,
    recordings: Recordings,
    data: tempfile::TempDir,
}

fn settings() -> ApiSettings {
    ApiSettings {
        hooks: HookSettings {
            timeout: Duration::from_secs(5),
            give_up: Duration::from_secs(60),
            first_delay: Duration::from_millis(5),
            longest_delay: Duration::from_millis(20),
            delivered_kept: Duration::from_secs(60),
            dead_letters_kept: Duration::from_secs(60),
            policy: HookPolicy {
                allow: Vec::new(),
                allow_private: true,
            },
        },
        media_server: None,
        records: RecordSettings {
            // Since the Unix epoch.
            keep: Duration::from_secs(100 * 365 * 86_400),
            max: 100_000,
        },
        assets: crate::config::Assets {
            max_file: 1024 * 1024,
            max_duration: Duration::from_secs(10),
            max_files_per_app: 5,
            max_bytes_per_app: 2 * 1024 * 1024,
            cache: 8 * 1024 * 1024,
            url_timeout: Duration::from_millis(500),
            url_fresh: Duration::from_secs(60),
        },
        failure_code: 480,
        token_ttl: Duration::from_secs(3600),
        ws_grace: Duration::from_millis(50),
        answer_timeout: Duration::from_secs(180),
        srtp: crate::keying::Srtp::OFF,
        ws_ping: Duration::from_millis(50),
        ws_silence: Duration::from_millis(500),
        ipv4: true,
        ipv6: false,
    }
}

/// What a gateway without a file would be started with.
fn config(data_dir: &std::path::Path) -> Config {
    let machine = Machine {
        cores: vec![0, 1],
        route_v4: None,
        route_v6: None,
    };
    let data_dir = data_dir.display().to_string();
    let env = |name: &str| (name == "RINGWIRE_DATA_DIR").then(|| data_dir.clone());
    Config::load_on(&machine, None, env).unwrap()
}

impl Gateway {
    async fn start(numbers: Vec<Number>) -> Self {
        Gateway::with(settings(), numbers, |_| None).await
    }

    async fn with(
        settings: ApiSettings,
        numbers: Vec<Number>,
        script: impl FnMut(&CallRequest) -> Option<CallReply> + Send + 'static,
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        Gateway::in_directory(data, settings, numbers, script).await
    }

    /// With what an earlier one has left in this directory.
    async fn in_directory(
        data: tempfile::TempDir,
        settings: ApiSettings,
        numbers: Vec<Number>,
        script: impl FnMut(&CallRequest) -> Option<CallReply> + Send + 'static,
    ) -> Self {
        let config = config(data.path());
        Gateway::configured(data, config, settings, numbers, script).await
    }

    /// The same with this configuration.
    async fn configured(
        data: tempfile::TempDir,
        config: Config,
        settings: ApiSettings,
        numbers: Vec<Number>,
        script: impl FnMut(&CallRequest) -> Option<CallReply> + Send + 'static,
    ) -> Self {
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(script)));
        let (sender, seen) = mpsc::unbounded_channel();
        let shards = Shards::new(vec![
            shard(0, script.clone(), sender.clone()),
            shard(1, script, sender),
        ]);
        let app = |id: &str, secret: &str| App {
            id: AppId::new(id),
            secret: secret.to_string(),
            limits: CallLimits::default(),
        };
        let book = Book::new([app("root", ROOT), app("acme", ACME)], numbers).unwrap();
        // The tasks of an earlier one may still be on their way out.
        let store = soon("the store", async {
            loop {
                match Store::open(data.path()) {
                    Ok(store) => return store,
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        })
        .await;
        // What an earlier one left is ended, on a thread that may block.
        let recordings = tokio::task::spawn_blocking({
            let (settings, data) = (config.recording.clone(), data.path().to_path_buf());
            let store = store.clone();
            move || Recordings::open(settings, &data, store)
        });
        let recordings = recordings.await.unwrap().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let surroundings = Surroundings {
            config,
            facts: Facts {
                started: std::time::Instant::now(),
                http: address,
                admin: None,
                sip: Vec::new(),
                backend: "none",
            },
            root: app("root", ROOT),
            log_level: Box::new(|_| {}),
        };
        let first = FirstBook::open(&surroundings.config, &book, &store).await;
        let first = first.unwrap();
        let api = Api::new(
            settings,
            shards,
            store,
            recordings.clone(),
            first,
            ROOT,
            surroundings,
        )
        .unwrap();
        let listener = Listeners {
            api: listener,
            admin: None,
        };
        let (events, events_taken) = mpsc::channel(1024);
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn({
            let api = api.clone();
            async move {
                let stopped = async {
                    let _ = stopped.await;
                };
                api.run(listener, events_taken, stopped).await
            }
        });
        Gateway {
            address,
            api,
            events,
            seen,
            stop,
            task,
            recordings,
            // Reading the root certificates takes a second without optimisation.
            http: reqwest::Client::builder()
                .no_proxy()
                .tls_certs_only([])
                .build()
                .unwrap(),
            data,
        }
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let mut request = self
            .http
            .request(method, format!("http://{}{path}", self.address));
        if !token.is_empty() {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let response = soon("an answer", request.send()).await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    async fn get(&self, path: &str, token: &str) -> (u16, Value) {
        self.request(Method::GET, path, token, None).await
    }

    async fn post(&self, path: &str, token: &str, body: Value) -> (u16, Value) {
        self.request(Method::POST, path, token, Some(body)).await
    }

    async fn delete(&self, path: &str, token: &str) -> (u16, Value) {
        self.request(Method::DELETE, path, token, None).await
    }

    /// What a shard tells.
    async fn event(&self, call: CallId, app: &str, kind: CallEventKind) {
        let event = CallEvent {
            call,
            app: AppId::new(app),
            timestamp_ms: 1_700_000_000_000,
            kind,
        };
        self.events.send(event).await.unwrap();
    }

    /// Waits until an event sent before this was taken, by an event of another
    /// call that can be asked for only then.
    async fn settled(&self) {
        let marker = call_id(0, rand::random());
        let ended = CallEventKind::Ended(snapshot(marker, "root"));
        self.event(marker, "root", ended).await;
        let path = format!("/call/{marker}");
        soon("the marker", async {
            while self.get(&path, ROOT).await.0 != 200 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn next_action(&mut self) -> (CallId, Action) {
        soon("an action", async {
            loop {
                match self.seen.recv().await {
                    Some(CallRequest::Act { call, action }) => return (call, action),
                    Some(_) => {}
                    None => panic!("the shards are gone"),
                }
            }
        })
        .await
    }

    async fn next_dial(&mut self) -> Dial {
        soon("a dial", async {
            loop {
                match self.seen.recv().await {
                    Some(CallRequest::Dial(dial)) => return *dial,
                    Some(_) => {}
                    None => panic!("the shards are gone"),
                }
            }
        })
        .await
    }

    /// Dials and gives call id, token and WebSocket path.
    async fn dial(&self, more: Value) -> (CallId, String, String) {
        let mut body = dial_body();
        for (key, value) in more.as_object().unwrap() {
            body[key] = value.clone();
        }
        let (status, answer) = self.post("/call/outgoing", ACME, body).await;
        assert_eq!(status, 200, "{answer}");
        let text = |name: &str| answer["data"][name].as_str().unwrap().to_string();
        (
            text("call_id").parse().unwrap(),
            text("call_token"),
            text("call_ws"),
        )
    }

    async fn socket(&self, path: &str) -> Socket {
        let url = format!("ws://{}{path}", self.address);
        let connected = tokio_tungstenite::connect_async(url);
        Socket(soon("the WebSocket", connected).await.unwrap().0)
    }

    /// The status with which a WebSocket is refused.
    async fn refused_socket(&self, path: &str) -> u16 {
        let url = format!("ws://{}{path}", self.address);
        let connected = tokio_tungstenite::connect_async(url);
        match soon("the refusal", connected).await {
            Err(tokio_tungstenite::tungstenite::Error::Http(response)) => {
                let body = response.body().clone().unwrap_or_default();
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(body["status"], json!(false));
                response.status().as_u16()
            }
            other => panic!("not refused: {other:?}"),
        }
    }

    /// Ends it; its data directory stays for another one.
    async fn end(self) -> tempfile::TempDir {
        let _ = self.stop.send(());
        soon("the end", self.task).await.unwrap().unwrap();
        let recordings = self.recordings;
        let stopped = tokio::task::spawn_blocking(move || recordings.stop());
        stopped.await.unwrap();
        self.data
    }

    /// A metric's line on the page.
    async fn metric(&self, start: &str) -> Option<String> {
        let url = format!("http://{}/metrics", self.address);
        let page = self.http.get(url).send().await.unwrap();
        let page = page.text().await.unwrap();
        let line = page.lines().find(|line| line.starts_with(start));
        line.map(str::to_string)
    }
}

fn dial_body() -> Value {
    json!({
        "sip_server": "127.0.0.1:5070",
        "from_number": "100",
        "to_number": "200",
        "streaming": { "room": "lobby", "peer": "phone" },
    })
}

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// The next frame that is no ping or pong.
    async fn next(&mut self) -> Option<WsMessage> {
        soon("a frame", async {
            loop {
                match self.0.next().await {
                    Some(Ok(WsMessage::Ping(_) | WsMessage::Pong(_))) => {}
                    Some(Ok(frame)) => return Some(frame),
                    Some(Err(_)) | None => return None,
                }
            }
        })
        .await
    }

    async fn json(&mut self) -> Value {
        match self.next().await {
            Some(WsMessage::Text(text)) => serde_json::from_str(&text).unwrap(),
            other => panic!("no text frame: {other:?}"),
        }
    }

    async fn binary<M: prost::Message + Default>(&mut self) -> M {
        match self.next().await {
            Some(WsMessage::Binary(bytes)) => M::decode(bytes.as_ref()).unwrap(),
            other => panic!("no binary frame: {other:?}"),
        }
    }

    async fn close_code(&mut self) -> u16 {
        match self.next().await {
            Some(WsMessage::Close(Some(frame))) => frame.code.into(),
            other => panic!("not closed: {other:?}"),
        }
    }

    async fn send(&mut self, frame: WsMessage) {
        self.0.send(frame).await.unwrap();
    }

    async fn send_json(&mut self, value: Value) {
        self.send(WsMessage::text(value.to_string())).await;
    }
}

fn number(text: &str, app: &str) -> Number {
    Number {
        number: text.to_string(),
        app: AppId::new(app),
        subnets: Vec::new(),
        auth: None,
        hook: None,
        client_id: None,
        answering: Answering::Ask,
        outgoing: Outgoing::default(),
        srtp: None,
        srtp_keying: None,
        dtmf: None,
        limits: CallLimits::default(),
        ringback: None,
        hold_music: None,
    }
}

fn arrival(number: Number) -> CallEventKind {
    CallEventKind::Arrived(Box::new(Arrival {
        from: Arc::from("100"),
        to: Arc::from(number.number.as_str()),
        source: "192.0.2.1:5060".parse().unwrap(),
        sip_call_id: Arc::from("x@y"),
        number: Arc::new(number),
        answered_without_asking: false,
        stream: None,
    }))
}

fn snapshot(call: CallId, app: &str) -> Box<CallSnapshot> {
    Box::new(CallSnapshot {
        call,
        app: AppId::new(app),
        direction: Direction::Outgoing,
        state: CallState::Ended,
        from: Arc::from("100"),
        to: Arc::from("200"),
        sip_call_id: Arc::from("x@y"),
        peer_address: "127.0.0.1:5070".parse().unwrap(),
        stream: None,
        created_ms: 1,
        ringing_ms: None,
        early_ms: None,
        answered_ms: None,
        ended_ms: Some(2),
        sip_code: Some(486),
        end_reason: Some("rejected"),
        held: false,
        security: "none",
        srtp_suite: None,
        media: None,
    })
}

/// What a shard reports as the kinds of events, for short.
fn ended(call: CallId) -> CallEventKind {
    CallEventKind::Ended(snapshot(call, "acme"))
}

fn auth(username: &str, password: &str) -> SipAuth {
    SipAuth {
        username: username.to_string(),
        password: password.to_string(),
    }
}
