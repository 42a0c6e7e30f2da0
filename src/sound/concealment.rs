//! What stands in for lost sound of the codecs that have no concealment of
//! their own: the last pitch period again and again, fading out.
//!
//! In idea ITU-T G.711 Appendix I, with two differences: nothing is delayed
//! (the appendix holds back 3.75 ms to blend into the loss; here the first
//! quarter of a period bends from the last sample into the repetition), and it
//! works at 8 and 16 kHz.

use super::format::SampleRate;

/// Highest voice pitch looked for: a period of 5 ms, 200 Hz (section I.2.3).
const SHORTEST_PERIOD_MICROS: u32 = 5000;
/// Lowest: 15 ms, 66 Hz.
const LONGEST_PERIOD_MICROS: u32 = 15000;
/// Sound compared to find the pitch: 20 ms.
const COMPARED_MICROS: u32 = 20000;
/// Sound kept: three of the longest periods and the quarter that leads over to
/// them, which is more than the longest period and the comparison.
const HISTORY_MICROS: u32 = 49000;
/// Full strength for so long, then down to nothing at [`SILENT_MICROS`].
const FULL_MICROS: u32 = 10000;
/// From here on nothing is made up: repetition of a period only buzzes.
const SILENT_MICROS: u32 = 60000;
/// Blend into the next good frame: 4 ms, and 4 more for each 10 ms lost up to 10 ms.
const LONGEST_BLEND_MICROS: u32 = 10000;

/// Remembers a stream's last sound and continues it.
#[derive(Debug)]
pub struct Concealment {
    rate: u32,
    /// The last sound, newest last; always full.
    history: Vec<i16>,
    loss: Option<Loss>,
    /// What this loss was given instead, as far as it is not silence.
    made_up: Vec<i16>,
}

/// A loss under way.
#[derive(Debug)]
struct Loss {
    /// Samples made up so far.
    concealed: usize,
    /// Length of what is repeated: one to three periods.
    repeated: usize,
    /// One pitch period.
    period: usize,
    /// Where in the repeated stretch the next sample is.
    position: usize,
    /// Step between the last good sample and the repetition, bent away at first.
    step: i32,
}

impl Concealment {
    /// For sound at `rate`, silent before it begins.
    pub fn new(rate: SampleRate) -> Concealment {
        let rate = rate.hertz();
        Concealment {
            rate,
            history: vec![0; samples(rate, HISTORY_MICROS)],
            loss: None,
            made_up: Vec::with_capacity(samples(rate, SILENT_MICROS)),
        }
    }

    /// Takes note of decoded sound; its beginning is blended into when some
    /// was lost before it.
    pub fn good(&mut self, sound: &mut [i16]) {
        if let Some(mut loss) = self.loss.take() {
            let concealed = loss.concealed;
            let grown = concealed * 2 / 5;
            let length = (samples(self.rate, 4000) + grown)
                .min(samples(self.rate, LONGEST_BLEND_MICROS))
                .min(sound.len());
            for (i, sample) in sound.iter_mut().take(length).enumerate() {
                let made_up = i32::from(self.next(&mut loss));
                let good = i32::from(*sample);
                let weight = i as i32 + 1;
                let whole = length as i32 + 1;
                *sample = (made_up + (good - made_up) * weight / whole) as i16;
            }
            self.remember_loss(concealed);
        }
        self.remember(sound);
    }

    /// Appends `count` samples in place of lost ones.
    pub fn conceal(&mut self, count: usize, out: &mut Vec<i16>) {
        let mut loss = match self.loss.take() {
            Some(loss) => loss,
            None => self.begin(),
        };
        let begin = out.len();
        out.extend((0..count).map(|_| self.next(&mut loss)));
        let room = samples(self.rate, SILENT_MICROS).saturating_sub(self.made_up.len());
        self.made_up.extend(out[begin..].iter().take(room));
        self.loss = Some(loss);
    }

    fn begin(&self) -> Loss {
        let period = self.pitch();
        let mut loss = Loss {
            concealed: 0,
            repeated: period,
            period,
            position: 0,
            step: 0,
        };
        let end = self.history.len();
        // The repetition goes on from the sample a period before the last one.
        loss.step = i32::from(self.history[end - 1]) - i32::from(self.history[end - 1 - period]);
        loss
    }

