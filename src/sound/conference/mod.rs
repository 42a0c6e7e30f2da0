//! A room whose sound is made here: everybody's packets become frames, and
//! every 20 ms each listener gets the sum of the others, coded for him.
//!
//! The work of a tick is cut into steps ([`Conference::work`]): a step is one
//! frame decoded, or one encoded, or one sent to some, so that the shard can
//! look after its packets in between and a large room delays nobody else's
//! media.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `peer` | one participant: its receiver, its voice, its encoder |
//! | `mix` | who is heard, by whom, and which listeners hear the same |
//! | `output` | encoding, once for all who hear the same |
//! | `placement` | when a peer's sound was captured |
//! | `taps` | recordings, which lie by that |

mod mix;
mod output;
mod peer;
mod placement;
mod taps;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use super::dtmf::{DialStep, DtmfEvent};
use super::format::{FRAME_MS, MAX_FRAME_SAMPLES, SampleRate};
use super::level::Alarm;
use super::player::{Player, Playing};
use super::receiver::{Incoming, ReceiverSettings};
use crate::ids::{LegId, PlayId, RecordingId};
use output::SharedEncoder;
use peer::Peer;
pub use peer::{Description, Events, PeerSound, Voice};
use taps::{Held, Tap};

/// Length of a tick.
const TICK: Duration = Duration::from_millis(FRAME_MS as u64);
/// A room that is this many ticks behind leaves them out: what is late by more
/// helps nobody.
const MOST_TICKS_BEHIND: u32 = 3;
/// Sources that one room plays at once, to all or to one: more are refused.
pub const MAX_PLAYERS: usize = 16;

/// What every conference of a gateway has in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConferenceSettings {
    /// How many voices are heard at once: the loudest.
    pub loudest: usize,
    /// How long packets may be waited for.
    pub receiver: ReceiverSettings,
    /// Peers in whose sound nothing is to be heard for so long are told of;
    /// `None`: never.
    pub dead_air: Option<Duration>,
}

/// A payload for a leg's peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload<'p> {
    /// The number that the peer takes it by.
    pub payload_type: u8,
    /// Clock of the timestamps, in Hz: that of the sound, of events too.
    pub clock_rate: u32,
    /// First of a talkspurt, or of an event.
    pub marker: bool,
    /// On the conference's own clock.
    pub timestamp: u32,
    /// The octets.
    pub payload: &'p [u8],
}

/// A frame for a recording.
#[derive(Debug, Clone, Copy)]
pub struct Recorded<'p> {
    /// Which.
    pub recording: RecordingId,
    /// Counts frames of the conference: the one in which the frame was
    /// captured, which is some time ago.
    pub tick: u64,
    /// Rate of the samples.
    pub rate: SampleRate,
    /// What the recorded peer says; of a whole room: everybody.
    pub left: &'p [i16],
    /// What the recorded peer hears; none of a whole room.
    pub right: Option<&'p [i16]>,
}

/// Where a conference's sound goes to.
pub trait Outlet {
    /// To a peer.
    fn payload(&mut self, leg: LegId, payload: Payload<'_>);
    /// To a recording.
    fn recorded(&mut self, recorded: Recorded<'_>);
    /// A player has come to its end, or was ended by a key.
    fn finished(&mut self, play: PlayId);
    /// A key was found in the sound of a peer.
    fn key(&mut self, leg: LegId, key: DtmfEvent);
    /// In the sound of a peer nothing is to be heard, or something is again.
    fn dead_air(&mut self, leg: LegId, alarm: Alarm<()>);
}

/// Where a tick stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The next tick is not due.
    Waiting,
    /// This peer's frame comes next.
    Decoding(usize),
    /// This peer's output comes next.
    Encoding(usize),
    /// What the listeners of common mixes hear comes next.
    EncodingShared(usize),
    /// Recordings come next.
    Recording,
}

/// A source for all or for one.
struct Played {
    target: Option<LegId>,
    player: Player,
    /// Its frame of this tick.
    frame: [i16; MAX_FRAME_SAMPLES],
}

/// One room.
pub struct Conference {
    settings: ConferenceSettings,
    /// Rate of the sums: high enough for what any peer can bring another.
    rate: SampleRate,
    tick: u64,
    due: Instant,
    stage: Stage,
    peers: Vec<Peer>,
    players: Vec<Played>,
    taps: Vec<Tap>,
    held: Held,
    shared: Vec<SharedEncoder>,
    /// Sum of what everybody hears, of this tick.
    common: Vec<i32>,
    skipped: u64,
    /// Somebody came or changed: the rate may have to rise.
    rate_is_stale: bool,
    /// Something was played or keyed at the last tick.
    busy: bool,
}

impl Conference {
    /// An empty room whose first tick is at `first`.
    pub fn new(first: Instant, settings: ConferenceSettings) -> Conference {
        Conference {
            settings,
            rate: SampleRate::Narrow,
            tick: 0,
            due: first,
            stage: Stage::Waiting,
            peers: Vec::new(),
            players: Vec::new(),
            taps: Vec::new(),
            held: Held::default(),
            shared: Vec::new(),
            common: Vec::with_capacity(MAX_FRAME_SAMPLES),
            skipped: 0,
            rate_is_stale: false,
            busy: false,
        }
    }

