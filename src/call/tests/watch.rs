//! What is told of the sound of calls that are relayed.

use std::time::Duration;

use super::keys::{Two, peer};
use crate::book::DtmfPolicy;
use crate::call::event::{CallEventKind, Missing, SoundAlarm};
use crate::ids::CallId;
use crate::sip::message::Response;

fn relayed() -> Two {
    let one = || peer(DtmfPolicy::Auto, "8 101", "");
    Two::new([one(), one()])
}

/// Seconds in which these peers send a packet each.
fn seconds(two: &mut Two, count: u16, sending: &[usize]) {
    for _ in 0..count {
        for peer in sending {
            two.send(*peer);
        }
        two.house.pass(Duration::from_secs(1));
    }
}

fn alarms(two: &mut Two) -> Vec<(CallId, SoundAlarm)> {
    let events = two.house.events.drain(..);
    let alarm = |event: crate::call::event::CallEvent| match event.kind {
        CallEventKind::Alarm(alarm) => Some((event.call, alarm)),
        _ => None,
    };
    events.filter_map(alarm).collect()
}

fn one_way(missing: Missing, lasted: Option<u64>) -> SoundAlarm {
    let lasted = lasted.map(Duration::from_secs);
    SoundAlarm::OneWay { missing, lasted }
}

#[test]
fn one_side_that_is_not_heard_is_told_of_to_both_calls_and_its_end_too() {
    let mut two = relayed();
    seconds(&mut two, 3, &[0, 1]);
    seconds(&mut two, 9, &[0]);
    assert_eq!(alarms(&mut two), []);
    seconds(&mut two, 1, &[0]);
    let [one, other] = two.calls;
    let mut told = alarms(&mut two);
    told.sort_by_key(|(call, _)| *call != one);
    assert_eq!(
        told,
        [
            (one, one_way(Missing::Sent, None)),
            (other, one_way(Missing::Received, None)),
        ]
    );
    seconds(&mut two, 2, &[0]);
    seconds(&mut two, 2, &[0, 1]);
    let mut told = alarms(&mut two);
    told.sort_by_key(|(call, _)| *call != one);
    assert_eq!(
        told,
        [
            (one, one_way(Missing::Sent, Some(12))),
            (other, one_way(Missing::Received, Some(12))),
        ]
    );
    let counts: Vec<(&str, u64)> = two.house.calls.tally().alarms().collect();
    assert!(counts.contains(&("one_way_audio", 2)), "{counts:?}");
}

#[test]
fn nobody_is_told_of_a_pause_of_both() {
    let mut two = relayed();
    seconds(&mut two, 3, &[0, 1]);
    seconds(&mut two, 20, &[]);
    assert_eq!(alarms(&mut two), []);
}

#[test]
fn who_pauses_and_has_said_so_is_not_missed() {
    let one = || peer(DtmfPolicy::Auto, "8 13 101", "");
    let mut two = Two::new([one(), one()]);
    seconds(&mut two, 3, &[0, 1]);
    // One packet of comfort noise, and then nothing.
    two.rtp(1, [0, 13], 103, 24_160, &[60]);
    seconds(&mut two, 20, &[0]);
    assert_eq!(alarms(&mut two), []);
}

#[test]
fn who_waits_alone_is_not_told_of_anything() {
    let mut two = relayed();
    two.hang_up(1);
    two.house.told();
    seconds(&mut two, 20, &[0]);
    assert_eq!(alarms(&mut two), []);
}

#[test]
fn hold_ends_what_was_told_and_is_no_fault() {
    let mut two = relayed();
    seconds(&mut two, 11, &[0]);
    assert_eq!(alarms(&mut two).len(), 2);
    // The second peer, who is not heard, puts the call on hold.
    let held: Response = two.reinvite(1, "8 101/inactive");
    assert!(held.headers.call_id().is_ok());
    let other = two.calls[1];
    let told = alarms(&mut two);
    assert_eq!(told, [(other, one_way(Missing::Received, Some(11)))]);
    seconds(&mut two, 20, &[0]);
    assert_eq!(alarms(&mut two), []);
}

#[test]
fn a_lossy_call_is_rated_and_told_of_as_poor_both_when_it_ends_and_before() {
    let mut two = relayed();
    // Every third packet is lost.
    for _ in 0..20 {
        for n in 0..9 {
            match n % 3 {
                0 => two.lose(0),
                _ => {
                    two.send(0);
                }
            }
        }
        two.send(1);
        two.house.pass(Duration::from_secs(1));
    }
    let told = alarms(&mut two);
    let [
        (
            call,
            SoundAlarm::Quality {
                poor: true, mos, ..
            },
        ),
    ] = told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!(call, two.calls[0]);
    assert!((1.0..2.5).contains(&mos), "{mos}");
    let media = two.house.rooms.media(two.house.now, call).unwrap();
    let rating = media.quality.unwrap();
    assert_eq!(rating.mos_min, mos);
    two.hang_up(0);
    assert_eq!(two.house.calls.tally().mos_received.count(), 1);
}
