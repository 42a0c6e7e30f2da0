//! How loud a stream is, whether somebody speaks, and when nothing is heard.

use std::time::Duration;

use super::format::FRAME_MS;

/// The level of silence (RFC 6464 section 3: 0 is the overload point, 127 silence).
pub const SILENCE: u8 = 127;

/// A speaker is this much above the noise, in dB.
const SPEECH_OVER_NOISE: f32 = 9.0;

/// What is softer is no speech however quiet the line, in dBov.
const SOFTEST_SPEECH: f32 = -55.0;

/// What is louder is speech before the noise is known, in dBov.
const HIGHEST_NOISE: f32 = -35.0;

/// How long somebody still counts as speaking after the last loud frame: the
/// gaps between words and syllables.
const HANG_OVER_FRAMES: u32 = 300 / FRAME_MS;

/// Part of the way that the smoothed level goes up in a frame.
const ATTACK: f32 = 0.5;

/// Part of the way that it comes down: a loudest speaker shall not change with
/// every syllable.
const RELEASE: f32 = 0.08;

/// How fast the noise floor rises, in dB a frame: 5 dB a second, so that a
/// talker does not become noise within a sentence.
const FLOOR_RISE: f32 = 5.0 * FRAME_MS as f32 / 1000.0;

/// Part of the way that the floor goes down in a frame.
const FLOOR_FALL: f32 = 0.3;

/// Level of a stream, followed from frame to frame.
#[derive(Debug, Clone)]
pub struct Level {
    /// In dBov.
    smoothed: f32,
    /// The noise floor, in dBov.
    floor: f32,
    /// Frames that still count as speech.
    hang_over: u32,
}

/// What one frame measures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FrameLevel {
    /// Of this frame, in -dBov: 0 is the loudest, 127 silence (RFC 6464 section 3).
    pub level: u8,
    /// The same, smoothed: what to compare speakers by.
    pub smoothed: u8,
    /// The greatest sample, without its sign.
    pub peak: u16,
    /// Somebody speaks.
    pub voice: bool,
}

impl Default for Level {
    fn default() -> Self {
        Level {
            smoothed: -f32::from(SILENCE),
            floor: HIGHEST_NOISE - SPEECH_OVER_NOISE,
            hang_over: 0,
        }
    }
}

impl Level {
    /// Measures the next frame; an empty one is silence.
    pub fn frame(&mut self, samples: &[i16]) -> FrameLevel {
        let (mean_square, peak) = measure(samples);
        let dbov = dbov(mean_square);

        let part = if dbov > self.smoothed {
            ATTACK
        } else {
            RELEASE
        };
        self.smoothed += part * (dbov - self.smoothed);

        let loud = dbov >= SOFTEST_SPEECH && dbov >= self.floor + SPEECH_OVER_NOISE;
        self.hang_over = match loud {
            true => HANG_OVER_FRAMES + 1,
            false => self.hang_over.saturating_sub(1),
        };
        if dbov < self.floor {
            self.floor += FLOOR_FALL * (dbov - self.floor);
        } else {
            self.floor = (self.floor + FLOOR_RISE).min(dbov).min(HIGHEST_NOISE);
        }
        FrameLevel {
            level: audio_level(dbov),
            smoothed: audio_level(self.smoothed),
            peak,
            voice: self.hang_over > 0,
        }
    }
}

/// The mean square and the peak. Sums without a branch, for the compiler to
/// do several samples at a time; 960 squares fit in 64 bits by far.
fn measure(samples: &[i16]) -> (f32, u16) {
    let mut energy = 0i64;
    let mut peak = 0u16;
    for part in samples.chunks(16) {
        // Two squares of the greatest sample fit in a u32, sixteen do not.
        let mut sum = 0i64;
        for sample in part {
            sum += i64::from(i32::from(*sample) * i32::from(*sample));
            peak = peak.max(sample.unsigned_abs());
        }
        energy += sum;
    }
    (energy as f32 / samples.len().max(1) as f32, peak)
}

/// RMS against the overload point, which is a square wave at full scale (RFC
/// 6464 section 3 after RFC 6465 appendix A.1), in dBov.
fn dbov(mean_square: f32) -> f32 {
    let full_scale = f32::from(i16::MAX) * f32::from(i16::MAX);
    let least = -f32::from(SILENCE);
    (10.0 * (mean_square / full_scale).log10()).clamp(least, 0.0)
}

/// As the header extension states it.
fn audio_level(dbov: f32) -> u8 {
    (-dbov).round().clamp(0.0, f32::from(SILENCE)) as u8
}

/// What begins or is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alarm<T> {
    /// It lasts for the configured time by now.
    Begins(T),
    /// It is over, after this time in all.
    Over(Duration),
}