    /// Takes a peer in; it is heard and hears from its description on.
    pub fn add(&mut self, leg: LegId) {
        self.remove(leg);
        let mut peer = Peer::new(leg, self.rate, &self.settings);
        peer.place_sound(self.is_recording());
        self.peers.push(peer);
    }

    /// Lets a peer go, with what was played to it alone.
    pub fn remove(&mut self, leg: LegId) {
        let Some(at) = self.position(leg) else {
            return;
        };
        // The tick goes on with whoever moves into the place.
        match &mut self.stage {
            Stage::Decoding(next) | Stage::Encoding(next) if *next > at => *next -= 1,
            _ => {}
        }
        self.peers.remove(at);
        for shared in &mut self.shared {
            shared.forget(at);
        }
        self.players.retain(|played| played.target != Some(leg));
        self.taps.retain(|tap| tap.about != Some(leg));
        for peer in &mut self.peers {
            peer.forget(leg);
        }
    }

    /// What the peer takes and sends, as agreed with it.
    pub fn describe(&mut self, leg: LegId, description: Description) {
        if let Some(peer) = self.peer_mut(leg) {
            peer.describe(description);
        }
        self.rate_is_stale = true;
    }

    /// Whether the peer's stream is made here, or only listened to because a
    /// relay feeds it.
    pub fn serve(&mut self, leg: LegId, served: bool) {
        if let Some(peer) = self.peer_mut(leg) {
            peer.serve(served);
        }
    }

    /// How the peer is heard, and by whom, from the next tick on: one that is
    /// under way has begun to add up who hears whom.
    pub fn set_voice(&mut self, leg: LegId, voice: Voice) {
        if let Some(peer) = self.peer_mut(leg) {
            peer.next_voice = Some(voice);
        }
    }

    /// How the peer was last asked to be heard, and by whom.
    pub fn voice(&self, leg: LegId) -> Option<&Voice> {
        self.peers
            .iter()
            .find(|peer| peer.leg == leg)
            .map(|peer| peer.next_voice.as_ref().unwrap_or(&peer.voice))
    }

    /// Whether a key can be seen in the peer's sound only.
    pub fn detect_keys(&mut self, leg: LegId, on: bool) {
        if let Some(peer) = self.peer_mut(leg) {
            peer.detect_keys(on);
        }
    }

    /// How much the peer reports as lost of what it is sent, in percent: in-band
    /// FEC goes by it, where its codec has that.
    pub fn expect_loss(&mut self, leg: LegId, percent: u8) {
        if let Some(peer) = self.peer_mut(leg) {
            peer.expect_loss(percent);
        }
    }

    /// A packet of the peer.
    pub fn push(&mut self, leg: LegId, incoming: Incoming<'_>) {
        if let Some(peer) = self.peer_mut(leg) {
            peer.receiver.push(incoming);
        }
    }

    /// Plays to one peer, or to all. False when too much is played already.
    pub fn play(&mut self, target: Option<LegId>, player: Player) -> bool {
        if self.players.len() >= MAX_PLAYERS {
            return false;
        }
        self.players.push(Played {
            target,
            player,
            frame: [0; MAX_FRAME_SAMPLES],
        });
        self.rate_is_stale = true;
        true
    }

    /// Lets a player fade out; it is told of as finished then. False when
    /// there is none of this name.
    pub fn stop(&mut self, play: PlayId) -> bool {
        let found = self.players.iter_mut().find(|p| p.player.id() == play);
        found.map(|played| played.player.stop()).is_some()
    }

    /// A key was pressed by this peer: ends what it may barge into, and names
    /// it.
    pub fn barge_in(&mut self, leg: LegId) -> Vec<PlayId> {
        let mut ended = Vec::new();
        for played in &mut self.players {
            let concerned = played.target.is_none_or(|target| target == leg);
            if concerned && played.player.barge_in() {
                played.player.stop();
                ended.push(played.player.id());
            }
        }
        ended
    }

    /// Sends keys to the peer, after those that wait. False when there is no
    /// room for them.
    pub fn send_keys(&mut self, leg: LegId, keys: &[DialStep]) -> bool {
        self.peer_mut(leg).is_some_and(|peer| peer.send_keys(keys))
    }

    /// Forgets the keys that are on their way to the peer. False when there
    /// were none.
    pub fn drop_keys(&mut self, leg: LegId) -> bool {
        self.peer_mut(leg).is_some_and(Peer::drop_keys)
    }

    /// Whether keys are still on their way to the peer.
    pub fn is_sending_keys(&self, leg: LegId) -> bool {
        let peer = self.peers.iter().find(|peer| peer.leg == leg);
        peer.is_some_and(Peer::is_sending_keys)
    }

