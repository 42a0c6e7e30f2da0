//! Opus in Ogg (RFC 7845): a page of sound about every second.

use std::io::{Read, Seek, SeekFrom, Write};

use opus::{Application, Bitrate, Encoder};

use super::super::codec::opus::COMPLEXITY;
use super::super::format::SampleRate;
use super::ogg_page::{self, Page};
use super::{Channels, FileError, Repaired};

/// Samples of one channel in a packet of 20 ms.
const PACKET: u64 = SampleRate::Full.frame_samples() as u64;
/// Longest packet of 20 ms (RFC 6716 section 3.2.1: a frame has 1275 bytes at most).
const MAX_PACKET: usize = 1276;
/// Per channel: two voices that have nothing in common share nothing.
const BITS_PER_SECOND: i32 = 32_000;

/// Writes one file.
pub struct OggOpusWriter<W> {
    out: W,
    encoder: Encoder,
    channels: Channels,
    serial: u32,
    /// Number of the next page.
    sequence: u32,
    /// Samples that a decoder drops at the start (section 4.2).
    pre_skip: u64,
    /// Packets made.
    packets: u64,
    page: Page,
    packet: Vec<u8>,
}

impl<W: Write + Seek> OggOpusWriter<W> {
    pub(super) fn create(channels: Channels, serial: u32, out: W) -> Result<Self, FileError> {
        let mut encoder = encoder(channels).map_err(|_| FileError::Codec)?;
        let pre_skip = encoder.get_lookahead().map_err(|_| FileError::Codec)?;
        let mut writer = OggOpusWriter {
            out,
            encoder,
            channels,
            serial,
            sequence: 0,
            pre_skip: pre_skip.unsigned_abs().into(),
            packets: 0,
            page: Page::default(),
            packet: vec![0; MAX_PACKET],
        };
        // Section 3: the header packets have a page of their own each, at position 0.
        let head = head(channels, pre_skip as u16);
        writer.page.push(&head);
        writer.write_page(ogg_page::FIRST, 0)?;
        writer.page.push(&tags());
        writer.write_page(0, 0)?;
        writer.out.flush()?;
        Ok(writer)
    }

    pub(super) fn frame(&mut self, samples: &[i16]) -> Result<(), FileError> {
        let length = self
            .encoder
            .encode(samples, &mut self.packet)
            .map_err(|_| FileError::Codec)?;
        if !self.page.has_room(length) {
            self.write_page(0, self.packets * PACKET)?;
        }
        self.page.push(&self.packet[..length]);
        self.packets += 1;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), FileError> {
        if !self.page.is_empty() {
            self.write_page(0, self.packets * PACKET)?;
            self.out.flush()?;
        }
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, FileError> {
        // Section 4.4: the last page's position says where sound ends. What the
        // encoder still holds back comes out behind silence.
        let end = self.packets * PACKET + self.pre_skip;
        let silence = vec![0; PACKET as usize * self.channels.count()];
        while self.packets * PACKET < end {
            self.frame(&silence)?;
        }
        self.write_page(ogg_page::LAST, end)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Section 4: a position counts every sample that a decoder puts out, those
    /// it is to drop too.
    fn write_page(&mut self, flags: u8, granule: u64) -> Result<(), FileError> {
        let page = self.page.take(flags, granule, self.serial, self.sequence);
        self.sequence += 1;
        self.out.write_all(&page)?;
        Ok(())
    }
}

fn encoder(channels: Channels) -> Result<Encoder, opus::Error> {
    let opus_channels = match channels {
        Channels::Mono => opus::Channels::Mono,
        Channels::Stereo => opus::Channels::Stereo,
    };
    let rate = SampleRate::Full.hertz();
    let mut encoder = Encoder::new(rate, opus_channels, Application::Voip)?;
    encoder.set_bitrate(Bitrate::Bits(BITS_PER_SECOND * channels.count() as i32))?;
    encoder.set_complexity(COMPLEXITY)?;
    // Else two channels that are alike for a while become one.
    encoder.set_force_channels(Some(opus_channels))?;
    Ok(encoder)
}

/// Section 5.1.
fn head(channels: Channels, pre_skip: u16) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(channels.count() as u8);
    head.extend_from_slice(&pre_skip.to_le_bytes());
    head.extend_from_slice(&SampleRate::Full.hertz().to_le_bytes());
    // No gain; mapping family 0: one stream, mono or stereo.
    head.extend_from_slice(&[0, 0, 0]);
    head
}

/// Section 5.2: who made it, and no comments.
fn tags() -> Vec<u8> {
    let vendor = concat!("ringwire ", env!("CARGO_PKG_VERSION"));
    let mut tags = b"OpusTags".to_vec();
    tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
    tags.extend_from_slice(vendor.as_bytes());
    tags.extend_from_slice(&0_u32.to_le_bytes());
    tags
}

/// Longest page there is.
const MAX_PAGE: usize = ogg_page::HEADER + ogg_page::MAX_SEGMENTS * 256;

/// Makes the last page that is whole the end of the stream.
pub(super) fn repair(file: &mut (impl Read + Write + Seek)) -> Result<Repaired, FileError> {
    let mut pages = 0;
    let mut pre_skip = 0;
    let mut at = 0;
    let mut last: Option<(u64, Vec<u8>)> = None;
    let mut window = Vec::new();
    loop {
        file.seek(SeekFrom::Start(at))?;
        window.clear();
        file.take(MAX_PAGE as u64).read_to_end(&mut window)?;
        let page = ogg_page::length(&window).and_then(|length| window.get(..length));
        let Some(page) = page.filter(|page| ogg_page::is_sound(page)) else {
            break;
        };
        if pages == 0 {
            let head = ogg_page::body(page);
            let Some(&[low, high]) = head.get(10..12) else {
                return Err(FileError::Empty);
            };
            pre_skip = u64::from(u16::from_le_bytes([low, high]));
        }
        pages += 1;
        let page = page.to_vec();
        let length = page.len() as u64;
        last = Some((at, page));
        at += length;
    }
    // Head and tags are no sound.
    let Some((start, mut page)) = last.filter(|_| pages > 2) else {
        return Err(FileError::Empty);
    };
    ogg_page::set_last(&mut page);
    file.seek(SeekFrom::Start(start))?;
    file.write_all(&page)?;
    file.flush()?;
    let samples = ogg_page::granule(&page).saturating_sub(pre_skip);
    Ok(Repaired {
        length: at,
        duration_ms: samples * 1000 / u64::from(SampleRate::Full.hertz()),
    })
}