/// Packets come, but nothing is to be heard in them.
#[derive(Debug, Clone)]
pub struct DeadAir {
    quieter_than: u8,
    after_frames: u32,
    silent_frames: u32,
}

impl DeadAir {
    /// Frames of at least this level (in -dBov: 127 is silence) are dead air
    /// once there were `after` of them without a break.
    pub fn new(quieter_than: u8, after: Duration) -> DeadAir {
        let frames = (after.as_millis() / u128::from(FRAME_MS)).max(1);
        DeadAir {
            quieter_than,
            after_frames: u32::try_from(frames).unwrap_or(u32::MAX),
            silent_frames: 0,
        }
    }

    /// Takes the next 20 ms: the level of what was received, or none if there
    /// were no packets, which is neither sound nor silence and changes nothing.
    pub fn frame(&mut self, level: Option<u8>) -> Option<Alarm<()>> {
        let level = level?;
        if level >= self.quieter_than {
            let before = self.silent_frames;
            self.silent_frames = before.saturating_add(1);
            let begins = before < self.after_frames && self.silent_frames >= self.after_frames;
            return begins.then_some(Alarm::Begins(()));
        }
        let silent = std::mem::take(&mut self.silent_frames);
        let lasted = Duration::from_millis(u64::from(silent) * u64::from(FRAME_MS));
        (silent >= self.after_frames).then_some(Alarm::Over(lasted))
    }
}

/// What went each way in one second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SecondOfTraffic {
    /// Packets that came from the peer.
    pub packets_received: u32,
    /// Packets that went to it.
    pub packets_sent: u32,
    /// Something was to be heard in what came.
    pub sound_received: bool,
    /// Something was to be heard in what went out.
    pub sound_sent: bool,
}

/// The direction that carries nothing, seen from the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Missing {
    /// Nothing comes from the peer, while sound goes to it.
    Received,
    /// Nothing goes to the peer, while sound comes from it.
    Sent,
}

impl Missing {
    /// The word of the API.
    pub fn label(self) -> &'static str {
        match self {
            Missing::Received => "received",
            Missing::Sent => "sent",
        }
    }
}

/// A call in which only one side is heard.
#[derive(Debug, Clone)]
pub struct OneWay {
    after_seconds: u32,
    current: Option<(Missing, u32)>,
}

impl OneWay {
    /// Tells of it once it lasts for `after`, counted in whole seconds.
    pub fn new(after: Duration) -> OneWay {
        OneWay {
            after_seconds: u32::try_from(after.as_secs()).unwrap_or(u32::MAX).max(1),
            current: None,
        }
    }

