//! A caller that shakes hands by itself, without rtcp-mux, while somebody who
//! knows where both ends are writes to the gateway in its name.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use ringwire::io::dtls::OpenSslEngine;
use ringwire::keying::DtlsRole;
use ringwire::media::srtp::{Protector, Unprotector};
use ringwire::media::{DtlsEngine, DtlsKeys, DtlsSession, DtlsState};

use crate::srtp::{in_slot, protect};
use crate::support::gateway::Gateway;
use crate::support::rtp::packet;
use crate::support::sip::{SipPeer, audio_at};
use crate::support::{PATIENCE, eventually};

/// A record in the clear, as anybody can make it.
fn record(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind, 254, 253, 0, 0, 0, 0, 0, 0, 0, 5];
    bytes.extend((body.len() as u16).to_be_bytes());
    bytes.extend(body);
    bytes
}

/// An alert, hellos of either side, and garbage.
fn forgeries(stranger: &mut OpenSslEngine) -> Vec<Vec<u8>> {
    let mut server_hello = vec![2, 0, 0, 40, 0, 1, 0, 0, 0, 0, 0, 40, 254, 253];
    server_hello.extend([9; 32]);
    server_hello.extend([0, 0xc0, 0x2b, 0, 0, 0]);
    let mut session = stranger.start(DtlsRole::Client).expect("a session");
    let mut hello = Vec::new();
    session.handle(Instant::now(), &[], &mut |d| hello = d.to_vec());
    // With this number all that follow would count as replayed.
    let mut last = record(20, &[1]);
    last[5..11].fill(0xff);
    vec![
        last,
        hello,
        record(21, &[2, 40]),
        record(22, &server_hello),
        record(22, &[0xff; 40]),
        vec![22; 100],
        vec![0x3f; 300],
    ]
}

/// One port of the caller and its end of the handshake.
struct Port {
    socket: UdpSocket,
    to: SocketAddr,
    session: Box<dyn DtlsSession>,
}

impl Port {
    fn open(at: SocketAddr, engine: &mut OpenSslEngine) -> Self {
        let socket = UdpSocket::bind(at).expect("a media port");
        let patience = Some(Duration::from_millis(50));
        socket.set_read_timeout(patience).expect("a timeout");
        Port {
            to: socket.local_addr().expect("an address"),
            socket,
            session: engine.start(DtlsRole::Client).expect("a session"),
        }
    }

    fn send(&self, bytes: &[u8]) {
        self.socket.send_to(bytes, self.to).expect("sent");
    }

    /// Shakes hands, and lets `forge` speak before each of its own flights.
    #[track_caller]
    fn shake(&mut self, mut forge: impl FnMut(&Port)) {
        let start = Instant::now();
        let mut flight: Vec<Vec<u8>> = Vec::new();
        self.session
            .handle(start, &[], &mut |d| flight.push(d.to_vec()));
        let mut buffer = [0; 2048];
        while start.elapsed() < PATIENCE {
            forge(self);
            for datagram in flight.drain(..) {
                self.send(&datagram);
            }
            if let DtlsState::Done(_) = self.session.state() {
                return;
            }
            let (now, mut out) = (Instant::now(), |d: &[u8]| flight.push(d.to_vec()));
            match self.socket.recv_from(&mut buffer) {
                Ok((len, _)) => self.session.handle(now, &buffer[..len], &mut out),
                Err(_) if self.session.next_timeout().is_some_and(|at| at <= now) => {
                    self.session.timeout(now, &mut out);
                }
                Err(_) => {}
            }
        }
        panic!("no keys: {:?}", self.session.state());
    }

    #[track_caller]
    fn keys(&self) -> &DtlsKeys {
        match self.session.state() {
            DtlsState::Done(keys) => keys,
            other => panic!("no keys: {other:?}"),
        }
    }
}

