//! One shard's calls and rooms, a scripted SIP peer, and an application.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::book::{
    Answering, Book, CallLimits, CallerAuth, DigestAlgorithm, DtmfPolicy, Number, Outgoing, SipAuth,
};
use crate::call::event::{CallEvent, CallEventKind, ServerRequest};
use crate::call::request::{Action, CallReply, CallRequest, Dial, Stream};
use crate::call::room::{LegAddress, OpenPorts, Ports, PortsError, RoomSettings, Rooms};
use crate::call::settings::{LimitSettings, Limits, ScannerSettings, Scanners};
use crate::call::{CallSettings, Calls, Output, RoomBackend};
use crate::clock::WallClock;
use crate::ids::{AppId, CallId, ListenerId, MediaPort, RequestId, RoomKey, ShardId};
use crate::keying::SrtpPolicy;
use crate::media::{Table, TableSettings};
use crate::sip::agent::{Agent, AgentSettings, Listener};
use crate::sip::header::HeaderName;
use crate::sip::message::{Message, Request, Response};
use crate::sip::parse::parse;
use crate::sip::transaction::TimerSettings;
use crate::trace::TraceSettings;

pub const GATEWAY: &str = "127.0.0.1:5060";
pub const PEER: &str = "127.0.0.1:5070";

/// Port pairs, pretended.
#[derive(Default)]
pub struct FakePorts {
    pub open: u32,
    pub limit: u32,
    next: u32,
    handed_over: Vec<OpenPorts>,
}

impl Ports for FakePorts {
    fn open(&mut self, _now: Instant, _ipv6: bool) -> Result<OpenPorts, PortsError> {
        if self.open >= self.limit {
            return Err(PortsError::Exhausted);
        }
        self.open += 1;
        self.next += 2;
        Ok(OpenPorts {
            rtp: MediaPort(self.next),
            rtcp: MediaPort(self.next + 1),
            local: LegAddress {
                address: Ipv4Addr::LOCALHOST.into(),
                rtp_port: (30_000 + self.next) as u16,
                rtcp_port: (30_001 + self.next) as u16,
            },
        })
    }

    fn close(&mut self, _now: Instant, _ports: OpenPorts) {
        self.open -= 1;
    }

    fn hand_over(&mut self, ports: OpenPorts) {
        self.handed_over.push(ports);
    }

    fn take_over(&mut self, _now: Instant, local: LegAddress) -> Result<OpenPorts, PortsError> {
        let known = self.handed_over.iter().position(|open| open.local == local);
        let known = known.ok_or(PortsError::Exhausted)?;
        Ok(self.handed_over.remove(known))
    }
}

/// Everything of a shard that is pure.
pub struct House {
    pub now: Instant,
    pub calls: Calls,
    pub rooms: Rooms,
    pub ports: FakePorts,
    pub events: Vec<CallEvent>,
    pub replies: HashMap<RequestId, CallReply>,
    /// What the gateway has sent and the test has not looked at.
    pub sent: Vec<Message>,
    /// What the callee says of the methods it takes; empty: nothing.
    pub allow: &'static str,
    next_request: u64,
    next_branch: u32,
}

impl House {
    pub fn new() -> Self {
        Self::with_limit(64)
    }

    pub fn with_limit(max_calls: usize) -> Self {
        Self::with(max_calls, RoomBackend::Local)
    }

    /// Whose rooms are on a media server.
    pub fn with_media_server() -> Self {
        let patience = Duration::from_secs(9);
        let rooms = RoomBackend::External {
            ipv6: false,
            patience,
        };
        Self::with(64, rooms)
    }

    fn with(max_calls: usize, rooms: RoomBackend) -> Self {
        let now = Instant::now();
        let gateway: SocketAddr = GATEWAY.parse().unwrap();
        let clock = WallClock::new(now, 1_700_000_000_000);
        let agent = Agent::new(AgentSettings {
            shard: ShardId(0),
            listeners: vec![Listener {
                bound: gateway,
                advertised: gateway,
            }],
            user_agent: "ringwire".to_string(),
            timers: TimerSettings::default(),
            max_sessions: 256,
            max_transactions: 1024,
            seed: [1; 32],
        });
        let settings = CallSettings {
            shard: ShardId(0),
            room_shard: |_, _| ShardId(0),
            shards: 1,
            clock,
            answer_timeout: Duration::from_secs(180),
            realm: "ringwire".to_string(),
            listeners: vec![gateway],
            rooms,
            srtp: crate::keying::Srtp::WHERE_OFFERED,
            dtmf: DtmfPolicy::Auto,
            fingerprint: None,
            trace: TraceSettings::default(),
            limits: Limits::new(LimitSettings {
                all: CallLimits {
                    max_calls: Some(max_calls as u32),
                    ..CallLimits::default()
                },
                ..LimitSettings::default()
            }),
            scanners: Scanners::new(ScannerSettings::default()),
            seed: [2; 32],
        };
        let table = Table::new(
            TableSettings {
                inactivity: Duration::from_secs(30),
                ..TableSettings::default()
            },
            [3; 32],
        );
        House {
            now,
            calls: Calls::new(settings, agent, Arc::new(book())),
            rooms: Rooms::new(
                table,
                clock,
                RoomSettings {
                    capacity: 2,
                    ..RoomSettings::default()
                },
            ),
            ports: FakePorts {
                limit: 16,
                ..FakePorts::default()
            },
            events: Vec::new(),
            replies: HashMap::new(),
            sent: Vec::new(),
            allow: "",
            next_request: 0,
            next_branch: 0,
        }
    }

