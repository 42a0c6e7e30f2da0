//! A leg's side of offer/answer over the life of its dialog: the version
//! counts up only when the description changes, payload numbers keep their
//! meaning, and media lines keep their places (RFC 3264 section 8).

use super::codec::Codec;
use super::direction::Direction;
use super::negotiated::Negotiated;
use super::numbers::PayloadNumbers;
use super::offer_answer::{self, Local, NegotiationError};
use super::session::{Media, Session};
use crate::keying::Security;

/// One leg's descriptions, from its first to its last.
///
/// What was sent is kept as text, which is a fraction of what it takes when it
/// is read, and is seldom looked at again.
#[derive(Debug, Clone)]
pub struct Exchange {
    local: Local,
    numbers: PayloadNumbers,
    /// The last description sent; its m-lines are those of the dialog.
    sent: Option<Box<str>>,
    offered: Offered,
}

/// The last offer sent, kept because it may be answered more than once.
#[derive(Debug, Clone)]
enum Offered {
    Nothing,
    /// It has not been answered.
    Pending(Box<Session>),
    /// It is the last description sent.
    AsSent,
    /// We have answered an offer of the peer's since.
    Before(Box<str>),
}

impl Exchange {
    /// A leg that has said nothing yet.
    pub fn new(local: Local) -> Self {
        Exchange {
            local,
            numbers: PayloadNumbers::new(),
            sent: None,
            offered: Offered::Nothing,
        }
    }

    /// The leg's own side, with all its codecs under their current numbers.
    pub fn local(&self) -> &Local {
        &self.local
    }

    /// How the media is protected since the last exchange; `None` before it.
    pub fn security(&self) -> Option<&Security> {
        self.local.security.agreed()
    }

    /// What the gateway is willing to do from the next description on.
    pub fn set_direction(&mut self, direction: Direction) {
        self.local.direction = direction;
    }

    /// The description to offer now, with those of the leg's codecs that are
    /// `allowed`, in that order. In a later offer of the dialog the audio
    /// stands in its place between the refused streams of before.
    ///
    /// # Errors
    /// [`NegotiationError::NoCommonCodec`] when none of the leg's audio codecs
    /// is allowed, [`NegotiationError::NoKeys`] when SRTP is required and has
    /// no keys.
    pub fn offer(&mut self, allowed: &[Codec]) -> Result<Session, NegotiationError> {
        let local = self.local.narrowed(allowed);
        if !local.codecs.iter().any(|entry| entry.codec.is_audio()) {
            return Err(NegotiationError::NoCommonCodec);
        }
        let sent = self.sent();
        let audio_line = sent.as_ref().and_then(audio_line);
        let profile = audio_line.map(|(_, media)| media.profile.clone());
        let profile = profile.unwrap_or_else(|| local.security.profile());
        let place = audio_line.map_or(0, |(place, _)| place);
        let mut offer = offer_answer::offer_with(&local, &mut self.numbers, profile)?;
        if let Some(sent) = &sent {
            // RFC 3264 section 8: as many m-lines as before, in their order.
            let mut lines: Vec<Media> = sent.media.iter().map(Media::refused).collect();
            if let (Some(slot), Some(audio)) = (lines.get_mut(place), offer.media.pop()) {
                *slot = audio;
                offer.media = lines;
            }
        }
        let offer = self.versioned(offer);
        self.offered = Offered::Pending(Box::new(offer.clone()));
        Ok(offer)
    }

    /// Answers the peer's offer with the codecs that are also `allowed`.
    ///
    /// # Errors
    /// As [`offer_answer::answer`]; the leg then stays as it was.
    pub fn answer(
        &mut self,
        offer: &Session,
        allowed: &[Codec],
    ) -> Result<(Session, Negotiated), NegotiationError> {
        let (answer, negotiated) = offer_answer::answer(offer, &self.local, allowed)?;
        let taken = answer.media.iter().position(Media::is_live_audio);
        if let Some(theirs) = taken.and_then(|place| offer.media.get(place)) {
            self.numbers
                .learn(theirs.payload_numbers(), &theirs.codecs(&[]));
        }
        // From now on the peer knows these codecs by these numbers.
        for agreed in &negotiated.codecs {
            self.local.set_number(agreed.codec, agreed.receive);
        }
        self.local.security.remember(&negotiated.security);
        if let Offered::Pending(_) | Offered::AsSent = self.offered
            && let Some(offer) = self.sent.clone()
        {
            self.offered = Offered::Before(offer);
        }
        Ok((self.versioned(answer), negotiated))
    }

    /// What an answer to the last offer agrees on. May be asked again when a
    /// later response or another fork answers the same offer.
    ///
    /// # Errors
    /// As [`offer_answer::apply_answer`].
    pub fn apply_answer(&mut self, answer: &Session) -> Result<Negotiated, NegotiationError> {
        let read;
        let offered: &Session = match &self.offered {
            Offered::Pending(offer) => offer,
            Offered::AsSent => {
                read = self.sent().ok_or(NegotiationError::NoOffer)?;
                &read
            }
            Offered::Before(offer) => {
                read = reread(offer).ok_or(NegotiationError::NoOffer)?;
                &read
            }
            Offered::Nothing => return Err(NegotiationError::NoOffer),
        };
        let negotiated = offer_answer::apply_answer(offered, answer)?;
        self.local.security.permit(&negotiated.security)?;
        self.local.security.remember(&negotiated.security);
        if let Offered::Pending(_) = self.offered {
            self.offered = Offered::AsSent;
        }
        Ok(negotiated)
    }

    /// The last description sent.
    pub fn sent(&self) -> Option<Session> {
        reread(self.sent.as_ref()?)
    }

    /// The last description sent as it is on the wire, to be sent or to be
    /// repeated (a session refresh); empty before the first.
    pub fn sent_text(&self) -> &str {
        self.sent.as_deref().unwrap_or_default()
    }

    /// RFC 3264 section 8: the version counts up by one when anything else
    /// changed, and stays when nothing did.
    fn versioned(&mut self, mut session: Session) -> Session {
        session.origin.version = self.local.version;
        let mut text = session.to_string();
        if self.sent.as_ref().is_some_and(|sent| **sent != *text) {
            session.origin.version = self.local.version.wrapping_add(1);
            text = session.to_string();
        }
        self.local.version = session.origin.version;
        self.sent = Some(text.into());
        session
    }
}

/// Our own text, read again.
fn reread(text: &str) -> Option<Session> {
    Session::parse(text.as_bytes()).ok()
}

fn audio_line(session: &Session) -> Option<(usize, &Media)> {
    let mut media = session.media.iter().enumerate();
    media.find(|(_, media)| media.is_live_audio())
}
