//! Whole calls through the call room: SIP, SDP, rooms and the leg table.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::book::{Answering, Book, CallLimits, DtmfPolicy, Number, Outgoing};
use crate::call::room::{LegAddress, OpenPorts, Ports, PortsError, RoomSettings, Rooms};
use crate::call::settings::{LimitSettings, Limits, ScannerSettings, Scanners};
use crate::call::{CallSettings, Calls, Output, RoomBackend};
use crate::clock::WallClock;
use crate::ids::{AppId, ListenerId, MediaPort, ShardId};
use crate::keying::Srtp;
use crate::media::{Table, TableSettings};
use crate::scenario::Scenario;
use crate::sip::agent::{Agent, AgentSettings, Listener};
use crate::sip::header::HeaderName;
use crate::sip::message::{Message, Response};
use crate::sip::parse::parse;
use crate::sip::transaction::TimerSettings;
use crate::trace::TraceSettings;

const GATEWAY: &str = "127.0.0.1:5060";
const PEER: &str = "127.0.0.1:5070";
/// Calls, ten a second of simulated time: after 32 s as many transactions
/// are forgotten as begin, and as many traces after theirs.
const CALLS: (u64, u64) = (400, 600);
const BETWEEN_CALLS: Duration = Duration::from_millis(100);
const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

/// Calls from INVITE to the 200 of the BYE.
pub fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("call/to-an-echo", "call", CALLS, |units| {
            incoming("echo", units);
        }),
        Scenario::new("call/into-a-room", "call", CALLS, |units| {
            incoming("room", units);
        }),
    ]
}

/// Calls to this number, with what the caller says taken from a record. All
/// seeds are the same again, hence so is every tag.
fn incoming(number: &str, units: u64) {
    let mut gateway = Gateway::new();
    let record: Vec<[String; 3]> = (0..CALLS.1).map(|n| gateway.interview(number, n)).collect();
    let mut gateway = Gateway::new();
    for datagrams in record.iter().take(units as usize) {
        gateway.pass(BETWEEN_CALLS);
        for datagram in datagrams {
            gateway.receive(datagram);
        }
        assert!(gateway.calls.is_empty(), "the call has not ended");
        gateway.sent.clear();
    }
}

/// Everything of a shard that is pure.
struct Gateway {
    now: Instant,
    calls: Calls,
    rooms: Rooms,
    ports: PretendedPorts,
    sent: Vec<Bytes>,
}

/// One port pair after another.
#[derive(Default)]
struct PretendedPorts {
    free: Vec<u32>,
    made: u32,
}

impl Ports for PretendedPorts {
    fn open(&mut self, _now: Instant, _ipv6: bool) -> Result<OpenPorts, PortsError> {
        let port = self.free.pop().unwrap_or_else(|| {
            self.made += 2;
            self.made
        });
        Ok(OpenPorts {
            rtp: MediaPort(port),
            rtcp: MediaPort(port + 1),
            local: LegAddress {
                address: Ipv4Addr::LOCALHOST.into(),
                rtp_port: (30_000 + port) as u16,
                rtcp_port: (30_001 + port) as u16,
            },
        })
    }

    fn close(&mut self, _now: Instant, ports: OpenPorts) {
        self.free.push(ports.rtp.0);
    }

    // There is one shard.
    fn hand_over(&mut self, _ports: OpenPorts) {}

    fn take_over(&mut self, _now: Instant, _local: LegAddress) -> Result<OpenPorts, PortsError> {
        Err(PortsError::Exhausted)
    }
}

