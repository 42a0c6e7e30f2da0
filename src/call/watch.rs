//! What is watched of the legs of a shard once a second: how good they sound,
//! whether only one side is heard, whether nothing is to be heard at all.
//! Packets are enough for the first two, so relayed legs are watched too; dead
//! air is found in decoded sound only.

use std::time::{Duration, Instant};

use crate::call::quality::{LegQuality, Rating, Way};
use crate::call::room::{Member, MemberKind, Place, RoomNotice, Rooms};
use crate::ids::CallId;
use crate::media::{LegStats, Remote};
use crate::sdp::Codec;
use crate::sound::level::{Alarm, Missing, OneWay, SecondOfTraffic};

/// Every leg is rated once in so many seconds, about as often as peers report
/// (RFC 3550 section 6.2).
const RATE_EVERY: u32 = 5;

/// More loss than this, in percent, is not coded for: redundancy takes its bits
/// from the sound itself.
const MOST_LOSS: u32 = 20;

/// After how long calls are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchSettings {
    /// Of sound in one direction only; `None`: never.
    pub one_way: Option<Duration>,
}

impl Default for WatchSettings {
    fn default() -> Self {
        WatchSettings {
            one_way: Some(Duration::from_secs(10)),
        }
    }
}

/// Something about a call's sound that somebody should know of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SoundAlarm {
    /// It has become poor one way, or is good again.
    Quality {
        /// Which way.
        way: Way,
        /// It is poor from now on; else good again.
        poor: bool,
        /// Mean opinion score of the last seconds, 1 to 4.41.
        mos: f32,
        /// Transmission rating factor of the last seconds, 0 to 93.2.
        r: f32,
    },
    /// Only one side is heard.
    OneWay {
        /// What is missing.
        missing: Missing,
        /// How long it lasted; `None`: it begins.
        lasted: Option<Duration>,
    },
    /// The peer sends, but nothing is to be heard.
    DeadAir {
        /// How long it lasted; `None`: it begins.
        lasted: Option<Duration>,
    },
}

impl SoundAlarm {
    /// The word of metrics and log.
    pub fn label(&self) -> &'static str {
        match self {
            SoundAlarm::Quality { .. } => "quality",
            SoundAlarm::OneWay { .. } => "one_way_audio",
            SoundAlarm::DeadAir { .. } => "dead_air",
        }
    }

    /// Whether it begins; else it is over.
    pub fn begins(&self) -> bool {
        match self {
            SoundAlarm::Quality { poor, .. } => *poor,
            SoundAlarm::OneWay { lasted, .. } | SoundAlarm::DeadAir { lasted } => lasted.is_none(),
        }
    }
}

/// What is watched of one leg.
#[derive(Debug, Clone, Default)]
pub(super) struct LegWatch {
    quality: LegQuality,
    /// The peer may send, and has not put us on hold: only then its silence is
    /// a fault.
    may_send: bool,
    one_way: Option<OneWay>,
    /// What its call was told is missing, and since when.
    missing: Option<(Missing, Instant)>,
    /// Since when its call knows of dead air.
    dead: Option<Instant>,
    packets_received: u64,
    packets_sent: u64,
}

impl LegWatch {
    /// How both ways sound.
    pub(super) fn ratings(&self, codecs: &[Codec], stats: &LegStats) -> [Option<Rating>; 2] {
        self.quality.ratings(first_audio(codecs), stats)
    }

    /// The leg was described anew. What its call was told of is over where the
    /// peer is not to send any more.
    fn described(&mut self, now: Instant, remote: &Remote) -> Vec<SoundAlarm> {
        self.may_send = remote.receive && !remote.held;
        if self.may_send {
            return Vec::new();
        }
        self.one_way = None;
        let missing = self.missing.take().map(|(missing, since)| {
            let lasted = Some(now.saturating_duration_since(since));
            SoundAlarm::OneWay { missing, lasted }
        });
        let dead = self.dead.take().map(|since| SoundAlarm::DeadAir {
            lasted: Some(now.saturating_duration_since(since)),
        });
        missing.into_iter().chain(dead).collect()
    }

    /// One second of a leg that has somebody to talk with.
    fn second(
        &mut self,
        now: Instant,
        after: Duration,
        traffic: SecondOfTraffic,
    ) -> Option<SoundAlarm> {
        let one_way = self.one_way.get_or_insert_with(|| OneWay::new(after));
        match one_way.second(traffic)? {
            Alarm::Begins(missing) => {
                // It is told of when it has lasted for so long already.
                let since = now.checked_sub(after).unwrap_or(now);
                self.missing = Some((missing, since));
                Some(SoundAlarm::OneWay {
                    missing,
                    lasted: None,
                })
            }
            Alarm::Over(lasted) => {
                let (missing, _) = self.missing.take()?;
                Some(SoundAlarm::OneWay {
                    missing,
                    lasted: Some(lasted),
                })
            }
        }
    }
}