    /// Whether anything is played.
    pub fn is_playing(&self) -> bool {
        !self.players.is_empty()
    }

    /// Whether the last tick is done, and the next not begun.
    pub fn is_between_ticks(&self) -> bool {
        self.stage == Stage::Waiting
    }

    /// Whether the last key or play has just come to its end: the room may not
    /// have to be mixed any more. Told once.
    pub fn take_quiet(&mut self) -> bool {
        let busy = self.is_playing() || self.peers.iter().any(Peer::is_sending_keys);
        std::mem::replace(&mut self.busy, busy) && !busy
    }

    /// The number of the tick that comes next.
    pub fn next_tick(&self) -> u64 {
        self.tick
    }

    /// Ticks left out because the shard was late, since the beginning.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// What is known of a peer's sound.
    pub fn sound(&self, leg: LegId) -> Option<PeerSound> {
        let peer = self.peers.iter().find(|peer| peer.leg == leg)?;
        Some(peer.sound())
    }

    /// When there is work to do.
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Does one step of what is due. True when more is to be done at once.
    pub fn work(&mut self, now: Instant, outlet: &mut impl Outlet) -> bool {
        match self.stage {
            Stage::Waiting => {
                if now < self.due {
                    return false;
                }
                self.catch_up(now);
                if std::mem::take(&mut self.rate_is_stale) {
                    self.choose_rate();
                }
                for peer in &mut self.peers {
                    peer.begin_tick();
                }
                self.play_frames(outlet);
                self.stage = Stage::Decoding(0);
                true
            }
            Stage::Decoding(next) => {
                match self.peers.get_mut(next) {
                    Some(peer) => {
                        let begin = self.tick as i64 * self.rate.frame_samples() as i64;
                        peer.decode(now, (self.due, begin), outlet);
                        self.stage = Stage::Decoding(next + 1);
                    }
                    None => {
                        self.select();
                        self.stage = Stage::Encoding(0);
                    }
                }
                true
            }
            Stage::Encoding(next) => {
                self.stage = match next < self.peers.len() {
                    true => {
                        self.encode_own(next, outlet);
                        Stage::Encoding(next + 1)
                    }
                    false => Stage::EncodingShared(0),
                };
                true
            }
            Stage::EncodingShared(next) => {
                self.stage = match next < self.shared.len() {
                    true => {
                        let done = self.encode_shared(next, outlet);
                        Stage::EncodingShared(next + usize::from(done))
                    }
                    false => Stage::Recording,
                };
                true
            }
            Stage::Recording => {
                self.record_frames(outlet);
                self.tick += 1;
                self.due += TICK;
                self.stage = Stage::Waiting;
                now >= self.due
            }
        }
    }

    /// Leaves out ticks that are too late to be of use.
    fn catch_up(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.due);
        if late < TICK * MOST_TICKS_BEHIND {
            return;
        }
        let missed = (late.as_millis() / TICK.as_millis()) as u64;
        self.tick += missed;
        self.skipped += missed;
        self.due += TICK * u32::try_from(missed).unwrap_or(u32::MAX);
    }

    /// Takes this tick's frame from every player.
    fn play_frames(&mut self, outlet: &mut impl Outlet) {
        let samples = self.rate.frame_samples();
        let rate = self.rate;
        self.players.retain_mut(|played| {
            let frame = &mut played.frame[..samples];
            frame.fill(0);
            match played.player.frame(rate, frame) {
                Playing::More => true,
                Playing::Finished => {
                    outlet.finished(played.player.id());
                    false
                }
            }
        });
    }

    /// Raises the rate when somebody can now bring another more than before.
    /// It never falls while the room lasts: each change costs the codecs their
    /// memory.
    fn choose_rate(&mut self) {
        let mut heard: Vec<SampleRate> = self.peers.iter().filter_map(Peer::native_rate).collect();
        heard.sort_unstable();
        let best = heard.last().copied();
        // One who talks needs another who can hear it.
        let second = heard.iter().rev().nth(1).copied();
        let played = self.players.iter().map(|p| p.player.native_rate()).max();
        let played = played.zip(best).map(|(source, sink)| source.min(sink));
        let recorded = best.filter(|_| self.is_recording());
        let rate = [second, played, recorded].into_iter().flatten().max();
        if let Some(rate) = rate
            && rate > self.rate
        {
            for tap in &mut self.taps {
                tap.set_rate(self.rate, rate);
            }
            self.rate = rate;
            for peer in &mut self.peers {
                peer.set_rate(rate);
            }
            self.shared.clear();
        }
    }

    fn position(&self, leg: LegId) -> Option<usize> {
        self.peers.iter().position(|peer| peer.leg == leg)
    }

    fn peer_mut(&mut self, leg: LegId) -> Option<&mut Peer> {
        self.peers.iter_mut().find(|peer| peer.leg == leg)
    }
}
