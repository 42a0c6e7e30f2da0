//! Recordings of a conference. They lie by when a thing was said, not by when
//! it was played: each peer's jitter buffer has a delay of its own, which
//! changes, and both sides of a call are to share one time. So sound is added
//! up where it was captured ([`super::placement`]), and a frame is handed out
//! once nothing more is to be expected for it.

use super::placement::Placed;
use super::{Conference, Outlet, Peer, Recorded};
use crate::ids::{LegId, RecordingId};
use crate::sound::format::{FRAME_MS, MAX_FRAME_SAMPLES, SampleRate};
use crate::sound::limiter::Limiter;

/// Frames that are waited beyond the oldest sound that is decoded: for what is
/// late by more than all before it.
const MARGIN: u64 = 3;
/// The most that is waited, in frames: 1.2 s.
const MOST_HELD: u64 = 60;
/// After so many ticks that could have done with less, a frame less is waited.
const EASE: u32 = 50;
/// Frames handed out at once, behind ticks that were left out.
const MOST_AT_ONCE: u64 = 50;
/// Sound may be ahead of its tick by so many frames: what a long packet holds.
const MOST_AHEAD: i64 = 15;
/// A sound that begins anew takes the place of what stood in for it over a
/// 400th of a second.
const SEAM: u32 = 400;

/// How long frames are waited for, of one conference.
#[derive(Debug, Default)]
pub(super) struct Held {
    frames: u64,
    /// Ticks since when less would have done.
    eased: u32,
}

/// What a recording takes.
pub(super) struct Tap {
    id: RecordingId,
    /// Whose call; `None`: the whole room.
    pub(super) about: Option<LegId>,
    /// The tick whose frame is handed out next.
    next: u64,
    left: Side,
    right: Side,
    limiter: Limiter,
}

/// Sums of one side, from the frame on that is handed out next.
struct Side {
    /// In samples since tick 0.
    from: i64,
    sums: Vec<i32>,
    /// What is in the sums and may turn out to have come after all.
    made_up: Vec<MadeUp>,
}

struct MadeUp {
    leg: LegId,
    at: i64,
    samples: Vec<i16>,
}

impl Conference {
    /// Hands frames of a peer's call, or of the whole room, to the outlet from
    /// the next tick on. That tick.
    pub fn record(&mut self, id: RecordingId, about: Option<LegId>) -> u64 {
        self.taps.push(Tap::new(id, about, self.tick, self.rate));
        self.rate_is_stale = true;
        for peer in &mut self.peers {
            peer.place_sound(true);
        }
        self.tick
    }

