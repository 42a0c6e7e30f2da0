//! Opus (RFC 6716) by libopus, as RTP carries it (RFC 7587).

use opus::{Application, Bandwidth, Bitrate, Channels, packet};

use super::{CodecError, OpusParameters};
use crate::sound::format::SampleRate;

/// Longest packet, in ms (RFC 6716 section 3.1, R5).
const MAX_PACKET_MS: u32 = 120;

/// The encoder's effort, 0 to 10. Below 6 it is heard (0.2 of a PESQ point from
/// 5 to 6 for a tenth more time); from 6 to 8 it is 0.1 of a point for a third
/// more. `docs/PERFORMANCE.md` has the figures.
pub const COMPLEXITY: i32 = 6;

/// What is taken for lost before the far end has reported, in percent: enough
/// for FEC to be there at the first loss.
const INITIAL_LOSS: i32 = 5;

/// Lowest and highest `maxaveragebitrate` (RFC 7587 section 6.1), in bit/s.
const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=510_000;

/// What the usual encoder (`OPUS_APPLICATION_VOIP` and `_AUDIO`) looks ahead, and
/// with it the pre-skip that it asks for, in µs (RFC 7845 section 4.2).
pub const DELAY_MICROS: u32 = 6_500;

/// Longest payload that we call DTX: libopus gives at most 2 octets for a
/// frame that need not be sent.
const DTX_OCTETS: usize = 2;

/// Decodes to mono at one of our rates, which libopus does without resampling.
pub struct Decoder {
    inner: opus::Decoder,
    rate: SampleRate,
}

impl Decoder {
    /// A decoder that has heard nothing.
    pub fn new(rate: SampleRate) -> Result<Decoder, CodecError> {
        let inner = opus::Decoder::new(rate.hertz(), Channels::Mono).map_err(error)?;
        Ok(Decoder { inner, rate })
    }

    /// Appends what the packet holds.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) -> Result<usize, CodecError> {
        let samples = packet_samples(payload, self.rate).ok_or(CodecError::InvalidPayload)?;
        self.decode_into(payload, samples, false, out)
    }

    /// Appends the `samples` before `next`, out of its in-band FEC; 0 without.
    pub fn decode_fec(
        &mut self,
        next: &[u8],
        samples: usize,
        out: &mut Vec<i16>,
    ) -> Result<usize, CodecError> {
        if samples == 0 || !has_fec(next) {
            return Ok(0);
        }
        let frame = packet::get_samples_per_frame(next, self.rate.hertz()).map_err(error)?;
        // libopus conceals what is before the redundant frame, and decodes none
        // when it is asked for less than that frame: the end is what is wanted.
        let asked = self.whole_steps(samples).max(frame);
        let begin = out.len();
        self.decode_into(next, asked, true, out)?;
        out.drain(begin..begin + asked - samples);
        Ok(samples)
    }

    /// Appends `samples` by libopus' own concealment.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<i16>) {
        let begin = out.len();
        let asked = self.whole_steps(samples);
        // libopus refuses none of these lengths; silence if it did.
        if asked > 0 && self.decode_into(&[], asked, false, out).is_err() {
            out.truncate(begin);
        }
        out.resize(begin + samples, 0);
    }

    fn decode_into(
        &mut self,
        payload: &[u8],
        samples: usize,
        fec: bool,
        out: &mut Vec<i16>,
    ) -> Result<usize, CodecError> {
        let begin = out.len();
        out.resize(begin + samples, 0);
        let decoded = self.inner.decode(payload, &mut out[begin..], fec);
        out.truncate(begin + *decoded.as_ref().unwrap_or(&0));
        decoded.map_err(error)
    }

    /// Up to whole steps of 2.5 ms, in which libopus counts.
    fn whole_steps(&self, samples: usize) -> usize {
        samples.next_multiple_of((self.rate.hertz() / 400) as usize)
    }
}

/// Duration of a packet in samples at `rate`; `None` when it is none.
pub fn packet_samples(payload: &[u8], rate: SampleRate) -> Option<usize> {
    if payload.is_empty() {
        return None;
    }
    let samples = packet::get_nb_samples(payload, rate.hertz()).ok()?;
    (1..=(rate.hertz() / 1000 * MAX_PACKET_MS) as usize)
        .contains(&samples)
        .then_some(samples)
}

