//! WAV: a RIFF header of 80 bytes, then 16 bit PCM. The header's sizes are
//! brought up to date at every flush.
//!
//! A size of RIFF has 32 bits. What grows beyond becomes RF64 where it lies:
//! the header has kept a place for the sizes of 64 bits, a chunk that readers
//! pass over until then (EBU Tech 3306 section 4).

use std::io::{Read, Seek, SeekFrom, Write};

use super::super::format::SampleRate;
use super::{Channels, FileError, Repaired};

/// RIFF header, kept place (`JUNK` or `ds64`), `fmt ` chunk, head of the `data`
/// chunk.
const HEADER: usize = 80;
/// The same without the kept place, as earlier versions wrote it: 4 GiB at
/// most.
const SHORT_HEADER: usize = 44;
/// Length of a `ds64` chunk without a table (EBU Tech 3306 annex A).
const DS64: u32 = 28;
const BYTES_PER_SAMPLE: u16 = 2;
/// In the place of a size: it is in the `ds64` chunk.
const ELSEWHERE: u32 = u32::MAX;

/// Writes one file.
pub struct WavWriter<W> {
    out: W,
    header: [u8; HEADER],
    /// Bytes of PCM in the file.
    written: u64,
    /// PCM that is not in the file yet.
    pending: Vec<u8>,
}

impl<W: Write + Seek> WavWriter<W> {
    pub(super) fn create(
        channels: Channels,
        rate: SampleRate,
        mut out: W,
    ) -> Result<Self, FileError> {
        let header = header(channels, rate);
        out.write_all(&header)?;
        Ok(WavWriter {
            out,
            header,
            written: 0,
            pending: Vec::new(),
        })
    }

    pub(super) fn frame(&mut self, samples: &[i16]) {
        let pcm = samples.iter().flat_map(|sample| sample.to_le_bytes());
        self.pending.extend(pcm);
    }

    pub(super) fn flush(&mut self) -> Result<(), FileError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // First the sound, then the sizes: a header never claims what is not there.
        self.out
            .seek(SeekFrom::Start(HEADER as u64 + self.written))?;
        self.out.write_all(&self.pending)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        set_sizes(&mut self.header, self.written);
        self.out.seek(SeekFrom::Start(0))?;
        self.out.write_all(&self.header)?;
        self.out.flush()?;
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<W, FileError> {
        self.flush()?;
        Ok(self.out)
    }
}

fn header(channels: Channels, rate: SampleRate) -> [u8; HEADER] {
    let block = channels.count() as u16 * BYTES_PER_SAMPLE;
    let mut header = [0; HEADER];
    header[8..12].copy_from_slice(b"WAVE");
    header[16..20].copy_from_slice(&DS64.to_le_bytes());
    header[48..52].copy_from_slice(b"fmt ");
    header[52..56].copy_from_slice(&16_u32.to_le_bytes());
    // WAVE_FORMAT_PCM
    header[56..58].copy_from_slice(&1_u16.to_le_bytes());
    header[58..60].copy_from_slice(&(channels.count() as u16).to_le_bytes());
    header[60..64].copy_from_slice(&rate.hertz().to_le_bytes());
    header[64..68].copy_from_slice(&(rate.hertz() * u32::from(block)).to_le_bytes());
    header[68..70].copy_from_slice(&block.to_le_bytes());
    header[70..72].copy_from_slice(&(BYTES_PER_SAMPLE * 8).to_le_bytes());
    header[72..76].copy_from_slice(b"data");
    set_sizes(&mut header, 0);
    header
}

