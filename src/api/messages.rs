//! From what a shard tells to the messages that WebSockets and hooks carry.

use std::time::Duration;

use axum::extract::ws::Message as Frame;
use prost::Message;
use serde::Serialize;

use crate::call::event::{CallEventKind, SoundAlarm};
use crate::call::request::{Direction, two_decimals};
use crate::store::recordings::{Recording, Span, State};

use super::proto::sip_gateway::incoming_call_data::incoming_call_event::sip_event as incoming_sip;
use super::proto::sip_gateway::incoming_call_data::{self, IncomingCallEvent, incoming_call_event};
use super::proto::sip_gateway::incoming_call_notify::{
    self, CallAccepted, CallArrived, CallCancelled, CallRejected,
};
use super::proto::sip_gateway::outgoing_call_data::outgoing_call_event::sip_event as outgoing_sip;
use super::proto::sip_gateway::outgoing_call_data::{self, OutgoingCallEvent, outgoing_call_event};
use super::proto::sip_gateway::{
    CallEvent, IncomingCallData, IncomingCallNotify, OutgoingCallData, RecordingFailed,
    RecordingReady, RecordingSpan, RecordingStarted, call_event,
};

/// How a frame is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Protobuf in binary frames.
    Binary,
    /// Proto3 JSON in text frames.
    Text,
}

impl Encoding {
    /// A frame with this message.
    pub fn frame<M: Message + Serialize>(self, message: &M) -> Frame {
        match self {
            Encoding::Binary => Frame::Binary(message.encode_to_vec().into()),
            // Messages made from a schema always have a JSON form.
            Encoding::Text => Frame::Text(
                serde_json::to_string(message)
                    .unwrap_or_else(|_| "{}".to_string())
                    .into(),
            ),
        }
    }
}

/// One event of a call as its WebSocket and hook tell it.
#[derive(Debug, Clone, PartialEq)]
pub enum CallMessage {
    /// Of an outgoing call.
    Outgoing(OutgoingCallEvent),
    /// Of an incoming call.
    Incoming(IncomingCallEvent),
}

impl CallMessage {
    /// What an application hears of this, if anything: arrivals are told on
    /// notify_ws and by hook only.
    pub fn of(kind: &CallEventKind, direction: Direction) -> Option<CallMessage> {
        match direction {
            Direction::Outgoing => outgoing(kind)
                .map(|event| CallMessage::Outgoing(OutgoingCallEvent { event: Some(event) })),
            Direction::Incoming => incoming(kind)
                .map(|event| CallMessage::Incoming(IncomingCallEvent { event: Some(event) })),
        }
    }

    /// Something went wrong.
    pub fn error(message: &str, direction: Direction) -> CallMessage {
        let message = message.to_string();
        match direction {
            Direction::Outgoing => CallMessage::Outgoing(OutgoingCallEvent {
                event: Some(outgoing_call_event::Event::Err(
                    outgoing_call_event::Error { message },
                )),
            }),
            Direction::Incoming => CallMessage::Incoming(IncomingCallEvent {
                event: Some(incoming_call_event::Event::Err(
                    incoming_call_event::Error { message },
                )),
            }),
        }
    }

    /// The call is over.
    pub fn ended(direction: Direction) -> CallMessage {
        match direction {
            Direction::Outgoing => CallMessage::Outgoing(OutgoingCallEvent {
                event: Some(outgoing_call_event::Event::Ended(
                    outgoing_call_event::Ended {},
                )),
            }),
            Direction::Incoming => CallMessage::Incoming(IncomingCallEvent {
                event: Some(incoming_call_event::Event::Ended(
                    incoming_call_event::Ended {},
                )),
            }),
        }
    }

    /// What became of a recording of the call.
    pub fn recording(recording: &Recording, direction: Direction) -> CallMessage {
        match direction {
            Direction::Outgoing => {
                use outgoing_call_event::Event;
                let event = match recording.state {
                    State::Recording => Event::RecordingStarted(started(recording)),
                    State::Ready => Event::RecordingReady(ready(recording)),
                    State::Failed => Event::RecordingFailed(failed(recording)),
                };
                CallMessage::Outgoing(OutgoingCallEvent { event: Some(event) })
            }
            Direction::Incoming => {
                use incoming_call_event::Event;
                let event = match recording.state {
                    State::Recording => Event::RecordingStarted(started(recording)),
                    State::Ready => Event::RecordingReady(ready(recording)),
                    State::Failed => Event::RecordingFailed(failed(recording)),
                };
                CallMessage::Incoming(IncomingCallEvent { event: Some(event) })
            }
        }
    }