impl Gateway {
    fn new() -> Gateway {
        let now = Instant::now();
        let address: SocketAddr = GATEWAY.parse().expect("an address");
        let clock = WallClock::new(now, 1_700_000_000_000);
        let agent = Agent::new(AgentSettings {
            shard: ShardId(0),
            listeners: vec![Listener {
                bound: address,
                advertised: address,
            }],
            user_agent: "ringwire".to_owned(),
            timers: TimerSettings::default(),
            max_sessions: 1_000,
            max_transactions: 10_000,
            seed: [1; 32],
        });
        let settings = CallSettings {
            shard: ShardId(0),
            room_shard: |_, _| ShardId(0),
            shards: 1,
            clock,
            answer_timeout: Duration::from_secs(180),
            realm: "ringwire".to_owned(),
            listeners: vec![address],
            rooms: RoomBackend::Local,
            srtp: Srtp::WHERE_OFFERED,
            dtmf: DtmfPolicy::Auto,
            fingerprint: None,
            trace: TraceSettings::default(),
            limits: Limits::new(LimitSettings::default()),
            scanners: Scanners::new(ScannerSettings::default()),
            seed: [2; 32],
        };
        let table = Table::new(TableSettings::default(), [3; 32]);
        Gateway {
            now,
            calls: Calls::new(settings, agent, Arc::new(book())),
            rooms: Rooms::new(table, clock, RoomSettings::default()),
            ports: PretendedPorts::default(),
            sent: Vec::new(),
        }
    }

    /// Time goes by, timer by timer.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.calls.next_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.calls.handle_timeout(self.now);
            self.settle();
        }
        self.now = end;
        self.calls.sweep(self.now);
        self.rooms.sweep(self.now);
        self.settle();
    }

    fn receive(&mut self, datagram: &str) {
        let peer = SocketAddr::from((Ipv4Addr::LOCALHOST, 5070));
        self.calls
            .handle_datagram(self.now, ListenerId(0), peer, datagram.as_bytes());
        self.settle();
    }

    /// Carries out what calls and rooms want of each other.
    fn settle(&mut self) {
        loop {
            let mut idle = true;
            while let Some(output) = self.calls.poll_output() {
                idle = false;
                if let Output::Room(_, request) = output {
                    self.rooms.handle(self.now, request, &mut self.ports);
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
            self.sent.push(transmit.payload);
        }
    }

    /// A call whose caller reads what he is answered; what he sent.
    fn interview(&mut self, number: &str, n: u64) -> [String; 3] {
        self.pass(BETWEEN_CALLS);
        let from_and_to = |to: &str| {
            format!(
                "Max-Forwards: 70\r\n\
                 From: <sip:caller@{PEER}>;tag=from{n}\r\n\
                 To: {to}\r\n\
                 Call-ID: call-{n}\r\n\
                 Contact: <sip:caller@{PEER}>\r\n"
            )
        };
        let via = |name: &str| format!("Via: SIP/2.0/UDP {PEER};branch=z9hG4bK{name}{n}\r\n");
        let invite = format!(
            "INVITE sip:{number}@{GATEWAY} SIP/2.0\r\n{}{}CSeq: 1 INVITE\r\n\
             Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{SDP}",
            via("invite"),
            from_and_to(&format!("<sip:{number}@{GATEWAY}>")),
            SDP.len()
        );
        self.receive(&invite);
        let answer = self.answer();
        let to = answer.headers.get(&HeaderName::To).expect("a To");
        let contacts = answer.headers.contacts().expect("a good Contact");
        let target = &contacts.first().expect("a Contact").uri;
        let in_dialog = |method: &str, cseq: u32| {
            format!(
                "{method} {target} SIP/2.0\r\n{}{}CSeq: {cseq} {method}\r\n\
                 Content-Length: 0\r\n\r\n",
                via(method),
                from_and_to(to)
            )
        };
        let acknowledgement = in_dialog("ACK", 1);
        self.receive(&acknowledgement);
        let bye = in_dialog("BYE", 2);
        self.receive(&bye);
        self.answer();
        assert!(self.calls.is_empty(), "the call has not ended");
        [invite, acknowledgement, bye]
    }

    /// The 200 among what was sent; forgets all of it.
    fn answer(&mut self) -> Response {
        let sent = std::mem::take(&mut self.sent);
        sent.iter()
            .find_map(|datagram| match parse(datagram) {
                Ok(Message::Response(response)) if response.status.code() == 200 => Some(response),
                _ => None,
            })
            .expect("a 200")
    }
}

fn book() -> Book {
    let number = |number: &str, answering| Number {
        number: number.to_owned(),
        app: AppId::new(AppId::ROOT),
        subnets: vec!["127.0.0.0/8".parse().expect("a network")],
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
    let room = Answering::Room {
        room: "{call_id}".to_owned(),
        peer: "{from}".to_owned(),
    };
    let numbers = [number("echo", Answering::Echo), number("room", room)];
    Book::new([], numbers).expect("a good book")
}
