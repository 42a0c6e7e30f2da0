//! The payloads the gateway relays, and how SDP names them.

use std::sync::LazyLock;

use crate::ids::CodecId;

/// A payload format the relay carries. Two legs can hear each other when they
/// have one of these in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law (RFC 3551 section 4.5.14), static number 0.
    Pcmu,
    /// G.711 A-law (RFC 3551 section 4.5.14), static number 8.
    Pcma,
    /// G.722 (RFC 3551 section 4.5.2), static number 9. It samples at 16 kHz,
    /// but its RTP clock is 8000 Hz by a historical mistake that the RFC keeps.
    G722,
    /// Opus (RFC 7587): always `opus/48000/2` in SDP, whatever is inside.
    Opus,
    /// Comfort noise (RFC 3389) with the 8000 Hz clock of its static number 13:
    /// what a codec without a pause of its own is beside.
    ComfortNoise,
    /// Named telephone events (RFC 4733) with this RTP clock rate in Hz.
    TelephoneEvent(u32),
}

/// Rates at which telephone events are understood; other rates are as good as
/// an unknown codec.
const EVENT_RATES: [u32; 4] = [8000, 16000, 32000, 48000];

/// The id of telephone events is this plus their rate in kHz.
const EVENT_ID_BASE: u8 = CodecId::FIRST_EVENT;

impl Codec {
    /// Everything the gateway relays, best audio first. Also what to pass as
    /// `allowed` when nothing narrows the choice.
    pub const ALL: [Codec; 7] = [
        Codec::Opus,
        Codec::G722,
        Codec::Pcma,
        Codec::Pcmu,
        Codec::ComfortNoise,
        Codec::TelephoneEvent(8000),
        Codec::TelephoneEvent(48000),
    ];