    /// As octets, to be kept.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            CallMessage::Outgoing(event) => event.encode_to_vec(),
            CallMessage::Incoming(event) => event.encode_to_vec(),
        }
    }

    /// What [`encode`](Self::encode) wrote of a message of a call of this
    /// direction; `None` where it is something else.
    pub fn decode(octets: &[u8], direction: Direction) -> Option<CallMessage> {
        match direction {
            Direction::Outgoing => OutgoingCallEvent::decode(octets)
                .ok()
                .map(CallMessage::Outgoing),
            Direction::Incoming => IncomingCallEvent::decode(octets)
                .ok()
                .map(CallMessage::Incoming),
        }
    }

    /// As a frame of the call's WebSocket.
    pub fn frame(&self, encoding: Encoding) -> Frame {
        match self {
            CallMessage::Outgoing(event) => encoding.frame(&OutgoingCallData {
                data: Some(outgoing_call_data::Data::Event(event.clone())),
            }),
            CallMessage::Incoming(event) => encoding.frame(&IncomingCallData {
                data: Some(incoming_call_data::Data::Event(event.clone())),
            }),
        }
    }

    /// As a hook's body.
    pub fn hook_event(&self) -> call_event::Event {
        match self {
            CallMessage::Outgoing(event) => call_event::Event::Outgoing(event.clone()),
            CallMessage::Incoming(event) => call_event::Event::Incoming(event.clone()),
        }
    }
}

fn started(recording: &Recording) -> RecordingStarted {
    RecordingStarted {
        recording_id: recording.id.to_string(),
        format: recording.format.name().to_owned(),
        channels: recording.channels.name().to_owned(),
    }
}

fn ready(recording: &Recording) -> RecordingReady {
    RecordingReady {
        recording_id: recording.id.to_string(),
        format: recording.format.name().to_owned(),
        duration_ms: recording.duration_ms,
        size: recording.size,
        sha256: recording.sha256.clone().unwrap_or_default(),
        gaps: spans(&recording.gaps),
        recovered: recording.recovered,
    }
}

fn failed(recording: &Recording) -> RecordingFailed {
    RecordingFailed {
        recording_id: recording.id.to_string(),
        format: recording.format.name().to_owned(),
        duration_ms: recording.duration_ms,
        size: recording.size,
        sha256: recording.sha256.clone().unwrap_or_default(),
        gaps: spans(&recording.gaps),
        reason: recording.reason.clone().unwrap_or_default(),
    }
}

fn spans(spans: &[Span]) -> Vec<RecordingSpan> {
    let span = |span: &Span| RecordingSpan {
        at_ms: span.at_ms,
        duration_ms: span.duration_ms,
    };
    spans.iter().map(span).collect()
}

