//! Calls between agents, and peers that speak in raw messages.

use std::net::SocketAddr;
use std::time::Duration;

use ringwire::ids::{ListenerId, SessionId};
use ringwire::sip::agent::{Body, Credentials, Event, OutgoingInvite};
use ringwire::sip::name_addr::NameAddr;
use ringwire::sip::uri::Uri;

use crate::fake_network::World;

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn sdp(text: &str) -> Body {
    Body::sdp(format!("v=0\r\ns={text}\r\n"))
}

pub fn call_to(destination: SocketAddr) -> OutgoingInvite {
    let callee = Uri::of_address(Some("bob"), destination);
    OutgoingInvite {
        listener: ListenerId(0),
        destination,
        request_uri: callee.clone(),
        proxy: None,
        from: NameAddr::new("sip:alice@example.com".parse().unwrap()),
        to: NameAddr::new(callee),
        auth: None,
        body: sdp("offer"),
        ring_timeout: seconds(180),
    }
}

pub fn credentials(username: &str, password: &str) -> Credentials {
    Credentials {
        username: username.to_owned(),
        password: password.to_owned(),
    }
}

/// Agent 0 calls agent 1; nothing is answered yet but 100.
pub fn dial(world: &mut World) -> (SessionId, SessionId) {
    let call = call_to(World::address(1));
    let now = world.now;
    let caller = world.agent(0).invite(now, call).unwrap();
    world.run(millis(10));
    let callee = invited(&world.take(1));
    (caller, callee)
}

/// The same, answered and acknowledged.
pub fn connect(world: &mut World) -> (SessionId, SessionId) {
    let (caller, callee) = dial(world);
    let now = world.now;
    world.agent(1).accept(now, callee, sdp("answer")).unwrap();
    world.run(millis(10));
    assert_eq!(
        world.take(0),
        [Event::Answered {
            session: caller,
            fork: 0,
            code: 200,
            body: Some(sdp("answer")),
        }]
    );
    assert_eq!(
        world.take(1),
        [Event::Acknowledged {
            session: callee,
            body: None,
        }]
    );
    (caller, callee)
}

/// The session of the only event, which is an INVITE.
pub fn invited(events: &[Event]) -> SessionId {
    match events {
        [Event::Invite { session, .. }] => *session,
        other => panic!("not one INVITE: {other:?}"),
    }
}

/// After this long nothing may be left of any call.
pub fn assert_nothing_left(world: &mut World) {
    world.run(seconds(200));
    for (_, agent) in &mut world.agents {
        assert_eq!(agent.sessions(), 0);
        assert_eq!(agent.transactions(), 0);
        assert_eq!(agent.timers(), 0);
        assert_eq!(agent.next_timeout(), None);
    }
}

/// A peer that is not an agent.
pub struct Raw {
    pub address: SocketAddr,
    pub call_id: &'static str,
    pub from: String,
    pub to: String,
    pub agent: SocketAddr,
}

/// What an agent sent to a raw peer.
#[derive(Debug, Clone)]
pub struct Text(pub String);

impl Text {
    /// The first value of a header.
    pub fn header<'a>(&'a self, name: &'a str) -> &'a str {
        self.headers(name).next().unwrap_or_default()
    }

    pub fn headers<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.lines().filter_map(move |line| {
            let (found, value) = line.split_once(':')?;
            (found == name).then(|| value.trim())
        })
    }

    pub fn start(&self) -> &str {
        self.0.lines().next().unwrap_or_default()
    }

    pub fn code(&self) -> u16 {
        let words = self.start().strip_prefix("SIP/2.0 ").unwrap_or("0");
        words[..3.min(words.len())].parse().unwrap_or(0)
    }

    pub fn tag(&self, name: &str) -> String {
        let (_, tag) = self.header(name).split_once(";tag=").unwrap_or_default();
        tag.to_owned()
    }
}

impl Raw {
    /// A peer at 198.51.100.7:5070 that talks with agent 0.
    pub fn new() -> Self {
        Raw {
            address: SocketAddr::from(([198, 51, 100, 7], 5070)),
            call_id: "raw-call",
            from: "<sip:raw@198.51.100.7>;tag=raw".to_owned(),
            to: "<sip:bob@192.0.2.1>".to_owned(),
            agent: World::address(0),
        }
    }

    /// A request of this peer to agent 0.
    pub fn request(&self, method: &str, cseq: u32, branch: &str, extra: &str) -> String {
        let body = match method {
            "INVITE" if !extra.contains("Content-Type") => "v=0\r\ns=raw\r\n",
            _ => "",
        };
        self.request_with(method, cseq, branch, extra, body)
    }