    /// One made-up sample.
    fn next(&self, loss: &mut Loss) -> i16 {
        let fade_begins = samples(self.rate, FULL_MICROS);
        let fade_ends = samples(self.rate, SILENT_MICROS);
        if loss.concealed >= fade_ends {
            return 0;
        }
        if loss.position == loss.repeated {
            loss.repeated = self.repeated_after(loss.concealed, loss.period);
            loss.position = 0;
        }
        let end = self.history.len();
        let begin = end - loss.repeated;
        let quarter = loss.period / 4;
        let mut sample = i32::from(self.history[begin + loss.position]);
        let left = loss.repeated - loss.position;
        if left <= quarter {
            // The end of the stretch leads over to the beginning of the next.
            let next = self.repeated_after(loss.concealed + left, loss.period);
            let before = i32::from(self.history[end - next - left]);
            sample += (before - sample) * (quarter - left + 1) as i32 / (quarter + 1) as i32;
        }
        if loss.concealed < quarter {
            sample += loss.step * (quarter - loss.concealed) as i32 / (quarter + 1) as i32;
        }
        if loss.concealed > fade_begins {
            sample =
                sample * (fade_ends - loss.concealed) as i32 / (fade_ends - fade_begins) as i32;
        }
        loss.position += 1;
        loss.concealed += 1;
        sample.clamp(i32::from(i16::MIN), i32::from(i16::MAX)) as i16
    }

    /// Length of the stretch that begins when so much is made up. Section
    /// I.2.5: after 10 and 20 ms one more period is repeated, or it would sound
    /// like a buzzer.
    fn repeated_after(&self, concealed: usize, period: usize) -> usize {
        (1 + concealed / samples(self.rate, FULL_MICROS)).min(3) * period
    }

    /// The lag at which the last sound is most like what was before it: every
    /// second lag first, over every second sample, then the neighbours.
    fn pitch(&self) -> usize {
        let shortest = samples(self.rate, SHORTEST_PERIOD_MICROS);
        let longest = samples(self.rate, LONGEST_PERIOD_MICROS);
        let coarse = self.best_lag((shortest..=longest).step_by(2), 2);
        let near = (coarse - 1).max(shortest)..=(coarse + 1).min(longest);
        self.best_lag(near, 1)
    }

    fn best_lag(&self, lags: impl Iterator<Item = usize>, step: usize) -> usize {
        let end = self.history.len();
        let compared = samples(self.rate, COMPARED_MICROS);
        let recent = &self.history[end - compared..];
        let mut best = (samples(self.rate, SHORTEST_PERIOD_MICROS), f32::MIN);
        for lag in lags {
            let earlier = &self.history[end - compared - lag..end - lag];
            let mut product = 0.0;
            // Silence is like nothing.
            let mut energy = 1.0;
            for (&a, &b) in recent.iter().zip(earlier).step_by(step) {
                let (a, b) = (f32::from(a), f32::from(b));
                product += a * b;
                energy += b * b;
            }
            let likeness = product / energy.sqrt();
            if likeness > best.1 {
                best = (lag, likeness);
            }
        }
        best.0
    }

    /// The next loss continues what was heard, this one included: without it
    /// the history would have a step where this loss was.
    fn remember_loss(&mut self, concealed: usize) {
        let made_up = std::mem::take(&mut self.made_up);
        self.remember(&made_up);
        let silent = concealed.saturating_sub(made_up.len());
        let silent = silent.min(self.history.len());
        self.history.copy_within(silent.., 0);
        let sounding = self.history.len() - silent;
        self.history[sounding..].fill(0);
        self.made_up = made_up;
        self.made_up.clear();
    }

    fn remember(&mut self, sound: &[i16]) {
        let length = self.history.len();
        if sound.len() >= length {
            self.history.copy_from_slice(&sound[sound.len() - length..]);
        } else {
            self.history.copy_within(sound.len().., 0);
            self.history[length - sound.len()..].copy_from_slice(sound);
        }
    }
}