fn outgoing(kind: &CallEventKind) -> Option<outgoing_call_event::Event> {
    use outgoing_call_event::Event;
    use outgoing_sip::Event as Sip;
    let sip = |event| Event::Sip(outgoing_call_event::SipEvent { event: Some(event) });
    Some(match kind {
        CallEventKind::Provisional(code) => sip(Sip::Provisional(outgoing_sip::Provisional {
            code: u32::from(*code),
        })),
        CallEventKind::Early(code) => sip(Sip::Early(outgoing_sip::Early {
            code: u32::from(*code),
        })),
        CallEventKind::Answered(code) => sip(Sip::Accepted(outgoing_sip::Accepted {
            code: u32::from(*code),
        })),
        CallEventKind::Failed(code) => sip(Sip::Failure(outgoing_sip::Failure {
            code: u32::from(*code),
        })),
        CallEventKind::PeerHungUp => sip(Sip::Bye(outgoing_sip::Bye {})),
        CallEventKind::Cancelled => Event::Cancelled(outgoing_call_event::Cancelled {}),
        CallEventKind::Terminated => Event::Terminated(outgoing_call_event::Terminated {}),
        CallEventKind::Error(message) => Event::Err(outgoing_call_event::Error {
            message: message.clone(),
        }),
        CallEventKind::Ended(_) => Event::Ended(outgoing_call_event::Ended {}),
        CallEventKind::OtherJoined(peer) => Event::PeerJoined(outgoing_call_event::PeerJoined {
            peer: peer.to_string(),
        }),
        CallEventKind::OtherLeft { peer, reason } => {
            Event::PeerLeft(outgoing_call_event::PeerLeft {
                peer: peer.to_string(),
                reason: (*reason).to_owned(),
            })
        }
        CallEventKind::Key(key) => Event::Dtmf(outgoing_call_event::Dtmf {
            digit: key.digit.to_string(),
            duration_ms: key.duration_ms,
        }),
        CallEventKind::Played { play, end } => {
            Event::PlayFinished(outgoing_call_event::PlayFinished {
                play_id: play.to_string(),
                reason: end.label().to_owned(),
            })
        }
        CallEventKind::Alarm(SoundAlarm::Quality { way, poor, mos, r }) => {
            Event::Quality(outgoing_call_event::Quality {
                state: if *poor { "poor" } else { "good" }.to_owned(),
                way: way.label().to_owned(),
                mos: two_decimals(*mos),
                r_factor: two_decimals(*r),
            })
        }
        CallEventKind::Alarm(SoundAlarm::OneWay { missing, lasted }) => {
            Event::OneWayAudio(outgoing_call_event::OneWayAudio {
                state: alarm_state(*lasted),
                missing: missing.label().to_owned(),
                lasted_ms: milliseconds(*lasted),
            })
        }
        CallEventKind::Alarm(SoundAlarm::DeadAir { lasted }) => {
            Event::DeadAir(outgoing_call_event::DeadAir {
                state: alarm_state(*lasted),
                lasted_ms: milliseconds(*lasted),
            })
        }
        CallEventKind::Arrived(_)
        | CallEventKind::Accepted
        | CallEventKind::Rejected(_)
        | CallEventKind::CallerCancelled
        | CallEventKind::MediaServer(_)
        | CallEventKind::Web(_) => return None,
    })
}

fn incoming(kind: &CallEventKind) -> Option<incoming_call_event::Event> {
    use incoming_call_event::Event;
    use incoming_sip::Event as Sip;
    let sip = |event| Event::Sip(incoming_call_event::SipEvent { event: Some(event) });
    Some(match kind {
        CallEventKind::Accepted => Event::Accepted(incoming_call_event::Accepted {}),
        CallEventKind::Rejected(_) => Event::Rejected(incoming_call_event::Rejected {}),
        CallEventKind::CallerCancelled => sip(Sip::Cancelled(incoming_sip::Cancelled {})),
        CallEventKind::PeerHungUp => sip(Sip::Bye(incoming_sip::Bye {})),
        CallEventKind::Error(message) => Event::Err(incoming_call_event::Error {
            message: message.clone(),
        }),
        CallEventKind::Ended(_) => Event::Ended(incoming_call_event::Ended {}),
        CallEventKind::OtherJoined(peer) => Event::PeerJoined(incoming_call_event::PeerJoined {
            peer: peer.to_string(),
        }),
        CallEventKind::OtherLeft { peer, reason } => {
            Event::PeerLeft(incoming_call_event::PeerLeft {
                peer: peer.to_string(),
                reason: (*reason).to_owned(),
            })
        }
        CallEventKind::Key(key) => Event::Dtmf(incoming_call_event::Dtmf {
            digit: key.digit.to_string(),
            duration_ms: key.duration_ms,
        }),
        CallEventKind::Played { play, end } => {
            Event::PlayFinished(incoming_call_event::PlayFinished {
                play_id: play.to_string(),
                reason: end.label().to_owned(),
            })
        }
        CallEventKind::Alarm(SoundAlarm::Quality { way, poor, mos, r }) => {
            Event::Quality(incoming_call_event::Quality {
                state: if *poor { "poor" } else { "good" }.to_owned(),
                way: way.label().to_owned(),
                mos: two_decimals(*mos),
                r_factor: two_decimals(*r),
            })
        }
        CallEventKind::Alarm(SoundAlarm::OneWay { missing, lasted }) => {
            Event::OneWayAudio(incoming_call_event::OneWayAudio {
                state: alarm_state(*lasted),
                missing: missing.label().to_owned(),
                lasted_ms: milliseconds(*lasted),
            })
        }
        CallEventKind::Alarm(SoundAlarm::DeadAir { lasted }) => {
            Event::DeadAir(incoming_call_event::DeadAir {
                state: alarm_state(*lasted),
                lasted_ms: milliseconds(*lasted),
            })
        }
        CallEventKind::Arrived(_)
        | CallEventKind::Provisional(_)
        | CallEventKind::Early(_)
        | CallEventKind::Answered(_)
        | CallEventKind::Failed(_)
        | CallEventKind::Cancelled
        | CallEventKind::Terminated
        | CallEventKind::MediaServer(_)
        | CallEventKind::Web(_) => return None,
    })
}