    /// The peer sends this.
    pub fn receive(&mut self, text: &str) {
        let peer = PEER.parse().unwrap();
        self.calls
            .handle_datagram(self.now, ListenerId(0), peer, text.as_bytes());
        self.settle();
    }

    /// Time goes by, timer by timer.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.calls.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.calls.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
        self.rooms.sweep(self.now);
        self.settle();
    }

    /// The application asks; its reply, if it is there at once.
    pub fn ask(&mut self, request: CallRequest) -> Option<CallReply> {
        self.next_request += 1;
        let id = RequestId(self.next_request);
        self.calls.handle_request(self.now, id, request);
        self.settle();
        self.replies.remove(&id)
    }

    /// Several requests within one turn; their replies.
    pub fn ask_all<const N: usize>(
        &mut self,
        requests: [CallRequest; N],
    ) -> [Option<CallReply>; N] {
        let ids = requests.map(|request| {
            self.next_request += 1;
            let id = RequestId(self.next_request);
            self.calls.handle_request(self.now, id, request);
            id
        });
        self.settle();
        ids.map(|id| self.replies.remove(&id))
    }

    pub fn act(&mut self, call: CallId, action: Action) -> Option<CallReply> {
        self.ask(CallRequest::Act { call, action })
    }

    pub fn settle(&mut self) {
        loop {
            let mut idle = true;
            while let Some(output) = self.calls.poll_output() {
                idle = false;
                match output {
                    Output::Event(event) => self.events.push(event),
                    Output::Reply(id, reply) => {
                        self.replies.insert(id, reply);
                    }
                    Output::Room(_, request) => {
                        self.rooms.handle(self.now, request, &mut self.ports);
                    }
                }
            }
            while let Some(notice) = self.rooms.poll_notice() {
                idle = false;
                self.calls.handle_room(self.now, notice);
            }
            if idle {
                break;
            }
        }
        while let Some(transmit) = self.calls.poll_transmit(self.now) {
            self.sent
                .push(parse(&transmit.payload).expect("we send good SIP"));
        }
    }

    /// The one response with this code among what was sent.
    pub fn sent_response(&mut self, code: u16) -> Response {
        let sent = std::mem::take(&mut self.sent);
        let codes: Vec<String> = sent.iter().map(name).collect();
        sent.into_iter()
            .find_map(|message| match message {
                Message::Response(response) if response.status.code() == code => Some(response),
                _ => None,
            })
            .unwrap_or_else(|| panic!("no {code} among {codes:?}"))
    }

    /// The one request of this method among what was sent.
    pub fn sent_request(&mut self, method: &str) -> Request {
        let sent = std::mem::take(&mut self.sent);
        let names: Vec<String> = sent.iter().map(name).collect();
        sent.into_iter()
            .find_map(|message| match message {
                Message::Request(request) if request.method.as_str() == method => Some(request),
                _ => None,
            })
            .unwrap_or_else(|| panic!("no {method} among {names:?}"))
    }

    /// A caller's INVITE to a number, with these payload types.
    pub fn invite(&mut self, number: &str, dialog: &str, formats: Option<&str>) {
        self.next_branch += 1;
        let body = formats.map(sdp).unwrap_or_default();
        let content = if body.is_empty() {
            String::new()
        } else {
            "Content-Type: application/sdp\r\n".to_string()
        };
        let text = format!(
            "INVITE sip:{number}@{GATEWAY} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {PEER};branch=z9hG4bKinvite{dialog}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:caller@{PEER}>;tag=from{dialog}\r\n\
             To: <sip:{number}@{GATEWAY}>\r\n\
             Call-ID: {dialog}\r\n\
             CSeq: 1 INVITE\r\n\
             Contact: <sip:caller@{PEER}>\r\n\
             {content}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.receive(&text);
    }

    /// A request of the caller in the dialog that `response` made, or the
    /// CANCEL of its INVITE.
    pub fn in_dialog(&mut self, method: &str, cseq: u32, response: &Response, body: Option<&str>) {
        self.next_branch += 1;
        let branch = match method {
            "CANCEL" => format!("z9hG4bKinvite{}", response.headers.call_id().unwrap()),
            _ => format!("z9hG4bKrequest{}", self.next_branch),
        };
        let to = match method {
            "CANCEL" => response.headers.to().unwrap().without_tag().to_string(),
            _ => response.headers.get(&HeaderName::To).unwrap().to_string(),
        };
        let body = body.map(sdp).unwrap_or_default();
        let content = if body.is_empty() {
            String::new()
        } else {
            "Content-Type: application/sdp\r\n".to_string()
        };
        let target = response
            .headers
            .contacts()
            .ok()
            .and_then(|contacts| contacts.first().map(|contact| contact.uri.to_string()))
            .unwrap_or_else(|| format!("sip:number@{GATEWAY}"));
        let text = format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {PEER};branch={branch}\r\n\
             Max-Forwards: 70\r\n\
             From: {from}\r\n\
             To: {to}\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:caller@{PEER}>\r\n\
             {content}Content-Length: {length}\r\n\r\n{body}",
            from = response.headers.get(&HeaderName::From).unwrap(),
            call_id = response.headers.call_id().unwrap(),
            length = body.len(),
        );
        self.receive(&text);
    }

    /// The callee's response to a request of ours.
    pub fn respond(&mut self, request: &Request, code: u16, formats: Option<&str>) {
        let body = formats.map(sdp).unwrap_or_default();
        let content = if body.is_empty() {
            String::new()
        } else {
            "Content-Type: application/sdp\r\n".to_string()
        };
        let allow = match self.allow {
            "" => String::new(),
            methods => format!("Allow: {methods}\r\n"),
        };
        let get = |name: &HeaderName| request.headers.get(name).unwrap().to_string();
        let to = match request.headers.to_tag() {
            Some(_) => get(&HeaderName::To),
            None => format!("{};tag=callee", get(&HeaderName::To)),
        };
        let text = format!(
            "SIP/2.0 {code} Whatever\r\n\
             Via: {}\r\nFrom: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             Contact: <sip:callee@{PEER}>\r\n\
             {allow}{content}Content-Length: {}\r\n\r\n{body}",
            get(&HeaderName::Via),
            get(&HeaderName::From),
            get(&HeaderName::CallId),
            get(&HeaderName::CSeq),
            body.len()
        );
        self.receive(&text);
    }

    /// Dials into a room; the reply.
    pub fn dial(&mut self, room: &str, peer: &str) -> CallReply {
        self.ask(CallRequest::Dial(Box::new(dial(room, peer))))
            .expect("a dial is answered at once")
    }

    /// A call into a room that is answered, with these payload types.
    pub fn dialed(&mut self, room: &str, peer: &str, formats: &str) -> CallId {
        let CallReply::Dialed { call, .. } = self.dial(room, peer) else {
            panic!("not dialled");
        };
        let invite = self.sent_request("INVITE");
        self.respond(&invite, 200, Some(formats));
        self.sent_request("ACK");
        call
    }

    /// The words for what happened, oldest first, and forgets them.
    pub fn told(&mut self) -> Vec<String> {
        self.events
            .drain(..)
            .map(|event| word(&event.kind))
            .collect()
    }

    /// The call that was announced last.
    pub fn announced(&self) -> CallId {
        self.events
            .iter()
            .rev()
            .find(|event| matches!(event.kind, CallEventKind::Arrived(_)))
            .map(|event| event.call)
            .expect("a call was announced")
    }

    /// Nothing is left of any call.
    pub fn assert_empty(&mut self) {
        assert_eq!(self.calls.len(), 0, "calls");
        assert_eq!(self.rooms.legs(), 0, "legs");
        assert!(self.rooms.is_empty(), "rooms");
        assert_eq!(self.ports.open, 0, "ports");
    }
}