    /// Ends a recording, whose last frames are handed to `take`; the tick that
    /// would have been its next.
    pub fn stop_recording(&mut self, id: RecordingId, mut take: impl FnMut(Recorded<'_>)) -> u64 {
        let (tick, rate) = (self.tick, self.rate);
        let ended = self.taps.extract_if(.., |tap| tap.id == id);
        for mut tap in ended {
            tap.hand_out(tick, rate, &mut take);
        }
        if self.taps.is_empty() {
            for peer in &mut self.peers {
                peer.place_sound(false);
            }
        }
        tick
    }

    /// Whether anything is recorded.
    pub fn is_recording(&self) -> bool {
        !self.taps.is_empty()
    }

    /// Adds this tick's sound to every recording, and hands out what is
    /// complete.
    pub(super) fn record_frames(&mut self, outlet: &mut impl Outlet) {
        if self.taps.is_empty() {
            return;
        }
        let needed = self.peers.iter().map(Peer::capture_age).max();
        let held = self.held.update(needed.unwrap_or(0));
        // What is due includes this tick's frame.
        let until = (self.tick + 1).saturating_sub(held);
        let mut taps = std::mem::take(&mut self.taps);
        for tap in &mut taps {
            self.fill(tap);
            tap.hand_out(until, self.rate, &mut |recorded| outlet.recorded(recorded));
        }
        self.taps = taps;
    }

    fn fill(&self, tap: &mut Tap) {
        let samples = self.rate.frame_samples();
        let begin = self.tick as i64 * samples as i64;
        let end = begin + MOST_AHEAD * samples as i64;
        for peer in &self.peers {
            let side = match tap.about {
                Some(leg) if leg == peer.leg => &mut tap.left,
                Some(leg) if self.is_heard(peer, leg) => &mut tap.right,
                None if peer.selected => &mut tap.left,
                Some(_) | None => continue,
            };
            for placed in peer.placed().filter(|placed| placed.at < end) {
                side.add(peer.leg, placed, self.rate);
            }
        }
        for played in &self.players {
            let side = match (tap.about, played.target) {
                (None, _) => &mut tap.left,
                (Some(leg), Some(target)) if leg != target => continue,
                (Some(leg), None) if self.is_deafened(leg) => continue,
                (Some(_), _) => &mut tap.right,
            };
            side.sum(begin, &played.frame[..samples]);
        }
    }

    fn is_heard(&self, peer: &Peer, listener: LegId) -> bool {
        let meant = peer.voice.heard_by.as_ref();
        let meant = meant.is_none_or(|list| list.contains(&listener));
        peer.selected && meant && !self.is_deafened(listener)
    }

    fn is_deafened(&self, listener: LegId) -> bool {
        self.voice(listener).is_some_and(|voice| voice.deafened)
    }
}

impl Held {
    /// How many frames to wait now, if sound is up to so many µs old.
    fn update(&mut self, oldest: i64) -> u64 {
        let frame = i64::from(FRAME_MS) * 1000;
        let needed = oldest.max(0).cast_unsigned().div_ceil(frame.unsigned_abs()) + MARGIN;
        let needed = needed.min(MOST_HELD);
        if needed >= self.frames {
            (self.frames, self.eased) = (needed, 0);
        } else {
            self.eased += 1;
            if self.eased >= EASE {
                (self.frames, self.eased) = (self.frames - 1, 0);
            }
        }
        self.frames
    }
}

impl Tap {
    fn new(id: RecordingId, about: Option<LegId>, tick: u64, rate: SampleRate) -> Tap {
        let side = || Side {
            from: tick as i64 * rate.frame_samples() as i64,
            sums: Vec::new(),
            made_up: Vec::new(),
        };
        Tap {
            id,
            about,
            next: tick,
            left: side(),
            right: side(),
            limiter: Limiter::default(),
        }
    }

    /// The conference's rate rises between two ticks.
    pub(super) fn set_rate(&mut self, from: SampleRate, to: SampleRate) {
        let factor = (to.hertz() / from.hertz()) as usize;
        for side in [&mut self.left, &mut self.right] {
            side.raise(factor.max(1));
        }
    }

    /// Hands out the frames before that of this tick.
    fn hand_out(&mut self, until: u64, rate: SampleRate, take: &mut impl FnMut(Recorded<'_>)) {
        let samples = rate.frame_samples();
        let earliest = until.saturating_sub(MOST_AT_ONCE);
        if self.next < earliest {
            self.next = earliest;
            for side in [&mut self.left, &mut self.right] {
                side.forget(earliest as i64 * samples as i64);
            }
        }
        while self.next < until {
            let mut left = [0i16; MAX_FRAME_SAMPLES];
            let mut right = [0i16; MAX_FRAME_SAMPLES];
            let (left, right) = (&mut left[..samples], &mut right[..samples]);
            let two_sided = self.about.is_some();
            // One voice needs no limiter.
            match two_sided {
                true => {
                    let voice = self.left.frame(samples).iter();
                    for (out, sum) in left.iter_mut().zip(voice) {
                        *out = (*sum).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
                    }
                    self.limiter.frame(self.right.frame(samples), right);
                }
                false => self.limiter.frame(self.left.frame(samples), left),
            }
            take(Recorded {
                recording: self.id,
                tick: self.next,
                rate,
                left,
                right: two_sided.then_some(&*right),
            });
            self.next += 1;
            let from = self.next as i64 * samples as i64;
            self.left.forget(from);
            self.right.forget(from);
        }
    }
}

impl Side {
    /// The first so many samples.
    fn frame(&mut self, samples: usize) -> &[i32] {
        if self.sums.len() < samples {
            self.sums.resize(samples, 0);
        }
        &self.sums[..samples]
    }

