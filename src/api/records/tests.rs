use super::*;
use crate::call::request::CallState;
use crate::ids::ShardId;

fn ended(
    direction: Direction,
    end_reason: &'static str,
    sip_code: u16,
    answered: bool,
) -> CallSnapshot {
    CallSnapshot {
        call: CallId {
            shard: ShardId(0),
            random: 1,
        },
        app: AppId::new("acme"),
        direction,
        state: CallState::Ended,
        from: Arc::from("100"),
        to: Arc::from("200"),
        sip_call_id: Arc::from("x@y"),
        peer_address: "127.0.0.1:5070".parse().unwrap(),
        stream: None,
        created_ms: 1,
        ringing_ms: None,
        early_ms: None,
        answered_ms: answered.then_some(2),
        ended_ms: Some(3),
        sip_code: Some(sip_code),
        end_reason: Some(end_reason),
        held: false,
        security: "none",
        srtp_suite: None,
        media: None,
    }
}

#[test]
fn a_record_says_how_the_call_went_and_who_ended_it() {
    use Direction::{Incoming, Outgoing};
    for (direction, reason, code, answered, result, by) in [
        (Incoming, "remote", 200, true, "answered", "remote"),
        (Incoming, "local", 200, true, "answered", "local"),
        (Incoming, "media_timeout", 200, true, "answered", "gateway"),
        (Incoming, "local", 486, false, "rejected", "local"),
        (Incoming, "rejected", 480, false, "rejected", "local"),
        (Incoming, "cancelled", 487, false, "cancelled", "remote"),
        (Incoming, "no_answer", 480, false, "no_answer", "gateway"),
        (Incoming, "no_common_codec", 488, false, "failed", "gateway"),
        (Outgoing, "remote", 200, true, "answered", "remote"),
        (Outgoing, "local", 487, false, "cancelled", "local"),
        (Outgoing, "failed", 408, false, "no_answer", "gateway"),
        (Outgoing, "failed", 480, false, "no_answer", "remote"),
        (Outgoing, "failed", 486, false, "busy", "remote"),
        (Outgoing, "failed", 603, false, "rejected", "remote"),
        (Outgoing, "failed", 503, false, "failed", "remote"),
    ] {
        let record = of_ended(&ended(direction, reason, code, answered));
        let told = (record.result.name(), record.hung_up_by.as_deref());
        assert_eq!(told, (result, Some(by)), "{direction:?} {reason} {code}");
    }
}