/// Whether the packet carries the frame before it once more: the LBRR flag of
/// its first SILK frame (RFC 6716 section 4.2.3).
pub fn has_fec(payload: &[u8]) -> bool {
    let Some(&toc) = payload.first() else {
        return false;
    };
    // Section 3.1: configurations from 16 on are CELT alone.
    if toc >> 3 >= 16 {
        return false;
    }
    let Ok(parsed) = packet::parse(payload) else {
        return false;
    };
    let Some(&flags) = parsed.frames.first().and_then(|frame| frame.first()) else {
        return false;
    };
    let Ok(samples) = packet::get_samples_per_frame(payload, 48_000) else {
        return false;
    };
    // One flag of voice activity for each 20 ms, then that of LBRR; in stereo
    // the same again for the side channel.
    let silk_frames = samples.div_ceil(960);
    let middle = flags >> (7 - silk_frames) & 1 == 1;
    let stereo = toc & 4 != 0;
    let side = stereo
        && 6usize
            .checked_sub(2 * silk_frames)
            .is_some_and(|bit| flags >> bit & 1 == 1);
    middle || side
}

/// Encodes mono frames of 20 ms as the far end wants them.
pub struct Encoder {
    inner: opus::Encoder,
    dtx: bool,
}

impl Encoder {
    /// An encoder for sound at `rate`.
    pub fn new(rate: SampleRate, wanted: OpusParameters) -> Result<Encoder, CodecError> {
        let mut inner =
            opus::Encoder::new(rate.hertz(), Channels::Mono, Application::Voip).map_err(error)?;
        let usual = usual_bitrate(rate, wanted.in_band_fec);
        let bitrate = match wanted.max_average_bitrate {
            Some(highest) => usual.min(highest.clamp(*BITRATES.start(), *BITRATES.end())),
            None => usual,
        };
        inner
            .set_bitrate(Bitrate::Bits(bitrate as i32))
            .map_err(error)?;
        inner.set_complexity(COMPLEXITY).map_err(error)?;
        inner.set_vbr(!wanted.constant_bitrate).map_err(error)?;
        inner.set_inband_fec(wanted.in_band_fec).map_err(error)?;
        inner.set_dtx(wanted.dtx).map_err(error)?;
        if wanted.in_band_fec {
            inner.set_packet_loss_perc(INITIAL_LOSS).map_err(error)?;
        }
        if let Some(playback) = wanted.max_playback_rate {
            inner
                .set_max_bandwidth(bandwidth(playback))
                .map_err(error)?;
        }
        Ok(Encoder {
            inner,
            dtx: wanted.dtx,
        })
    }

    /// The length of the payload written to `out`; 0 when nothing is to be sent.
    pub fn encode(&mut self, frame: &[i16], out: &mut [u8]) -> Result<usize, CodecError> {
        let length = self.inner.encode(frame, out).map_err(error)?;
        Ok(if self.dtx && length <= DTX_OCTETS {
            0
        } else {
            length
        })
    }

    /// Loss to expect, in percent.
    pub fn set_expected_loss(&mut self, percent: u8) {
        // libopus takes every value from 0 to 100.
        let _ = self.inner.set_packet_loss_perc(i32::from(percent.min(100)));
    }
}

/// Where speech of each bandwidth sounds best for its bits (RFC 7587 section
/// 3.1.1), in bit/s. libopus leaves FEC out where it has no room for it, and
/// for the losses that we expect at first it needs this much more.
fn usual_bitrate(rate: SampleRate, fec: bool) -> u32 {
    match (rate, fec) {
        (SampleRate::Narrow, false) => 12_000,
        (SampleRate::Narrow, true) => 20_000,
        (SampleRate::Wide, false) => 20_000,
        (SampleRate::Wide, true) => 26_000,
        (SampleRate::Full, false) => 32_000,
        (SampleRate::Full, true) => 36_000,
    }
}

/// The bandwidth that a playback rate in Hz can make use of (RFC 7587 section 6.1).
fn bandwidth(playback: u32) -> Bandwidth {
    match playback {
        0..=8_000 => Bandwidth::Narrowband,
        8_001..=12_000 => Bandwidth::Mediumband,
        12_001..=16_000 => Bandwidth::Wideband,
        16_001..=24_000 => Bandwidth::Superwideband,
        _ => Bandwidth::Fullband,
    }
}

fn error(error: opus::Error) -> CodecError {
    match error.code() {
        opus::ErrorCode::InvalidPacket => CodecError::InvalidPayload,
        opus::ErrorCode::BufferTooSmall => CodecError::BufferTooSmall,
        _ => CodecError::Library,
    }
}
