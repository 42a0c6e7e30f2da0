//! One recording: frames by index become a file without holes.

use std::io::{Seek, Write};

use crate::sound::file::{Channels, FileError, FileFormat, SoundFile};
use crate::sound::format::{FRAME_MS, MAX_FRAME_SAMPLES, SampleRate};
use crate::sound::resample::Resampler;
use crate::store::recordings::Span;

use super::handle::{Frame, Lost};

/// Frames between two flushes: a second of sound.
const FLUSH_FRAMES: u64 = 50;
/// Stretches kept of each kind; what comes later makes the last one longer.
const MAX_SPANS: usize = 1_000;

pub(super) struct Track<W> {
    file: SoundFile<W>,
    format: FileFormat,
    channels: Channels,
    /// The index that comes next.
    next: u64,
    /// Frames in the file.
    written: u64,
    /// Of these, flushed.
    flushed: u64,
    paused_since: Option<u64>,
    gaps: Spans,
    pauses: Spans,
    /// Left (or all), right.
    sides: [Side; 2],
    samples: Vec<i16>,
}

/// One side's way to the file's rate.
#[derive(Default)]
struct Side {
    /// Of the rate that the last frame had; none behind silence.
    resampler: Option<(SampleRate, Resampler)>,
    given: Vec<i16>,
    samples: Vec<i16>,
}

/// Stretches, in the order of the file.
#[derive(Default)]
struct Spans {
    list: Vec<Span>,
    changed: bool,
}

impl<W: Write + Seek> Track<W> {
    pub fn new(
        format: FileFormat,
        channels: Channels,
        serial: u32,
        out: W,
    ) -> Result<Self, FileError> {
        Ok(Track {
            file: SoundFile::create(format, channels, serial, out)?,
            format,
            channels,
            next: 0,
            written: 0,
            flushed: 0,
            paused_since: None,
            gaps: Spans::default(),
            pauses: Spans::default(),
            sides: Default::default(),
            samples: Vec::with_capacity(MAX_FRAME_SAMPLES * channels.count()),
        })
    }

    /// What it plays by now, in ms.
    pub fn duration_ms(&self) -> u64 {
        milliseconds(self.written)
    }

    pub fn gaps(&self) -> &[Span] {
        &self.gaps.list
    }

    pub fn pauses(&self) -> &[Span] {
        &self.pauses.list
    }

    /// Whether gaps or pauses have changed since this was asked last.
    pub fn spans_changed(&mut self) -> bool {
        std::mem::take(&mut self.gaps.changed) | std::mem::take(&mut self.pauses.changed)
    }

    pub fn frame(&mut self, frame: &Frame) -> Result<(), FileError> {
        // Its place is taken: by silence, or by the frame that came before.
        if frame.index < self.next {
            return Ok(());
        }
        self.advance(frame.index)?;
        self.next = frame.index + 1;
        if self.paused_since.is_some() {
            return Ok(());
        }
        self.convert(frame);
        self.write()
    }

    /// Silence in the place of frames that found no room.
    pub fn lost(&mut self, lost: Lost) -> Result<(), FileError> {
        self.advance(lost.from)?;
        let from = self.written;
        self.advance(lost.until)?;
        self.gaps.add(from, self.written - from);
        Ok(())
    }

    pub fn pause(&mut self, index: u64) -> Result<(), FileError> {
        if self.paused_since.is_none() {
            self.advance(index)?;
            self.paused_since = Some(self.next);
        }
        Ok(())
    }

    pub fn resume(&mut self, index: u64) -> Result<(), FileError> {
        self.advance(index)?;
        if let Some(since) = self.paused_since.take() {
            self.pauses.add(self.written, self.next - since);
        }
        Ok(())
    }

    /// Brings what is older than a second into the file.
    pub fn flush_due(&mut self) -> Result<(), FileError> {
        if self.written - self.flushed >= FLUSH_FRAMES {
            return self.flush();
        }
        Ok(())
    }

    pub fn flush(&mut self) -> Result<(), FileError> {
        if self.written > self.flushed {
            self.file.flush()?;
            self.flushed = self.written;
        }
        Ok(())
    }

    /// Brings it to its whole length.
    pub fn stop(&mut self, frames: Option<u64>) -> Result<(), FileError> {
        self.resume(frames.unwrap_or(self.next))
    }

    pub fn finish(self) -> Result<W, FileError> {
        self.file.finish()
    }

    /// Silence up to before this index; nothing while paused.
    fn advance(&mut self, index: u64) -> Result<(), FileError> {
        if self.paused_since.is_some() {
            self.next = self.next.max(index);
        }
        while self.next < index {
            self.next += 1;
            let frame = self.format.rate().frame_samples();
            self.samples.clear();
            self.samples.resize(frame * self.channels.count(), 0);
            for side in &mut self.sides {
                side.resampler = None;
            }
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), FileError> {
        self.file.frame(&self.samples)?;
        self.written += 1;
        self.flush_due()
    }

    /// Makes `samples` of a frame: at the file's rate, with the file's channels.
    fn convert(&mut self, frame: &Frame) {
        let (left, right) = frame.samples.split_at(frame.left.min(frame.samples.len()));
        let [first, second] = &mut self.sides;
        first.give(frame.rate, left);
        second.give(frame.rate, right);
        let to = self.format.rate();
        self.samples.clear();
        match self.channels {
            Channels::Mono => {
                for (left, right) in first.given.iter_mut().zip(&second.given) {
                    *left = left.saturating_add(*right);
                }
                first.resample(frame.rate, to);
                self.samples.extend_from_slice(&first.samples);
            }
            Channels::Stereo => {
                first.resample(frame.rate, to);
                second.resample(frame.rate, to);
                let pairs = first.samples.iter().zip(&second.samples);
                self.samples
                    .extend(pairs.flat_map(|(left, right)| [left, right]));
            }
        }
    }
}

impl Side {
    /// Takes a frame; what it lacks or has too much does not move what follows.
    fn give(&mut self, rate: SampleRate, samples: &[i16]) {
        let length = rate.frame_samples();
        self.given.clear();
        self.given.extend(samples.iter().take(length));
        self.given.resize(length, 0);
    }

    fn resample(&mut self, from: SampleRate, to: SampleRate) {
        let resampler = match &mut self.resampler {
            Some((rate, resampler)) if *rate == from => resampler,
            other => &mut other.insert((from, Resampler::new(from, to))).1,
        };
        self.samples.clear();
        resampler.process(&self.given, &mut self.samples);
    }
}

impl Spans {
    /// `at` and `frames` in frames of the file.
    fn add(&mut self, at: u64, frames: u64) {
        if frames == 0 {
            return;
        }
        let (at_ms, duration_ms) = (milliseconds(at), milliseconds(frames));
        self.changed = true;
        let full = self.list.len() >= MAX_SPANS;
        match self.list.last_mut() {
            Some(last) if full => last.duration_ms += duration_ms,
            Some(_) | None => self.list.push(Span { at_ms, duration_ms }),
        }
    }
}

fn milliseconds(frames: u64) -> u64 {
    frames * u64::from(FRAME_MS)
}

#[cfg(test)]
mod tests;