fn alarm_state(lasted: Option<Duration>) -> String {
    match lasted {
        None => "begins".to_owned(),
        Some(_) => "over".to_owned(),
    }
}

fn milliseconds(lasted: Option<Duration>) -> u32 {
    let lasted = lasted.unwrap_or_default().as_millis();
    u32::try_from(lasted).unwrap_or(u32::MAX)
}

/// What notify_ws hears of an event after the arrival, if anything.
pub fn notify_follow_up(kind: &CallEventKind, from: &str, to: &str) -> Option<IncomingCallNotify> {
    use incoming_call_notify::Event;
    let (call_from, call_to) = (from.to_string(), to.to_string());
    let event = match kind {
        CallEventKind::Accepted => Event::Accepted(CallAccepted { call_from, call_to }),
        CallEventKind::Rejected(_) => Event::Rejected(CallRejected { call_from, call_to }),
        CallEventKind::CallerCancelled => Event::Cancelled(CallCancelled { call_from, call_to }),
        CallEventKind::Arrived(_)
        | CallEventKind::PeerHungUp
        | CallEventKind::Provisional(_)
        | CallEventKind::Early(_)
        | CallEventKind::Answered(_)
        | CallEventKind::Failed(_)
        | CallEventKind::Cancelled
        | CallEventKind::Terminated
        | CallEventKind::Error(_)
        | CallEventKind::OtherJoined(_)
        | CallEventKind::OtherLeft { .. }
        | CallEventKind::Key(_)
        | CallEventKind::Played { .. }
        | CallEventKind::Alarm(_)
        | CallEventKind::MediaServer(_)
        | CallEventKind::Web(_)
        | CallEventKind::Ended(_) => return None,
    };
    Some(IncomingCallNotify { event: Some(event) })
}

/// What notify_ws and the hook hear when somebody calls.
pub fn notify_arrived(token: &str, path: &str, from: &str, to: &str) -> IncomingCallNotify {
    IncomingCallNotify {
        event: Some(incoming_call_notify::Event::Arrived(CallArrived {
            call_token: token.to_string(),
            call_ws: path.to_string(),
            call_from: from.to_string(),
            call_to: to.to_string(),
        })),
    }
}