    pub fn request_with(
        &self,
        method: &str,
        cseq: u32,
        branch: &str,
        extra: &str,
        body: &str,
    ) -> String {
        let Raw {
            address,
            call_id,
            from,
            to,
            agent,
        } = self;
        let content_type = match body {
            "" => "",
            _ if extra.contains("Content-Type") => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        let contact = match extra.contains("Contact") {
            true => String::new(),
            false => format!("Contact: <sip:raw@{address}>\r\n"),
        };
        format!(
            "{method} sip:bob@{agent} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK{branch}\r\n\
             Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n{contact}{extra}{content_type}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    pub fn send(&self, world: &mut World, text: &str) {
        world.inject(self.address, 0, text.as_bytes());
    }

    /// What has come for this peer since the last time.
    pub fn received(&self, world: &mut World) -> Vec<Text> {
        world.run(millis(2));
        world
            .mail()
            .into_iter()
            .filter(|datagram| datagram.to == self.address)
            .map(|datagram| Text(String::from_utf8(datagram.payload.to_vec()).unwrap()))
            .collect()
    }

    /// The codes of the responses that have come since the last time.
    pub fn codes(&self, world: &mut World) -> Vec<u16> {
        self.received(world).iter().map(Text::code).collect()
    }

    /// Sends a request and says what codes came back.
    pub fn ask(&self, world: &mut World, text: &str) -> Vec<u16> {
        self.send(world, text);
        self.codes(world)
    }

    /// A response to a request that the agent sent to this peer.
    pub fn response(&self, request: &Text, code: u16, tag: &str, extra: &str) -> String {
        let tag = match tag {
            "" => String::new(),
            _ if request.header("To").contains(";tag=") => String::new(),
            tag => format!(";tag={tag}"),
        };
        let mut vias = String::new();
        for via in request.headers("Via") {
            vias += &format!("Via: {via}\r\n");
        }
        let body = match code {
            200 | 183 if request.header("CSeq").ends_with("INVITE") => "v=0\r\ns=raw\r\n",
            _ => "",
        };
        let content_type = match body {
            "" => "",
            _ => "Content-Type: application/sdp\r\n",
        };
        format!(
            "SIP/2.0 {code} Raw\r\n{vias}From: {}\r\nTo: {}{tag}\r\nCall-ID: {}\r\nCSeq: {}\r\n\
             {extra}{content_type}Content-Length: {}\r\n\r\n{body}",
            request.header("From"),
            request.header("To"),
            request.header("Call-ID"),
            request.header("CSeq"),
            body.len(),
        )
    }
}

/// A raw peer calls agent 0, is answered and sends its ACK; the peer comes
/// back with the To of its further requests.
pub fn answered_raw(world: &mut World) -> (SessionId, Raw) {
    let mut raw = Raw::new();
    raw.send(world, &raw.request("INVITE", 1, "first", ""));
    let session = invited(&world.take(0));
    let now = world.now;
    world.agent(0).accept(now, session, sdp("answer")).unwrap();
    let ok = raw.received(world).pop().unwrap();
    raw.to = ok.header("To").to_owned();
    raw.send(world, &raw.request("ACK", 1, "ack", ""));
    assert!(matches!(world.take(0)[..], [Event::Acknowledged { .. }]));
    (session, raw)
}

/// Agent 0 calls a raw peer; its INVITE.
pub fn call_raw(world: &mut World) -> (SessionId, Raw, Text) {
    let raw = Raw::new();
    let now = world.now;
    let session = world.agent(0).invite(now, call_to(raw.address)).unwrap();
    let invite = raw.received(world).pop().unwrap();
    (session, raw, invite)
}

/// The same, answered: the agent's ACK was received.
pub fn connected_raw(world: &mut World) -> (SessionId, Raw) {
    let (session, mut raw, invite) = call_raw(world);
    raw.send(world, &raw.response(&invite, 200, "callee", RAW_CONTACT));
    assert!(matches!(world.take(0)[..], [Event::Answered { .. }]));
    assert!(raw.received(world)[0].start().starts_with("ACK "));
    raw.call_id = Box::leak(invite.header("Call-ID").to_owned().into_boxed_str());
    raw.from = format!("{};tag=callee", invite.header("To"));
    raw.to = invite.header("From").to_owned();
    (session, raw)
}

pub const RAW_CONTACT: &str = "Contact: <sip:raw@198.51.100.7:5070>\r\n";