    /// Takes the next second. In a second in which the carrying side pauses too
    /// nothing is known, so it neither counts nor ends anything.
    pub fn second(&mut self, traffic: SecondOfTraffic) -> Option<Alarm<Missing>> {
        let received = traffic.packets_received > 0 && traffic.sound_received;
        let sent = traffic.packets_sent > 0 && traffic.sound_sent;
        let missing = match (received, sent) {
            (true, true) => None,
            (true, false) => Some(Missing::Sent),
            (false, true) => Some(Missing::Received),
            (false, false) => return None,
        };
        let before = self.current;
        // What was missing is there again, even if the other way now is not.
        let ended = before.filter(|(was, _)| missing != Some(*was));
        self.current = missing.map(|missing| match before {
            Some((was, seconds)) if was == missing => (was, seconds.saturating_add(1)),
            _ => (missing, 1),
        });
        if let Some((_, seconds)) = ended
            && seconds >= self.after_seconds
        {
            return Some(Alarm::Over(Duration::from_secs(u64::from(seconds))));
        }
        match self.current {
            // Counted up or begun anew; with one second it can be both at once.
            Some((missing, seconds)) if seconds == self.after_seconds => {
                Some(Alarm::Begins(missing))
            }
            Some(_) | None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(amplitude: i16) -> Vec<i16> {
        (0..160)
            .map(|at| if at % 8 < 4 { amplitude } else { -amplitude })
            .collect()
    }

    #[test]
    fn the_level_is_that_of_rfc_6464() {
        let of = |samples: &[i16]| Level::default().frame(samples);
        assert_eq!(of(&square(i16::MAX)).level, 0);
        assert_eq!(of(&square(3277)).level, 20);
        assert_eq!(of(&square(1)).level, 90);
        assert_eq!(of(&[0; 160]).level, 127);
        assert_eq!(of(&[]).level, 127);
        assert_eq!(of(&[i16::MIN; 960]).peak, 32768);
        // A sine at full scale has half the power of the overload point.
        let sine: Vec<i16> = (0..160)
            .map(|at| (32767.0 * (std::f32::consts::TAU * at as f32 / 16.0).sin()) as i16)
            .collect();
        assert_eq!(of(&sine).level, 3);
    }

    #[test]
    fn the_smoothed_level_rises_at_once_and_falls_slowly() {
        let mut level = Level::default();
        let rise: Vec<u8> = (0..8)
            .map(|_| level.frame(&square(3277)).smoothed)
            .collect();
        assert_eq!(rise, [73, 47, 33, 27, 23, 22, 21, 20]);
        let fall: Vec<u8> = (0..4).map(|_| level.frame(&[0; 160]).smoothed).collect();
        assert_eq!(fall, [29, 37, 44, 51]);
    }

    #[test]
    fn speech_is_told_from_steady_noise_and_lasts_through_a_gap() {
        let mut level = Level::default();
        for _ in 0..500 {
            level.frame(&square(100));
        }
        assert!(!level.frame(&square(100)).voice, "noise of -50 dBov");
        assert!(level.frame(&square(1000)).voice);
        let after: Vec<bool> = (0..16).map(|_| level.frame(&square(100)).voice).collect();
        assert_eq!(after, [[true; 15].as_slice(), &[false]].concat());
        // A talker does not become noise within five seconds.
        for second in 0..5 {
            for frame in 0..50 {
                let syllable = frame % 10 < 6;
                level.frame(&square(if syllable { 2000 } else { 100 }));
            }
            assert!(level.frame(&square(2000)).voice, "{second}");
        }
    }

    #[test]
    fn noise_that_begins_is_taken_for_speech_only_for_a_while() {
        let mut level = Level::default();
        for _ in 0..100 {
            level.frame(&[0; 160]);
        }
        let voiced = (0..1500)
            .filter(|_| level.frame(&square(200)).voice)
            .count();
        // From -127 to -53 dBov at 5 dB a second, and the hang-over.
        assert!((700..=780).contains(&voiced), "{voiced}");
    }

    #[test]
    fn dead_air_is_told_once_and_when_it_is_over() {
        let mut dead_air = DeadAir::new(60, Duration::from_secs(2));
        let mut told = Vec::new();
        for frame in 0..300 {
            let level = match frame {
                0..50 => Some(30),
                // Packets stop for a second in the middle of silence.
                100..150 => None,
                250.. => Some(40),
                _ => Some(70),
            };
            told.extend(dead_air.frame(level).map(|alarm| (frame, alarm)));
        }
        let lasted = Duration::from_secs(3);
        assert_eq!(told, [(199, Alarm::Begins(())), (250, Alarm::Over(lasted))]);
    }

    #[test]
    fn a_short_silence_is_no_dead_air() {
        let mut dead_air = DeadAir::new(60, Duration::from_secs(1));
        for frame in 0..500 {
            let level = if frame % 50 == 0 { 30 } else { 127 };
            assert_eq!(dead_air.frame(Some(level)), None);
        }
    }

    fn second(received: bool, sent: bool) -> SecondOfTraffic {
        SecondOfTraffic {
            packets_received: if received { 50 } else { 0 },
            packets_sent: if sent { 50 } else { 0 },
            sound_received: received,
            sound_sent: sent,
        }
    }

    #[test]
    fn one_way_sound_is_told_once_with_its_direction_and_its_end() {
        let mut one_way = OneWay::new(Duration::from_secs(3));
        assert_eq!(one_way.second(second(false, true)), None);
        assert_eq!(one_way.second(second(false, true)), None);
        // Nobody speaks: nothing is known.
        assert_eq!(one_way.second(second(false, false)), None);
        assert_eq!(
            one_way.second(second(false, true)),
            Some(Alarm::Begins(Missing::Received))
        );
        assert_eq!(one_way.second(second(false, true)), None);
        assert_eq!(
            one_way.second(second(true, true)),
            Some(Alarm::Over(Duration::from_secs(4)))
        );
        assert_eq!(one_way.second(second(true, true)), None);
    }

    #[test]
    fn packets_without_sound_carry_nothing_and_turns_are_no_one_way_call() {
        let mut one_way = OneWay::new(Duration::from_secs(2));
        let silent = SecondOfTraffic {
            sound_sent: false,
            ..second(true, true)
        };
        assert_eq!(one_way.second(silent), None);
        assert_eq!(one_way.second(silent), Some(Alarm::Begins(Missing::Sent)));
        let mut one_way = OneWay::new(Duration::from_secs(2));
        for _ in 0..10 {
            assert_eq!(one_way.second(second(true, false)), None);
            assert_eq!(one_way.second(second(false, true)), None);
        }
    }
}
