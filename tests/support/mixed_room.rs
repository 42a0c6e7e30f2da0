//! A room `talk` of hand-made peers that have called into it, each with a
//! codec of his own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ringwire::sound::codec::AudioCodec;

use super::Gateway;
use super::gateway::Settings;
use super::sip::{OurCall, SipMessage, SipPeer};
use super::talker::{Sound, Talker, Talkers};

pub const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A peer that has called into the room `talk`.
pub struct Caller {
    sip: SipPeer,
    call: OurCall,
    pub talker: Talker,
    /// Where the gateway takes its media.
    pub target: SocketAddr,
}

/// A gateway with a number for each of so many peers: 7000, 7001 and so on.
pub fn gateway(settings: Settings, peers: usize) -> Gateway {
    let add = |settings: Settings, n: usize| {
        let answer = format!(r#"answer = {{ room = "talk", peer = "p{n}" }}"#);
        settings.number(&number(n), &answer)
    };
    (0..peers).fold(settings, add).start()
}

fn number(peer: usize) -> String {
    format!("{}", 7000 + peer)
}

impl Caller {
    /// Calls, and says a tone.
    #[track_caller]
    pub fn join(
        gateway: &mut Gateway,
        talkers: &Talkers,
        peer: usize,
        codec: AudioCodec,
        hertz: u32,
    ) -> Self {
        let caller = Self::join_quiet(gateway, talkers, peer, codec, &Sound::Tone(hertz));
        caller.talker.talk_to(caller.target);
        caller
    }

    /// The same with any sound, which is not said yet.
    #[track_caller]
    pub fn join_quiet(
        gateway: &mut Gateway,
        talkers: &Talkers,
        peer: usize,
        codec: AudioCodec,
        sound: &Sound,
    ) -> Self {
        let ports = &mut gateway.ports;
        let mut sip = SipPeer::open(ports, LOCALHOST);
        let talker = talkers.open(ports, LOCALHOST, codec, sound);
        let mut call = sip.invite(gateway.sip(), &number(peer), &talker.description());
        let target = sip.expect_answer(&mut call).media_address();
        Self {
            sip,
            call,
            talker,
            target,
        }
    }

    /// Negotiates anew; the answer.
    #[track_caller]
    pub fn offer(&mut self, description: &str) -> SipMessage {
        self.sip.request(&mut self.call, "INVITE", description);
        self.sip.expect_answer(&mut self.call)
    }

    /// Hangs up.
    #[track_caller]
    pub fn leave(&mut self) {
        self.talker.be_quiet();
        self.sip.request(&mut self.call, "BYE", "");
        assert_eq!(self.sip.expect_final("BYE").status(), Some(200));
    }
}
