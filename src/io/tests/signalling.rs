//! SIP sockets.

use super::*;

on_both_backends!(
    sip_goes_in_and_out_over_both_families,
    a_large_sip_datagram_arrives_whole,
    a_sip_destination_that_is_closed_is_reported,
    a_full_sip_queue_drops_and_counts,
);

fn sip_goes_in_and_out_over_both_families(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    for (id, bind) in [(0, V4), (3, V6)] {
        let phone = peer(bind);
        let listener = rig.listener(id, bind);
        phone.send_to(b"OPTIONS", listener).expect("sent");
        rig.until("a request", |rig| !rig.core.signalling.is_empty());
        let request = rig.core.signalling.remove(0);
        assert_eq!(request, (id, address(&phone), b"OPTIONS".to_vec()));
        let answer = Bytes::from_static(b"200");
        rig.backend
            .send_signalling(ListenerId(id), address(&phone), answer);
        rig.settle();
        assert_eq!(received(&phone), b"200");
    }
    assert_eq!(rig.backend.counters().signalling_received, 2);
    assert_eq!(rig.backend.counters().signalling_sent, 2);
}

fn a_large_sip_datagram_arrives_whole(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    let phone = peer(V4);
    let listener = rig.listener(0, V4);
    let body = vec![b'x'; 60_000];
    phone.send_to(&body, listener).expect("sent");
    rig.until("the datagram", |rig| !rig.core.signalling.is_empty());
    assert_eq!(rig.core.signalling[0].2, body);
}

fn a_sip_destination_that_is_closed_is_reported(choice: BackendChoice) {
    for bind in [V4, V6] {
        let mut rig = Rig::new(choice);
        let (gone, phone) = (free_port(bind), peer(bind));
        let listener = rig.listener(2, bind);
        for _ in 0..5 {
            rig.backend
                .send_signalling(ListenerId(2), gone, Bytes::from_static(b"INVITE"));
            rig.until("an error", |rig| !rig.core.errors.is_empty());
            assert!(
                rig.core
                    .errors
                    .drain(..)
                    .all(|error| error == (2, Some(gone)))
            );
            // Others are served as before.
            let answer = Bytes::from_static(b"200");
            rig.backend
                .send_signalling(ListenerId(2), address(&phone), answer);
            rig.settle();
            assert_eq!(received(&phone), b"200");
            phone.send_to(b"ACK", listener).expect("sent");
            rig.until("a request", |rig| rig.core.signalling.pop().is_some());
        }
    }
}

fn a_full_sip_queue_drops_and_counts(choice: BackendChoice) {
    let settings = BackendSettings {
        signalling_queue: 10,
        ..BackendSettings::default()
    };
    let mut rig = Rig::with(choice, settings);
    let phone = peer(V4);
    rig.listener(0, V4);
    for n in 0..15u8 {
        let payload = Bytes::from(vec![n]);
        rig.backend
            .send_signalling(ListenerId(0), address(&phone), payload);
    }
    rig.settle();
    for n in 0..10u8 {
        assert_eq!(received(&phone), [n]);
    }
    assert_eq!(rig.backend.counters().signalling_queue_full, 5);
    // What was sent makes room.
    rig.backend
        .send_signalling(ListenerId(0), address(&phone), Bytes::from_static(b"on"));
    rig.settle();
    assert_eq!(received(&phone), b"on");
}
