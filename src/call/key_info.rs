//! Keys that come and go in SIP INFO (RFC 6086 section 2), and what becomes of
//! them where the peer does not take them.

use std::time::Instant;

use bytes::Bytes;
use tracing::info;

use crate::call::calls::Calls;
use crate::call::description;
use crate::call::event::CallEventKind;
use crate::call::room::{KeyDelivery, RoomRequest};
use crate::call::tally::InfoOutcome;
use crate::ids::CallId;
use crate::sip::agent::Body;
use crate::sound::dtmf::DtmfEvent;
use crate::sound::dtmf::info::InfoFormat;

/// 408 Request Timeout: nobody has answered for 32 s (RFC 3261 section
/// 17.1.2.2). The key is too old to be sent again.
const NO_ANSWER: u16 = 408;
/// 481 Call/Transaction Does Not Exist: the call is over at the peer.
const NO_SUCH_DIALOG: u16 = 481;

impl Calls {
    /// An INFO has come: keys are told of, anything else is passed over.
    pub(super) fn info(&mut self, now: Instant, id: CallId, body: Option<Body>) {
        let Some(body) = body else {
            return;
        };
        let Some(format) = InfoFormat::from_content_type(&body.content_type) else {
            return;
        };
        let key = match format.parse(&body.content) {
            Ok(key) => key,
            Err(error) => {
                info!(call_id = %id, %error, "INFO without a usable key");
                return;
            }
        };
        let has_leg = self.calls.get(&id).is_some_and(|call| call.has_leg);
        match has_leg {
            // The room knows whom else it concerns, and tells us of it.
            true => self.ask_room(id, RoomRequest::Key { call: id, key }),
            false => self.tell(now, id, CallEventKind::Key(key)),
        }
    }

    /// A key is to go to the peer by INFO. One for which there is no room is
    /// counted and logged.
    pub(super) fn send_key(&mut self, now: Instant, id: CallId, key: DtmfEvent) {
        let Some(call) = self.calls.get(&id) else {
            return;
        };
        let Some(session) = call.session else {
            return;
        };
        if call.info_refused {
            // It was on its way from the room when the peer refused another.
            let keys = vec![key];
            return self.ask_room(id, RoomRequest::SendKeys { call: id, keys });
        }
        let format = InfoFormat::DtmfRelay;
        let body = Body {
            content_type: format.content_type().to_owned(),
            content: Bytes::from(format.write(key)),
        };
        if let Err(error) = self.agent.info(now, session, body) {
            self.tally.info_sent(InfoOutcome::Dropped);
            info!(call_id = %id, %error, "key not sent by INFO");
        }
    }

    /// An INFO of ours has its final answer. A peer that does not take it gets
    /// its keys another way from now on, those that were `given_back` first.
    pub(super) fn info_answered(
        &mut self,
        now: Instant,
        id: CallId,
        code: u16,
        given_back: &[Body],
    ) {
        let outcome = InfoOutcome::of(code);
        self.tally.info_sent(outcome);
        if outcome == InfoOutcome::Taken {
            return;
        }
        let behind = given_back.iter().skip(1);
        if code == NO_SUCH_DIALOG {
            behind.for_each(|_| self.tally.info_sent(InfoOutcome::Dropped));
            info!(call_id = %id, code, "INFO with a key not taken by the peer");
            return;
        }
        self.give_up_info(now, id, code);
        if code == NO_ANSWER {
            behind.for_each(|_| self.tally.info_sent(InfoOutcome::Dropped));
            return;
        }
        let key = |body: &Body| {
            let format = InfoFormat::from_content_type(&body.content_type)?;
            format.parse(&body.content).ok()
        };
        let keys = given_back.iter().filter_map(key).collect();
        self.ask_room(id, RoomRequest::SendKeys { call: id, keys });
    }

    /// From now on keys go to the peer as telephone events or tones, which its
    /// call is told of once.
    fn give_up_info(&mut self, now: Instant, id: CallId, code: u16) {
        let Some(call) = self.calls.get_mut(&id) else {
            return;
        };
        if std::mem::replace(&mut call.info_refused, true) {
            return;
        }
        let Some(negotiated) = call.by_info.take() else {
            return;
        };
        let way = match description::delivery_without_info(&negotiated) {
            KeyDelivery::Events => "telephone events",
            KeyDelivery::Info | KeyDelivery::Tones => "tones",
        };
        let text = format!("the peer takes no keys by SIP INFO ({code}): they go as {way} now");
        info!(call_id = %id, code, "{text}");
        self.tell(now, id, CallEventKind::Error(text));
        // As it is, but for the way of keys.
        self.connect(now, id, &negotiated);
    }
}