pub fn stream(room: &str, peer: &str) -> Stream {
    Stream {
        room: RoomKey {
            app: AppId::new(AppId::ROOT),
            name: Arc::from(room),
        },
        peer: Arc::from(peer),
        record: false,
    }
}

pub fn dial(room: &str, peer: &str) -> Dial {
    Dial {
        app: AppId::new(AppId::ROOT),
        destination: PEER.parse().unwrap(),
        sip_server: PEER.to_string(),
        sip_proxy: None,
        sip_auth: None,
        from_number: "100".to_string(),
        to_number: "200".to_string(),
        hook: None,
        stream: stream(room, peer),
        answer_timeout: Duration::from_secs(60),
        srtp: crate::keying::Srtp::OFF,
        dtmf: None,
    }
}

fn book() -> Book {
    let number = |number: &str, answering| Number {
        number: number.to_string(),
        app: AppId::new(AppId::ROOT),
        subnets: vec!["127.0.0.0/8".parse().unwrap()],
        auth: None,
        hook: None,
        client_id: None,
        answering,
        outgoing: Outgoing::default(),
        srtp: None,
        srtp_keying: None,
        dtmf: None,
        limits: CallLimits::default(),
        ringback: None,
        hold_music: None,
    };
    let room = |room: &str| Answering::Room {
        room: room.to_string(),
        peer: "{from}".to_string(),
    };
    let mut foreign = number("foreign", Answering::Echo);
    foreign.subnets = vec!["10.0.0.0/8".parse().unwrap()];
    let mut locked = number("locked", Answering::Echo);
    locked.auth = Some(CallerAuth {
        credentials: SipAuth {
            username: "alice".to_string(),
            password: "wonder".to_string(),
        },
        algorithms: vec![DigestAlgorithm::Md5],
    });
    let mut guarded = number("guarded", Answering::Ask);
    guarded.srtp = Some(SrtpPolicy::Required);
    let mut open = number("open", Answering::Ask);
    open.srtp = Some(SrtpPolicy::Off);
    let mut secret = number("secret", Answering::Echo);
    secret.srtp = Some(SrtpPolicy::Required);
    Book::new(
        [],
        [
            secret,
            guarded,
            open,
            number("ask", Answering::Ask),
            number("echo", Answering::Echo),
            number("own", room("own-{call_id}")),
            number("lobby", room("lobby")),
            foreign,
            locked,
        ],
    )
    .unwrap()
}

