//! Opus in Ogg (RFC 7845).

use std::io::Cursor;

use ogg::{OggReadError, PacketReader};
use opus::{Channels, Decoder};

use super::rates::Rates;
use super::{Clip, ClipError, ClipFormat, ClipLimits, ClipSource};

/// Section 4: granule positions and pre-skip always count at 48 kHz.
const RATE: u32 = 48_000;

/// Samples of one channel in the longest packet, 120 ms.
const LONGEST_PACKET: usize = 5760;

/// Decodes the Opus streams of an Ogg file, one after the other when it is a
/// chain of several (section 3). Other streams beside them are skipped.
pub fn decode(bytes: &[u8], limits: ClipLimits) -> Result<Clip, ClipError> {
    let mut packets = PacketReader::new(Cursor::new(bytes));
    let mut stream: Option<Stream> = None;
    let mut rates: Option<Rates> = None;
    let mut foreign = None;
    loop {
        let packet = match packets.read_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => break,
            // A file that ends too early plays as far as it goes.
            Err(OggReadError::ReadError(_)) => break,
            Err(error) => return Err(damaged(error.to_string())),
        };
        if packet.first_in_stream() {
            match Head::read(&packet.data)? {
                Some(head) if stream.is_none() => {
                    let channels = head.channels;
                    let source = ClipSource {
                        format: ClipFormat::OggOpus,
                        sample_rate: RATE,
                        channels: channels as u8,
                    };
                    match &rates {
                        None => rates = Some(Rates::new(source, limits)?),
                        Some(rates) if rates.channels() == channels as u8 => {}
                        Some(_) => {
                            return Err(ClipError::Unsupported(
                                "the Ogg file is a chain of mono and stereo streams: convert it to one stream".to_owned(),
                            ));
                        }
                    }
                    stream = Some(Stream::new(packet.stream_serial(), head)?);
                }
                Some(_) => {}
                None => foreign = Some(what_it_is(&packet.data)),
            }
            continue;
        }
        let (Some(opus), Some(rates)) = (&mut stream, &mut rates) else {
            continue;
        };
        if packet.stream_serial() != opus.serial {
            continue;
        }
        opus.take(&packet.data);
        if packet.last_in_page() {
            opus.end_page(packet.absgp_page(), packet.last_in_stream(), rates)?;
        }
        if packet.last_in_stream() {
            stream = None;
        }
    }
    if let (Some(mut opus), Some(rates)) = (stream, &mut rates) {
        opus.flush(0, rates)?;
    }
    match (rates, foreign) {
        (Some(rates), _) => rates.finish(),
        (None, Some(what)) => Err(ClipError::Unsupported(format!(
            "the Ogg file holds {what} and no Opus: convert it to Opus"
        ))),
        (None, None) => Err(damaged("it has no Opus stream".to_owned())),
    }
}

/// The identification header (section 5.1).
struct Head {
    channels: Channels,
    /// Samples to leave out at the start.
    pre_skip: u16,
    /// To be applied to what is decoded, in dB times 256.
    gain: i16,
}

impl Head {
    /// `None` when it is the header of something else.
    fn read(packet: &[u8]) -> Result<Option<Head>, ClipError> {
        let Some(fields) = packet.strip_prefix(b"OpusHead") else {
            return Ok(None);
        };
        let &[
            version,
            channels,
            skip_low,
            skip_high,
            _,
            _,
            _,
            _,
            gain_low,
            gain_high,
            family,
            ..,
        ] = fields
        else {
            return Err(damaged("its OpusHead is cut off".to_owned()));
        };
        // The upper four bits tell whether the rest can be read at all.
        if version >> 4 != 0 {
            return Err(ClipError::Unsupported(format!(
                "version {version} of Ogg Opus is not known"
            )));
        }
        // Families 0 and 1 have the same order up to stereo, one stream each
        // (section 5.1.1).
        let channels = match (family, channels) {
            (0 | 1, 1) => Channels::Mono,
            (0 | 1, 2) => Channels::Stereo,
            _ => {
                return Err(ClipError::Unsupported(format!(
                    "an Opus file of {channels} channels is not read: mix it down to one or two"
                )));
            }
        };
        Ok(Some(Head {
            channels,
            pre_skip: u16::from_le_bytes([skip_low, skip_high]),
            gain: i16::from_le_bytes([gain_low, gain_high]),
        }))
    }
}