impl Rooms {
    /// Looks at a leg. To be called once a second.
    pub(super) fn watch(&mut self, now: Instant, call: CallId) {
        let one_way = self.settings.watch.one_way;
        let company = one_way.and_then(|_| self.company_of(call));
        let Rooms {
            members,
            table,
            studio,
            notices,
            watched_seconds,
            ..
        } = self;
        let Some(member) = members.get_mut(&call) else {
            return;
        };
        let Some(stats) = table.stats(member.leg) else {
            return;
        };
        if member.early.is_some() {
            // Nobody is to talk yet.
            return;
        }
        let is_call = matches!(member.kind, MemberKind::Sip(_));
        let mut tell = |alarm| {
            if is_call {
                notices.push_back(RoomNotice::Alarm { call, alarm });
            }
        };
        // Spread over the seconds, not all in one.
        let turn = member.leg.index.wrapping_add(*watched_seconds);
        if turn.is_multiple_of(RATE_EVERY)
            && let Some(codec) = first_audio(&member.codecs)
        {
            let conference = member.sound.conference;
            let mut conference = conference.and_then(|id| studio.get_mut(id));
            if let (Some(conference), Some(told)) = (&mut conference, stats.sent.reported) {
                let percent = u32::from(told.fraction_lost) * 100 / 256;
                conference.expect_loss(member.leg, percent.min(MOST_LOSS) as u8);
            }
            let sound = conference.and_then(|conference| conference.sound(member.leg));
            let buffer = sound.map(|sound| sound.receiver);
            let turns = member.watch.quality.rate(codec, &stats, buffer.as_ref());
            for turn in turns.into_iter().flatten() {
                tell(SoundAlarm::Quality {
                    way: turn.way,
                    poor: turn.poor,
                    mos: turn.quality.mos,
                    r: turn.quality.r,
                });
            }
        }
        let watch = &mut member.watch;
        let received = grown(stats.received.packets, &mut watch.packets_received);
        let sent = grown(stats.sent.packets, &mut watch.packets_sent);
        let (Some(after), Some(company)) = (one_way, company) else {
            return;
        };
        // Who has sent comfort noise is silent, but there: nothing need come
        // from it, and nothing be relayed to the other.
        let pauses = table.is_pausing(member.leg);
        let other_pauses = company.pausing > usize::from(pauses);
        let traffic = SecondOfTraffic {
            packets_received: received.max(u32::from(pauses)),
            packets_sent: sent.max(u32::from(other_pauses)),
            // Of a relayed leg packets are all that is known.
            sound_received: true,
            sound_sent: true,
        };
        // Alone, or with peers who are not to send, nobody hears anything
        // and nothing is wrong.
        if is_call
            && watch.may_send
            && company.talkers > 1
            && let Some(alarm) = watch.second(now, after, traffic)
        {
            tell(alarm);
        }
    }

    /// Who of the call's room is to send, itself too; `None` without a room.
    fn company_of(&self, call: CallId) -> Option<Company> {
        let Place::Room(stream) = &self.members.get(&call)?.place else {
            return None;
        };
        let mut company = Company::default();
        let room = self.rooms.get(&stream.room);
        let peers = room.map(|room| room.peers.as_slice()).unwrap_or_default();
        let members = peers.iter().filter_map(|call| self.members.get(call));
        for member in members.filter(|member| member.watch.may_send) {
            company.talkers += 1;
            company.pausing += usize::from(self.table.is_pausing(member.leg));
        }
        Some(company)
    }

    /// A leg was described, for the first time or anew.
    pub(super) fn watch_described(&mut self, now: Instant, call: CallId, remote: &Remote) {
        let Some(member) = self.members.get_mut(&call) else {
            return;
        };
        let over = member.watch.described(now, remote);
        if let MemberKind::Sip(_) = member.kind {
            let notice = |alarm| RoomNotice::Alarm { call, alarm };
            self.notices.extend(over.into_iter().map(notice));
        }
    }

    /// In the decoded sound of a leg nothing is to be heard, or something is
    /// again.
    pub(super) fn dead_air(&mut self, now: Instant, call: CallId, alarm: Alarm<()>) {
        let Some(member) = self.members.get_mut(&call) else {
            return;
        };
        let Member { kind, watch, .. } = member.as_mut();
        let alarm = match alarm {
            Alarm::Begins(()) if watch.may_send => {
                watch.dead = Some(now);
                SoundAlarm::DeadAir { lasted: None }
            }
            Alarm::Over(lasted) if watch.dead.take().is_some() => SoundAlarm::DeadAir {
                lasted: Some(lasted),
            },
            Alarm::Begins(()) | Alarm::Over(_) => return,
        };
        if let MemberKind::Sip(_) = kind {
            self.notices.push_back(RoomNotice::Alarm { call, alarm });
        }
    }
}

/// The peers of a room who are to send.
#[derive(Debug, Clone, Copy, Default)]
struct Company {
    talkers: usize,
    /// Those of them who pause, and have said so.
    pausing: usize,
}

fn first_audio(codecs: &[Codec]) -> Option<Codec> {
    codecs.iter().copied().find(|codec| codec.is_audio())
}

/// How much more it is than before, which becomes what it is.
fn grown(now: u64, before: &mut u64) -> u32 {
    let grown = now.saturating_sub(std::mem::replace(before, now));
    u32::try_from(grown).unwrap_or(u32::MAX)
}