/// A description of a peer with these payload types, and lines that follow;
/// 101 and 110 are telephone events by the clocks of 8000 and 48000, others past
/// 95 are opus. `SAVP ` in front makes the transport SRTP.
pub fn sdp(formats: &str) -> String {
    let (profile, formats) = match formats.strip_prefix("SAVP ") {
        Some(formats) => ("RTP/SAVP", formats),
        None => ("RTP/AVP", formats),
    };
    let direction = formats.split_once('/').map_or("sendrecv", |(_, d)| d);
    let formats = formats.split('/').next().unwrap_or_default();
    let maps: String = formats
        .split(' ')
        .filter_map(|format| format.parse::<u8>().ok())
        .map(|format| match format {
            101 => "a=rtpmap:101 telephone-event/8000\r\n".to_string(),
            110 => "a=rtpmap:110 telephone-event/48000\r\n".to_string(),
            96.. => format!("a=rtpmap:{format} opus/48000/2\r\n"),
            _ => String::new(),
        })
        .collect();
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
         m=audio 40000 {profile} {formats}\r\n{maps}a={direction}\r\n"
    )
}

fn name(message: &Message) -> String {
    match message {
        Message::Request(request) => request.method.as_str().to_string(),
        Message::Response(response) => response.status.code().to_string(),
    }
}

fn word(kind: &CallEventKind) -> String {
    match kind {
        CallEventKind::Arrived(_) => "arrived".to_string(),
        CallEventKind::Accepted => "accepted".to_string(),
        CallEventKind::Rejected(code) => format!("rejected {code}"),
        CallEventKind::CallerCancelled => "caller cancelled".to_string(),
        CallEventKind::PeerHungUp => "bye".to_string(),
        CallEventKind::Provisional(code) => format!("provisional {code}"),
        CallEventKind::Early(code) => format!("early {code}"),
        CallEventKind::Answered(code) => format!("answered {code}"),
        CallEventKind::Failed(code) => format!("failed {code}"),
        CallEventKind::Cancelled => "cancelled".to_string(),
        CallEventKind::Terminated => "terminated".to_string(),
        CallEventKind::Error(_) => "error".to_string(),
        CallEventKind::OtherJoined(peer) => format!("{peer} joined"),
        CallEventKind::OtherLeft { peer, reason } => format!("{peer} left: {reason}"),
        CallEventKind::Key(key) => format!("key {}", key.digit),
        CallEventKind::Alarm(alarm) => match alarm.begins() {
            true => format!("{} begins", alarm.label()),
            false => format!("{} over", alarm.label()),
        },
        CallEventKind::Played { end, .. } => format!("played: {}", end.label()),
        CallEventKind::Web(event) => format!("{event:?}"),
        CallEventKind::MediaServer(request) => match request {
            ServerRequest::Offer(_) => "media server: offer".to_string(),
            ServerRequest::Answer { .. } => "media server: answer".to_string(),
            ServerRequest::Complete(_) => "media server: complete".to_string(),
        },
        CallEventKind::Ended(summary) => {
            format!("ended {}", summary.end_reason.unwrap_or("for no reason"))
        }
    }
}