    /// What is before this sample is of no use any more.
    fn forget(&mut self, from: i64) {
        let gone = usize::try_from(from - self.from).unwrap_or(0);
        self.sums.drain(..gone.min(self.sums.len()));
        self.from = from;
        let lasts = |made_up: &MadeUp| made_up.at + made_up.samples.len() as i64 > from;
        self.made_up.retain(lasts);
    }

    /// The sums from this sample on, so many of them, less what has been
    /// handed out; and how many that is.
    fn stretch(&mut self, at: i64, length: usize) -> (&mut [i32], usize) {
        let gone = usize::try_from(self.from - at).unwrap_or(0).min(length);
        let begin = usize::try_from(at - self.from).unwrap_or(0);
        let end = begin + (length - gone);
        if self.sums.len() < end {
            self.sums.resize(end, 0);
        }
        (&mut self.sums[begin..end], gone)
    }

    fn sum(&mut self, at: i64, samples: &[i16]) {
        let (sums, gone) = self.stretch(at, samples.len());
        super::mix::add(sums, &samples[gone..]);
    }

    /// Adds a stretch of a peer's voice. What stood in for it goes.
    fn add(&mut self, leg: LegId, placed: Placed<'_>, rate: SampleRate) {
        let seam = if placed.begins {
            i64::from(rate.hertz() / SEAM)
        } else {
            1
        };
        if !placed.made_up {
            self.take_back(leg, placed.at, placed.samples.len() as i64, seam);
        }
        let (sums, gone) = self.stretch(placed.at, placed.samples.len());
        let samples = placed.samples.iter().enumerate().skip(gone);
        for (sum, (n, sample)) in sums.iter_mut().zip(samples) {
            *sum += faded(*sample, n as i64, seam);
        }
        if placed.made_up {
            self.made_up.push(MadeUp {
                leg,
                at: placed.at,
                samples: placed.samples.to_vec(),
            });
        }
    }

    fn take_back(&mut self, leg: LegId, at: i64, length: i64, seam: i64) {
        let mut lists = std::mem::take(&mut self.made_up);
        for made_up in lists.iter_mut().filter(|made_up| made_up.leg == leg) {
            let end = (made_up.at + made_up.samples.len() as i64).min(at + length);
            for position in made_up.at.max(at).max(self.from)..end {
                let sample = &mut made_up.samples[(position - made_up.at) as usize];
                let part = faded(*sample, position - at, seam);
                if let Some(sum) = self.sums.get_mut((position - self.from) as usize) {
                    *sum -= part;
                    *sample -= part as i16;
                }
            }
        }
        self.made_up = lists;
    }

    fn raise(&mut self, factor: usize) {
        let last = self.sums.last().copied().unwrap_or(0);
        let next = self.sums.iter().skip(1).copied().chain([last]);
        let pairs = self.sums.iter().copied().zip(next);
        let between = |(here, next): (i32, i32)| {
            (0..factor).map(move |n| here + (next - here) * n as i32 / factor as i32)
        };
        self.sums = pairs.flat_map(between).collect();
        self.from *= factor as i64;
        self.made_up.clear();
    }
}

/// A sample of a sound that rises from nothing within `seam` samples.
fn faded(sample: i16, n: i64, seam: i64) -> i32 {
    let sample = i32::from(sample);
    match n < seam {
        true => sample * (n as i32 + 1) / seam as i32,
        false => sample,
    }
}