    /// The opaque id under which the relay compares codecs. Telephone events
    /// of different clock rates have different ids.
    pub fn id(self) -> CodecId {
        CodecId(match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 1,
            Codec::G722 => 2,
            Codec::Opus => 3,
            Codec::ComfortNoise => return CodecId::COMFORT_NOISE,
            Codec::TelephoneEvent(rate) => {
                let kilohertz = (rate / 1000).min(u32::from(u8::MAX - EVENT_ID_BASE));
                EVENT_ID_BASE + kilohertz as u8
            }
        })
    }

    /// The codec with this id; `None` for an id that [`Codec::id`] never gives.
    pub fn from_id(id: CodecId) -> Option<Codec> {
        match id.0 {
            0 => Some(Codec::Pcmu),
            1 => Some(Codec::Pcma),
            2 => Some(Codec::G722),
            3 => Some(Codec::Opus),
            _ if id.is_comfort_noise() => Some(Codec::ComfortNoise),
            other => {
                let rate = u32::from(other.checked_sub(EVENT_ID_BASE)?) * 1000;
                EVENT_RATES
                    .contains(&rate)
                    .then_some(Codec::TelephoneEvent(rate))
            }
        }
    }

    /// The RTP clock rate in Hz.
    pub fn clock_rate(self) -> u32 {
        match self {
            // RFC 3551 section 6: of number 13.
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::ComfortNoise => 8000,
            Codec::Opus => 48000,
            Codec::TelephoneEvent(rate) => rate,
        }
    }

    /// Whether people can talk by it: neither comfort noise nor telephone
    /// events, which only ever come beside such a codec.
    pub fn is_audio(self) -> bool {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::Opus => true,
            Codec::ComfortNoise | Codec::TelephoneEvent(_) => false,
        }
    }

    /// Whether these are telephone events, at whatever clock rate.
    pub fn is_event(self) -> bool {
        matches!(self, Codec::TelephoneEvent(_))
    }

    /// The encoding name as registered (RFC 8866 section 6.6), which is
    /// compared without case.
    pub fn encoding_name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::G722 => "G722",
            Codec::Opus => "opus",
            Codec::ComfortNoise => "CN",
            Codec::TelephoneEvent(_) => "telephone-event",
        }
    }

    /// The text after the payload number in `a=rtpmap`, as `PCMU/8000`.
    pub fn rtpmap(self) -> String {
        let channels = match self {
            Codec::Opus => "/2", // RFC 7587 section 7: always 2
            Codec::Pcmu
            | Codec::Pcma
            | Codec::G722
            | Codec::ComfortNoise
            | Codec::TelephoneEvent(_) => "",
        };
        format!("{}/{}{channels}", self.encoding_name(), self.clock_rate())
    }

    /// Reads `name/rate[/channels]`. `None` for a codec, rate or number of
    /// channels that the gateway does not relay.
    pub fn from_rtpmap(encoding: &str) -> Option<Codec> {
        let mut parts = encoding.trim().split('/');
        let name = parts.next()?.trim();
        let rate: u32 = parts.next()?.trim().parse().ok()?;
        let channels = parts.next().map(str::trim);
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        let mono = matches!(channels, None | Some("") | Some("1"));
        match rate {
            8000 if is("PCMU") && mono => Some(Codec::Pcmu),
            8000 if is("PCMA") && mono => Some(Codec::Pcma),
            // RFC 3551 section 4.5.2 says 8000; devices that write the true
            // sampling rate still run the RTP clock at 8000.
            8000 | 16000 if is("G722") && mono => Some(Codec::G722),
            // RFC 7587 section 7 wants "/2"; some leave it out or say 1.
            48000 if is("opus") => Some(Codec::Opus),
            // RFC 3389 section 4; another rate would be for codecs not known here.
            8000 if is("CN") && mono => Some(Codec::ComfortNoise),
            rate if is("telephone-event") && EVENT_RATES.contains(&rate) => {
                Some(Codec::TelephoneEvent(rate))
            }
            _ => None,
        }
    }

    /// What a payload number means when no `a=rtpmap` says so (RFC 3551
    /// table 4).
    pub fn from_static(payload_type: u8) -> Option<Codec> {
        match payload_type {
            0 => Some(Codec::Pcmu),
            8 => Some(Codec::Pcma),
            9 => Some(Codec::G722),
            13 => Some(Codec::ComfortNoise),
            _ => None,
        }
    }

    /// The number the gateway asks for first when it makes an offer: the static
    /// one where there is one, else the one most of the field uses.
    pub fn usual_payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
            Codec::G722 => 9,
            Codec::ComfortNoise => 13,
            Codec::Opus => 111,
            Codec::TelephoneEvent(8000) => 101,
            Codec::TelephoneEvent(48000) => 110,
            Codec::TelephoneEvent(_) => 100,
        }
    }

    /// The `a=fmtp` parameters the gateway states as a receiver.
    fn usual_fmtp(self) -> Option<String> {
        match self {
            Codec::Pcmu | Codec::Pcma | Codec::G722 | Codec::ComfortNoise => None,
            // RFC 7587 section 6.1: worth having for any receiver over UDP.
            Codec::Opus => Some("useinbandfec=1".to_owned()),
            // RFC 4733 section 2.4.1: the DTMF digits and flash.
            Codec::TelephoneEvent(_) => Some("0-16".to_owned()),
        }
    }
}

/// A codec as an m-line lists it: with its payload number and parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfferedCodec {
    /// Which codec.
    pub codec: Codec,
    /// RTP payload number, 0 to 127.
    pub payload_type: u8,
    /// The text after the number in `a=fmtp`.
    pub fmtp: Option<String>,
}

impl OfferedCodec {
    /// The codec under its usual number and with the gateway's parameters.
    pub fn usual(codec: Codec) -> Self {
        OfferedCodec {
            codec,
            payload_type: codec.usual_payload_type(),
            fmtp: codec.usual_fmtp(),
        }
    }

    /// Everything the gateway relays, best audio first, each as
    /// [`usual`](Self::usual).
    pub(super) fn all_usual() -> &'static [OfferedCodec] {
        static ALL: LazyLock<Vec<OfferedCodec>> =
            LazyLock::new(|| Codec::ALL.into_iter().map(OfferedCodec::usual).collect());
        &ALL
    }
}