fn samples(rate: u32, micros: u32) -> usize {
    (rate / 1000 * micros / 1000) as usize
}

#[cfg(test)]
mod tests {
    use std::f64::consts::PI;

    use super::*;

    /// A pulse train's first harmonics.
    fn hum(rate: SampleRate, pitch: f64, samples: usize) -> Vec<i16> {
        (0..samples)
            .map(|i| {
                let time = i as f64 / f64::from(rate.hertz());
                let sum: f64 = (1..=5)
                    .map(|n| (2.0 * PI * pitch * f64::from(n) * time).cos())
                    .sum();
                (sum * 3000.0) as i16
            })
            .collect()
    }

    fn energy(sound: &[i16]) -> f64 {
        sound.iter().map(|&s| f64::from(s).powi(2)).sum()
    }

    #[test]
    fn ten_ms_of_a_steady_voice_are_continued_as_they_would_have_been() {
        for rate in [SampleRate::Narrow, SampleRate::Wide] {
            for pitch in [80.0, 100.0, 160.0, 200.0] {
                let ten = rate.hertz() as usize / 100;
                let voice = hum(rate, pitch, 11 * ten);
                let (mut heard, lost) = (voice[..10 * ten].to_vec(), &voice[10 * ten..]);
                let mut concealment = Concealment::new(rate);
                concealment.good(&mut heard);
                let mut made_up = Vec::new();
                concealment.conceal(ten, &mut made_up);
                let wrong: Vec<i16> = made_up.iter().zip(lost).map(|(a, b)| a - b).collect();
                let ratio = 10.0 * (energy(lost) / energy(&wrong).max(1.0)).log10();
                println!("{rate:?} {pitch} Hz: {ratio:.1} dB");
                assert!(ratio > 60.0, "{rate:?} {pitch} Hz: {ratio:.1} dB");
            }
        }
    }

    #[test]
    fn a_long_loss_fades_and_is_silent_after_60_ms() {
        let mut concealment = Concealment::new(SampleRate::Narrow);
        concealment.good(&mut hum(SampleRate::Narrow, 100.0, 800));
        let mut frames = Vec::new();
        for _ in 0..5 {
            let mut frame = Vec::new();
            concealment.conceal(160, &mut frame);
            frames.push(frame);
        }
        let energies: Vec<f64> = frames.iter().map(|frame| energy(frame)).collect();
        assert!(energies[0] > energies[1] && energies[1] > energies[2]);
        assert_eq!(energies[3..], [0.0, 0.0]);
    }

    #[test]
    fn the_way_into_a_loss_and_out_of_it_has_no_step() {
        let voice = hum(SampleRate::Narrow, 110.0, 1600);
        let steepest = |sound: &[i16]| {
            sound
                .windows(2)
                .map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs())
                .max()
        };
        for lost in [80, 160, 320, 560] {
            let mut concealment = Concealment::new(SampleRate::Narrow);
            let mut heard = voice[..800].to_vec();
            concealment.good(&mut heard);
            concealment.conceal(lost, &mut heard);
            let mut next = voice[800 + lost..][..160].to_vec();
            concealment.good(&mut next);
            heard.extend(next);
            assert!(
                steepest(&heard) <= steepest(&voice).map(|step| step * 3 / 2),
                "{lost} lost: {:?} against {:?}",
                steepest(&heard),
                steepest(&voice)
            );
        }
    }

    #[test]
    fn good_sound_after_good_sound_is_left_alone() {
        let mut concealment = Concealment::new(SampleRate::Wide);
        let voice = hum(SampleRate::Wide, 90.0, 640);
        let mut heard = voice.clone();
        concealment.good(&mut heard[..320]);
        concealment.good(&mut heard[320..]);
        assert_eq!(heard, voice);
    }

    #[test]
    fn a_loss_before_any_sound_is_silence() {
        let mut concealment = Concealment::new(SampleRate::Wide);
        let mut out = Vec::new();
        concealment.conceal(320, &mut out);
        assert_eq!(out, [0; 320]);
    }
}