/// A hook's body.
pub fn hook_body(timestamp_ms: u64, call_id: &str, event: call_event::Event) -> CallEvent {
    CallEvent {
        timestamp: timestamp_ms,
        call_id: call_id.to_string(),
        event: Some(event),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(kind: CallEventKind, direction: Direction) -> String {
        match CallMessage::of(&kind, direction)
            .unwrap()
            .frame(Encoding::Text)
        {
            Frame::Text(text) => text.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn binary(kind: CallEventKind, direction: Direction) -> Vec<u8> {
        match CallMessage::of(&kind, direction)
            .unwrap()
            .frame(Encoding::Binary)
        {
            Frame::Binary(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn outgoing_events_have_the_numbers_and_names_of_the_contract() {
        use CallEventKind::*;
        let json = |kind| json(kind, Direction::Outgoing);
        let binary = |kind| binary(kind, Direction::Outgoing);
        assert_eq!(
            json(Provisional(180)),
            r#"{"event":{"sip":{"provisional":{"code":180}}}}"#
        );
        assert_eq!(
            binary(Provisional(180)),
            b"\x0a\x07\x12\x05\x0a\x03\x08\xb4\x01"
        );
        assert_eq!(
            json(Early(183)),
            r#"{"event":{"sip":{"early":{"code":183}}}}"#
        );
        assert_eq!(binary(Early(183)), b"\x0a\x07\x12\x05\x12\x03\x08\xb7\x01");
        assert_eq!(
            json(Answered(200)),
            r#"{"event":{"sip":{"accepted":{"code":200}}}}"#
        );
        assert_eq!(
            binary(Answered(200)),
            b"\x0a\x07\x12\x05\x1a\x03\x08\xc8\x01"
        );
        assert_eq!(
            json(Failed(486)),
            r#"{"event":{"sip":{"failure":{"code":486}}}}"#
        );
        assert_eq!(binary(Failed(486)), b"\x0a\x07\x12\x05\x22\x03\x08\xe6\x03");
        assert_eq!(json(PeerHungUp), r#"{"event":{"sip":{"bye":{}}}}"#);
        assert_eq!(binary(PeerHungUp), b"\x0a\x04\x12\x02\x2a\x00");
        assert_eq!(json(Cancelled), r#"{"event":{"cancelled":{}}}"#);
        assert_eq!(binary(Cancelled), b"\x0a\x02\x22\x00");
        assert_eq!(json(Terminated), r#"{"event":{"terminated":{}}}"#);
        assert_eq!(binary(Terminated), b"\x0a\x02\x2a\x00");
        assert_eq!(
            json(Error("x".to_string())),
            r#"{"event":{"err":{"message":"x"}}}"#
        );
        assert_eq!(binary(Error("x".to_string())), b"\x0a\x05\x0a\x03\x0a\x01x");
    }

    #[test]
    fn incoming_events_have_the_numbers_and_names_of_the_contract() {
        use CallEventKind::*;
        let json = |kind| json(kind, Direction::Incoming);
        let binary = |kind| binary(kind, Direction::Incoming);
        assert_eq!(json(Accepted), r#"{"event":{"accepted":{}}}"#);
        assert_eq!(binary(Accepted), b"\x0a\x02\x62\x00");
        assert_eq!(json(Rejected(486)), r#"{"event":{"rejected":{}}}"#);
        assert_eq!(binary(Rejected(486)), b"\x0a\x02\x72\x00");
        assert_eq!(
            json(CallerCancelled),
            r#"{"event":{"sip":{"cancelled":{}}}}"#
        );
        assert_eq!(binary(CallerCancelled), b"\x0a\x04\x5a\x02\x0a\x00");
        assert_eq!(json(PeerHungUp), r#"{"event":{"sip":{"bye":{}}}}"#);
        assert_eq!(binary(PeerHungUp), b"\x0a\x04\x5a\x02\x12\x00");
        assert_eq!(binary(Error("x".to_string())), b"\x0a\x05\x52\x03\x0a\x01x");
    }

    #[test]
    fn a_hook_body_has_the_numbers_and_names_of_the_contract() {
        let notify = notify_arrived("t", "/w", "1", "2");
        let body = hook_body(1700000000000, "id", call_event::Event::Notify(notify));
        assert_eq!(
            serde_json::to_string(&body).unwrap(),
            r#"{"timestamp":"1700000000000","call_id":"id","notify":{"arrived":{"call_token":"t","call_ws":"/w","call_from":"1","call_to":"2"}}}"#
        );
        assert_eq!(
            body.encode_to_vec(),
            b"\x08\x80\xd0\x95\xff\xbc\x31\x12\x02id\x52\x0f\x52\x0d\x0a\x01t\x12\x02/w\x1a\x011\x22\x012"
        );
        let cancelled = notify_follow_up(&CallEventKind::CallerCancelled, "1", "2").unwrap();
        assert_eq!(cancelled.encode_to_vec(), b"\x5a\x06\x1a\x011\x22\x012");
        let accepted = notify_follow_up(&CallEventKind::Accepted, "1", "2").unwrap();
        assert_eq!(accepted.encode_to_vec(), b"\x62\x06\x1a\x011\x22\x012");
        let rejected = notify_follow_up(&CallEventKind::Rejected(480), "1", "2").unwrap();
        assert_eq!(rejected.encode_to_vec(), b"\x6a\x06\x1a\x011\x22\x012");
    }
}