/// Makes the header say that there are so many bytes of PCM.
fn set_sizes(header: &mut [u8; HEADER], data: u64) {
    let riff = data + HEADER as u64 - 8;
    let block = u64::from(u16::from_le_bytes([header[68], header[69]])).max(1);
    let place = &mut header[20..48];
    place.fill(0);
    let (name, kept, sizes) = match u32::try_from(riff) {
        Ok(riff) if riff != ELSEWHERE => (b"RIFF", b"JUNK", (riff, data as u32)),
        Ok(_) | Err(_) => {
            // The size of RIFF, that of the data, and what a `fact` chunk would
            // say: samples of a channel.
            place[..8].copy_from_slice(&riff.to_le_bytes());
            place[8..16].copy_from_slice(&data.to_le_bytes());
            place[16..24].copy_from_slice(&(data / block).to_le_bytes());
            (b"RF64", b"ds64", (ELSEWHERE, ELSEWHERE))
        }
    };
    header[..4].copy_from_slice(name);
    header[4..8].copy_from_slice(&sizes.0.to_le_bytes());
    header[12..16].copy_from_slice(kept);
    header[76..80].copy_from_slice(&sizes.1.to_le_bytes());
}

/// Makes the header say what is there.
pub(super) fn repair(file: &mut (impl Read + Write + Seek)) -> Result<Repaired, FileError> {
    let length = file.seek(SeekFrom::End(0))?;
    let mut found = [0; HEADER];
    let known = found.len().min(length as usize);
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut found[..known])?;
    match &found[12..16] {
        b"fmt " => repair_short(file, &found, length),
        b"JUNK" | b"ds64" => repair_long(file, found, length),
        _ => Err(FileError::Empty),
    }
}

fn repair_long(
    file: &mut (impl Write + Seek),
    mut header: [u8; HEADER],
    length: u64,
) -> Result<Repaired, FileError> {
    let is_ours = matches!(&header[..4], b"RIFF" | b"RF64") && &header[72..76] == b"data";
    let (Some(format), true) = (Format::read(&header[48..72]), is_ours) else {
        return Err(FileError::Empty);
    };
    let Some(data) = length.checked_sub(HEADER as u64) else {
        return Err(FileError::Empty);
    };
    let data = data / format.block * format.block;
    set_sizes(&mut header, data);
    rewrite(file, &header)?;
    Ok(format.repaired(HEADER, data))
}

fn repair_short(
    file: &mut (impl Write + Seek),
    found: &[u8; HEADER],
    length: u64,
) -> Result<Repaired, FileError> {
    let mut header = [0; SHORT_HEADER];
    header.copy_from_slice(&found[..SHORT_HEADER]);
    let is_ours = &header[..4] == b"RIFF" && &header[36..40] == b"data";
    let (Some(format), true) = (Format::read(&header[12..36]), is_ours) else {
        return Err(FileError::Empty);
    };
    let Some(data) = length.checked_sub(SHORT_HEADER as u64) else {
        return Err(FileError::Empty);
    };
    let before = SHORT_HEADER as u64 - 8;
    let most = u64::from(u32::MAX) - before;
    let data = data.min(most) / format.block * format.block;
    header[4..8].copy_from_slice(&((data + before) as u32).to_le_bytes());
    header[40..44].copy_from_slice(&(data as u32).to_le_bytes());
    rewrite(file, &header)?;
    Ok(format.repaired(SHORT_HEADER, data))
}

fn rewrite(file: &mut (impl Write + Seek), header: &[u8]) -> Result<(), FileError> {
    file.seek(SeekFrom::Start(0))?;
    file.write_all(header)?;
    file.flush()?;
    Ok(())
}

/// What a `fmt ` chunk says of lengths.
struct Format {
    bytes_per_second: u64,
    /// Bytes of a sample of all channels.
    block: u64,
}

impl Format {
    /// Of the whole chunk, its head included.
    fn read(chunk: &[u8]) -> Option<Format> {
        let bytes_per_second = chunk.get(16..20)?.try_into().ok()?;
        let block = chunk.get(20..22)?.try_into().ok()?;
        let format = Format {
            bytes_per_second: u32::from_le_bytes(bytes_per_second).into(),
            block: u16::from_le_bytes(block).into(),
        };
        let is_whole = &chunk[..4] == b"fmt " && format.bytes_per_second > 0 && format.block > 0;
        is_whole.then_some(format)
    }

    fn repaired(&self, header: usize, data: u64) -> Repaired {
        Repaired {
            length: header as u64 + data,
            duration_ms: data * 1000 / self.bytes_per_second,
        }
    }
}

#[cfg(test)]
mod tests;