/// An Opus stream on its way.
struct Stream {
    serial: u32,
    decoder: Decoder,
    channels: usize,
    /// Whether the comment header, which is the second packet, is through.
    tagged: bool,
    /// Samples of pre-skip still to leave out.
    to_skip: usize,
    /// Samples decoded so far, with the pre-skip.
    decoded: u64,
    /// Granule position at the stream's start: not 0 when it was cut out of a
    /// longer one (section 4.3). Known at the first page's end.
    start: Option<u64>,
    /// What is decoded of the page being read: only at its end is it known
    /// whether some of it is to be left out. 255 packets of 120 ms at most.
    page: Vec<f32>,
    packet: Box<[f32]>,
}

impl Stream {
    fn new(serial: u32, head: Head) -> Result<Self, ClipError> {
        let failed = |_| damaged("its Opus stream cannot be decoded".to_owned());
        let mut decoder = Decoder::new(RATE, head.channels).map_err(failed)?;
        decoder.set_gain(i32::from(head.gain)).map_err(failed)?;
        Ok(Stream {
            serial,
            decoder,
            channels: head.channels as usize,
            tagged: false,
            to_skip: usize::from(head.pre_skip),
            decoded: 0,
            start: None,
            page: Vec::new(),
            packet: vec![0.0; LONGEST_PACKET * head.channels as usize].into(),
        })
    }

    /// Decodes a packet. One that is broken is left out, and so is an empty
    /// one, which would be heard as a loss.
    fn take(&mut self, packet: &[u8]) {
        if !self.tagged {
            self.tagged = true;
            return;
        }
        if packet.is_empty() {
            return;
        }
        let decoded = self.decoder.decode_float(packet, &mut self.packet, false);
        if let Ok(count) = decoded {
            self.decoded += count as u64;
            self.page
                .extend_from_slice(&self.packet[..count * self.channels]);
        }
    }

    /// Hands on what the page held. Its granule position is the position of
    /// its end (section 4).
    fn end_page(&mut self, granule: u64, last: bool, rates: &mut Rates) -> Result<(), ClipError> {
        let start = match self.start {
            Some(start) => start,
            // A position that says more than was decoded: the stream was cut
            // out of a longer one.
            None if !self.page.is_empty() => {
                *self.start.insert(granule.saturating_sub(self.decoded))
            }
            None => return Ok(()),
        };
        // Section 4.4: in the last page, a position that says less than was
        // decoded tells how much of it is to be left out.
        let surplus = match last {
            true => start.saturating_add(self.decoded).saturating_sub(granule),
            false => 0,
        };
        self.flush(surplus, rates)
    }

    /// Hands on what is decoded, but for so many samples at its end.
    fn flush(&mut self, surplus: u64, rates: &mut Rates) -> Result<(), ClipError> {
        let count = self.page.len() / self.channels;
        let keep = count.saturating_sub(usize::try_from(surplus).unwrap_or(count));
        let skip = self.to_skip.min(keep);
        self.to_skip -= skip;
        rates.take(&self.page[skip * self.channels..keep * self.channels])?;
        self.page.clear();
        Ok(())
    }
}

fn what_it_is(header: &[u8]) -> &'static str {
    match header {
        [1, b'v', b'o', b'r', b'b', b'i', b's', ..] => "Vorbis",
        [0x7f, b'F', b'L', b'A', b'C', ..] => "FLAC",
        [b'S', b'p', b'e', b'e', b'x', ..] => "Speex",
        [0x80, b't', b'h', b'e', b'o', b'r', b'a', ..] => "Theora",
        _ => "an unknown stream",
    }
}

fn damaged(reason: String) -> ClipError {
    ClipError::Damaged {
        format: ClipFormat::OggOpus,
        reason,
    }
}
