//! Sound: what is inside the packets. Pure: `now`, samples and packets are
//! handed in, and what comes out is handed back.
//!
//! Everything here works in frames of 20 ms of mono PCM, 16 bit, at one of
//! three rates ([`format::SampleRate`]). A leg's packets become frames in a
//! receiver (jitter buffer, decoder, concealment), frames are mixed, and what
//! a listener shall hear becomes payloads in an encoder.
//!
//! | file | what it holds |
//! | --- | --- |
//! | [`format`] | rates, frames |
//! | [`clip`] | a sound file, decoded |
//! | [`player`] | plays a clip or a tone, frame by frame |
//! | [`tone`] | ring-back, busy, the beep of a recording |
//! | [`codec`] | PCMU, PCMA, G.722, Opus behind one interface |
//! | [`resample`] | from one of the three rates to another |
//! | [`concealment`] | what stands in for lost sound of G.711 and G.722 |
//! | [`comfort_noise`] | RFC 3389: a silent talker's noise, read, made and described |
//! | [`receiver`] | jitter buffer, concealment, time scaling: packets to frames |
//! | [`dtmf`] | telephone events, SIP INFO bodies, tones in the sound |
//! | [`e_model`] | the quality of a call as R and MOS |
//! | [`level`] | loudness, voice activity, dead air, one-way sound |
//! | [`conference`] | a room whose sound is made here |
//! | [`limiter`] | from a sum of voices to 16 bits |
//! | [`file`] | recordings: WAV and Ogg Opus |

pub mod clip;
pub mod codec;
pub mod comfort_noise;
pub mod concealment;
pub mod conference;
pub mod dtmf;
pub mod e_model;
pub mod file;
pub mod format;
pub mod level;
pub mod limiter;
pub mod player;
pub mod receiver;
pub mod resample;
pub mod tone;