/// Leaves of what comes beside audio only what fits its clock, because all of
/// it is one RTP stream.
///
/// Telephone events (RFC 4733 section 2.1): those whose clock is that of a
/// listed audio codec. Where none has the right clock all are kept: phones that
/// offer opus with 8000 Hz events only do take them.
///
/// Comfort noise (RFC 3389 section 4): only beside an audio codec of its clock.
/// Opus has pauses of its own.
pub(super) fn keep_matching_clocks<T>(codecs: &mut Vec<T>, codec_of: impl Fn(&T) -> Codec) {
    let rates: Vec<u32> = codecs
        .iter()
        .map(&codec_of)
        .filter(|codec| codec.is_audio())
        .map(Codec::clock_rate)
        .collect();
    let fits = |codec: Codec| codec.is_audio() || rates.contains(&codec.clock_rate());
    let any_event_fits = codecs
        .iter()
        .map(&codec_of)
        .any(|codec| codec.is_event() && fits(codec));
    codecs.retain(|entry| {
        let codec = codec_of(entry);
        fits(codec) || (codec.is_event() && !any_event_fits)
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_is_found_again_by_its_id_and_by_its_rtpmap() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_id(codec.id()), Some(codec));
            assert_eq!(Codec::from_rtpmap(&codec.rtpmap()), Some(codec));
        }
    }

    #[test]
    fn an_id_nobody_gave_is_no_codec() {
        let known: Vec<u8> = (0..=u8::MAX)
            .filter(|id| Codec::from_id(CodecId(*id)).is_some())
            .collect();
        assert_eq!(known, [0, 1, 2, 3, 15, 24, 32, 48, 64]);
    }

    #[test]
    fn an_absurd_event_rate_still_has_an_id() {
        assert_eq!(Codec::TelephoneEvent(u32::MAX).id(), CodecId(255));
    }

    #[test]
    fn encoding_names_are_read_without_case_and_with_sloppy_channels() {
        for (text, codec) in [
            ("pcmu/8000", Some(Codec::Pcmu)),
            ("PCMA/8000/1", Some(Codec::Pcma)),
            (" G722/16000", Some(Codec::G722)),
            ("OPUS/48000", Some(Codec::Opus)),
            ("Telephone-Event/8000", Some(Codec::TelephoneEvent(8000))),
            ("telephone-event/44100", None),
            ("cn/8000", Some(Codec::ComfortNoise)),
            ("CN/16000", None),
            ("PCMU/16000", None),
            ("PCMU/8000/2", None),
            ("PCMU", None),
            ("", None),
            ("iLBC/8000", None),
        ] {
            assert_eq!(Codec::from_rtpmap(text), codec, "{text:?}");
        }
    }

    #[test]
    fn events_keep_the_clock_of_the_audio_beside_them() {
        let narrowed = |mut codecs: Vec<Codec>| {
            keep_matching_clocks(&mut codecs, |codec| *codec);
            codecs
        };
        let (eight, fortyeight) = (Codec::TelephoneEvent(8000), Codec::TelephoneEvent(48000));
        assert_eq!(
            narrowed(vec![Codec::Pcma, fortyeight, eight]),
            [Codec::Pcma, eight]
        );
        assert_eq!(
            narrowed(vec![Codec::Opus, Codec::Pcma, fortyeight, eight]),
            [Codec::Opus, Codec::Pcma, fortyeight, eight]
        );
        assert_eq!(narrowed(vec![Codec::Opus, eight]), [Codec::Opus, eight]);
    }

    #[test]
    fn comfort_noise_is_kept_beside_a_codec_of_its_clock_only() {
        let narrowed = |mut codecs: Vec<Codec>| {
            keep_matching_clocks(&mut codecs, |codec| *codec);
            codecs
        };
        let (noise, events) = (Codec::ComfortNoise, Codec::TelephoneEvent(48000));
        for codec in [Codec::Pcmu, Codec::Pcma, Codec::G722] {
            assert_eq!(narrowed(vec![codec, noise]), [codec, noise]);
        }
        assert_eq!(
            narrowed(vec![Codec::Opus, noise, events]),
            [Codec::Opus, events]
        );
        assert_eq!(
            narrowed(vec![Codec::Opus, Codec::G722, noise, events]),
            [Codec::Opus, Codec::G722, noise, events]
        );
    }
}
