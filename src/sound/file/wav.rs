//! WAV: a RIFF header of 44 bytes, then 16 bit PCM. The header's sizes are
//! brought up to date at every flush.

use std::io::{Read, Seek, SeekFrom, Write};

use super::super::format::SampleRate;
use super::{Channels, FileError, Repaired};

/// RIFF header, `fmt ` chunk, head of the `data` chunk.
const HEADER: usize = 44;
/// What the RIFF size counts beside the data.
const RIFF_OVERHEAD: u64 = HEADER as u64 - 8;
const BYTES_PER_SAMPLE: u16 = 2;

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

    pub(super) fn frame(&mut self, samples: &[i16]) -> Result<(), FileError> {
        let bytes = samples.len() as u64 * u64::from(BYTES_PER_SAMPLE);
        // The sizes are 32 bit. At 16 kHz that is 37 hours of one channel.
        if self.written + self.pending.len() as u64 + bytes + RIFF_OVERHEAD > u64::from(u32::MAX) {
            return Err(FileError::Full);
        }
        let pcm = samples.iter().flat_map(|sample| sample.to_le_bytes());
        self.pending.extend(pcm);
        Ok(())
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
    header[..4].copy_from_slice(b"RIFF");
    header[8..16].copy_from_slice(b"WAVEfmt ");
    header[16..20].copy_from_slice(&16_u32.to_le_bytes());
    // WAVE_FORMAT_PCM
    header[20..22].copy_from_slice(&1_u16.to_le_bytes());
    header[22..24].copy_from_slice(&(channels.count() as u16).to_le_bytes());
    header[24..28].copy_from_slice(&rate.hertz().to_le_bytes());
    header[28..32].copy_from_slice(&(rate.hertz() * u32::from(block)).to_le_bytes());
    header[32..34].copy_from_slice(&block.to_le_bytes());
    header[34..36].copy_from_slice(&(BYTES_PER_SAMPLE * 8).to_le_bytes());
    header[36..40].copy_from_slice(b"data");
    set_sizes(&mut header, 0);
    header
}

/// `data` is below what [`WavWriter::frame`] lets in.
fn set_sizes(header: &mut [u8; HEADER], data: u64) {
    header[4..8].copy_from_slice(&((data + RIFF_OVERHEAD) as u32).to_le_bytes());
    header[40..44].copy_from_slice(&(data as u32).to_le_bytes());
}

/// Makes the header say what is there.
pub(super) fn repair(file: &mut (impl Read + Write + Seek)) -> Result<Repaired, FileError> {
    let length = file.seek(SeekFrom::End(0))?;
    if length < HEADER as u64 {
        return Err(FileError::Empty);
    }
    let mut found = [0; HEADER];
    file.seek(SeekFrom::Start(0))?;
    file.read_exact(&mut found)?;
    let bytes_per_second = u32::from_le_bytes([found[28], found[29], found[30], found[31]]);
    let block = u64::from(u16::from_le_bytes([found[32], found[33]]));
    if &found[..4] != b"RIFF" || &found[36..40] != b"data" || block == 0 || bytes_per_second == 0 {
        return Err(FileError::Empty);
    }
    let most = u64::from(u32::MAX) - RIFF_OVERHEAD;
    let data = (length - HEADER as u64).min(most) / block * block;
    set_sizes(&mut found, data);
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&found)?;
    file.flush()?;
    Ok(Repaired {
        length: HEADER as u64 + data,
        duration_ms: data * 1000 / u64::from(bytes_per_second),
    })
}