#[test]
fn forged_records_keep_nobody_from_talking_and_rtcp_has_its_own_handshake() {
    let mut gateway = Gateway::with()
        .number("7002", "answer = \"echo\"\nsrtp = \"required\"")
        .start();
    let ip = Ipv4Addr::LOCALHOST.into();
    let mut engine = OpenSslEngine::new().expect("an engine");
    let mut stranger = OpenSslEngine::new().expect("an engine");
    let mut sip = SipPeer::open(&mut gateway.ports, ip);
    let first = gateway.ports.pair();
    let mut rtp = Port::open((ip, first).into(), &mut engine);
    let mut rtcp = Port::open((ip, first + 1).into(), &mut engine);
    let digits: Vec<String> = engine
        .fingerprint()
        .digest
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    let lines = format!(
        "a=rtpmap:0 PCMU/8000\r\na=setup:actpass\r\na=fingerprint:sha-256 {}\r\n",
        digits.join(":")
    );
    let offer = audio_at(rtp.to, "0", &lines).replace("RTP/AVP", "UDP/TLS/RTP/SAVP");
    let mut call = sip.invite(gateway.sip(), "7002", &offer);
    let answer = sip.expect_answer(&mut call);
    assert!(answer.has_sdp_line("a=setup:passive"), "{}", answer.body);
    assert!(!answer.has_sdp_line("a=rtcp-mux"), "{}", answer.body);
    rtp.to = answer.media_address();
    rtcp.to = SocketAddr::new(rtp.to.ip(), rtp.to.port() + 1);

    let elsewhere = UdpSocket::bind((Ipv4Addr::new(127, 0, 0, 9), 0)).expect("a port");
    rtp.shake(|port| {
        for datagram in forgeries(&mut stranger) {
            port.send(&datagram);
            elsewhere.send_to(&datagram, port.to).expect("sent");
        }
    });
    rtcp.shake(|_| {});
    assert!(gateway.dropped("dtls_unauthenticated") > 0);
    assert!(gateway.dropped("wrong_source") > 0);

    let keys = rtp.keys();
    let suite = keys.client.suite.name();
    let mut out = Protector::new(&keys.client).expect("a key");
    let mut into = Unprotector::new(&keys.server).expect("a key");
    let mut buffer = [0; 2048];
    let mut sequence = 0;
    let heard = eventually("an echo", || {
        sequence += 1;
        let plain = packet(0, sequence, u32::from(sequence) * 160, 9, 0x44);
        rtp.send(&protect(&mut out, &plain));
        let (len, _) = rtp.socket.recv_from(&mut buffer).ok()?;
        // A last record of the handshake may come before.
        (buffer[0] == 0x80).then(|| buffer[..len].to_vec())
    });
    let plain = in_slot(&heard, |packet| into.rtp(packet).expect("authentic"));
    assert_eq!(plain[12..], [0x44; 160]);
    let state = &gateway.live_calls()[0];
    assert_eq!(state["security"], "dtls", "{state}");
    assert_eq!(state["srtp_suite"], suite, "{state}");

    // A report under the keys of the other port is taken and, as an echo's,
    // comes back; one under those of RTP is not authentic there.
    let report = {
        let mut bytes = vec![0x80, 200, 0, 6, 0, 0, 0, 9];
        bytes.extend([0; 20]);
        bytes
    };
    let mut wrong = Protector::new(&rtp.keys().client).expect("a key");
    let mut right = Protector::new(&rtcp.keys().client).expect("a key");
    let seal = |protector: &mut Protector| {
        in_slot(&report, |packet| {
            let sealable = ringwire::media::srtp::Sealable::new(packet).expect("room");
            protector.rtcp(sealable).expect("protected");
        })
    };
    rtcp.send(&seal(&mut wrong));
    eventually("a report under the wrong keys", || {
        (gateway.dropped("srtp_auth_failed") == 1).then_some(())
    });
    let mut theirs = Unprotector::new(&rtcp.keys().server).expect("a key");
    let back = eventually("a report that comes back", || {
        rtcp.send(&seal(&mut right));
        let (len, _) = rtcp.socket.recv_from(&mut buffer).ok()?;
        (buffer[0] >> 6 == 2).then(|| buffer[..len].to_vec())
    });
    let back = in_slot(&back, |packet| theirs.rtcp(packet).expect("authentic"));
    assert_eq!(back[1], 200);
    assert_eq!(gateway.dropped("not_yet_secured"), 0);
}
