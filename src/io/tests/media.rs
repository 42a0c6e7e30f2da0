//! Media sockets, wakes and deadlines.

use super::*;

on_both_backends!(
    a_packet_goes_in_one_port_and_out_the_other_over_ipv4,
    a_packet_goes_in_one_port_and_out_the_other_over_ipv6,
    a_connected_port_hears_its_peer_only_and_sends_without_address,
    packets_queued_before_the_connect_still_say_who_sent_them,
    a_disconnected_port_hears_everybody_again,
    a_thousand_legs_lose_nothing,
    more_packets_than_slots_wait_in_their_sockets,
    a_reused_port_never_hears_for_the_leg_before,
    a_port_that_was_given_away_goes_on_in_another_backend,
    a_closed_peer_port_is_counted_and_the_leg_lives_on,
    empty_datagrams_arrive_and_the_port_lives_on,
    a_datagram_that_does_not_fit_is_dropped_and_counted,
    a_packet_may_grow_by_the_trailer,
    a_wake_ends_the_wait_and_many_wakes_are_one,
    a_deadline_ends_the_wait,
    a_port_beyond_the_limit_is_refused,
    removing_and_connecting_an_unknown_port_does_nothing,
    a_datagram_of_our_own_goes_out_at_once_to_an_address_or_the_connected_peer,
);

fn a_datagram_of_our_own_goes_out_at_once_to_an_address_or_the_connected_peer(
    choice: BackendChoice,
) {
    for bind in [V4, V6] {
        let mut rig = Rig::new(choice);
        let known = peer(bind);
        let ours = rig.media(0, bind);
        let hello = Bytes::from_static(b"hello");
        let mut buffer = [0; 64];
        let to = Some(address(&known));
        rig.backend.send_media(MediaPort(0), to, &hello);
        let heard = known.recv_from(&mut buffer).expect("received");
        assert_eq!(heard, (5, ours));
        rig.backend.connect_media(MediaPort(0), address(&known));
        rig.backend.send_media(MediaPort(0), None, &hello);
        assert_eq!(known.recv_from(&mut buffer).expect("received"), (5, ours));
        rig.backend.send_media(MediaPort(7), to, &hello);
        let counters = rig.backend.counters();
        assert_eq!(counters.media_generated, 2);
        assert_eq!(counters.drops.get(DropReason::StalePort), 1);
    }
}

fn relays(choice: BackendChoice, bind: &str) {
    let mut rig = Rig::new(choice);
    let (caller, callee) = (peer(bind), peer(bind));
    let entry = rig.media(0, bind);
    let exit = rig.media(1, bind);
    rig.core.routes.insert(0, (1, Some(address(&callee))));
    caller.send_to(b"hello", entry).expect("sent");
    rig.heard(1);
    rig.settle();
    let mut buffer = [0; 64];
    let (len, from) = callee.recv_from(&mut buffer).expect("received");
    assert_eq!((&buffer[..len], from), (&b"hello"[..], exit));
    assert_eq!(
        rig.core.media,
        [(0, Some(address(&caller)), b"hello".to_vec())]
    );
    assert_eq!(rig.backend.counters().media_received, 1);
    assert_eq!(rig.backend.counters().drops.total(), 0);
}

fn a_packet_goes_in_one_port_and_out_the_other_over_ipv4(choice: BackendChoice) {
    relays(choice, V4);
}

fn a_packet_goes_in_one_port_and_out_the_other_over_ipv6(choice: BackendChoice) {
    relays(choice, V6);
}

fn a_connected_port_hears_its_peer_only_and_sends_without_address(choice: BackendChoice) {
    for bind in [V4, V6] {
        let mut rig = Rig::new(choice);
        let (caller, stranger) = (peer(bind), peer(bind));
        let port = rig.media(0, bind);
        rig.core.routes.insert(0, (0, None));
        rig.backend.connect_media(MediaPort(0), address(&caller));
        rig.settle();
        for n in 0..100u8 {
            stranger.send_to(b"spam", port).expect("sent");
            caller.send_to(&[n], port).expect("sent");
            rig.heard(usize::from(n) + 1);
        }
        rig.settle();
        for n in 0..100u8 {
            assert_eq!(received(&caller), [n]);
        }
        assert_eq!(rig.core.media.len(), 100);
        let from_caller = [None, Some(address(&caller))];
        assert!(
            rig.core
                .media
                .iter()
                .all(|(_, from, _)| from_caller.contains(from))
        );
    }
}

fn packets_queued_before_the_connect_still_say_who_sent_them(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    let (caller, stranger) = (peer(V4), peer(V4));
    let port = rig.media(0, V4);
    rig.settle();
    // In the socket before the connect, and read after it.
    for _ in 0..20 {
        stranger.send_to(b"stray", port).expect("sent");
        caller.send_to(b"voice", port).expect("sent");
    }
    rig.backend.connect_media(MediaPort(0), address(&caller));
    for _ in 0..20 {
        stranger.send_to(b"late", port).expect("sent");
        caller.send_to(b"voice", port).expect("sent");
    }
    rig.heard(60);
    rig.settle();
    assert_eq!(rig.core.media.len(), 60);
    for (_, from, bytes) in &rig.core.media {
        match &bytes[..] {
            b"stray" => assert_eq!(*from, Some(address(&stranger))),
            other => assert_eq!(other, b"voice"),
        }
    }
}

fn a_disconnected_port_hears_everybody_again(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    let (caller, other) = (peer(V4), peer(V4));
    let port = rig.media(0, V4);
    for round in 1..=3 {
        rig.backend.connect_media(MediaPort(0), address(&caller));
        rig.settle();
        caller.send_to(b"one", port).expect("sent");
        rig.heard(round * 2 - 1);
        rig.backend.disconnect_media(MediaPort(0));
        rig.settle();
        other.send_to(b"two", port).expect("sent");
        rig.heard(round * 2);
        let last = rig.core.media.last().expect("heard");
        assert_eq!(*last, (0, Some(address(&other)), b"two".to_vec()));
    }
}

fn a_thousand_legs_lose_nothing(choice: BackendChoice) {
    const LEGS: u32 = 1000;
    const ROUNDS: usize = 5;
    sockets::raise_file_limit().expect("raised");
    let mut rig = Rig::new(choice);
    let caller = peer(V4);
    let ports: Vec<SocketAddr> = (0..LEGS).map(|n| rig.media(n, V4)).collect();
    // Every leg sends back; every second one is connected.
    for n in 0..LEGS {
        rig.core.routes.insert(n, (n, Some(address(&caller))));
        if n % 2 == 0 {
            rig.backend.connect_media(MediaPort(n), address(&caller));
        }
    }
    let mut answers = 0;
    for round in 1..=ROUNDS {
        for (n, port) in (0u32..).zip(&ports) {
            caller.send_to(&n.to_be_bytes(), port).expect("sent");
            if n % 50 == 49 {
                let so_far = (round - 1) * LEGS as usize + n as usize + 1;
                rig.heard(so_far);
                rig.settle_sends();
                while answers < so_far {
                    received(&caller);
                    answers += 1;
                }
            }
        }
    }
    assert_eq!(rig.core.media.len(), LEGS as usize * ROUNDS);
    assert!(
        rig.core
            .media
            .iter()
            .all(|(port, _, bytes)| port.to_be_bytes() == bytes[..])
    );
    assert_eq!(rig.backend.counters().drops.total(), 0);
}

fn more_packets_than_slots_wait_in_their_sockets(choice: BackendChoice) {
    let settings = BackendSettings {
        media_slots: 16,
        ..BackendSettings::default()
    };
    let mut rig = Rig::with(choice, settings);
    let (caller, callee) = (peer(V4), peer(V4));
    let ports: Vec<SocketAddr> = (0..10).map(|n| rig.media(n, V4)).collect();
    for n in 0..10 {
        rig.core.routes.insert(n, (n, Some(address(&callee))));
    }
    rig.settle();
    for n in 0..20u8 {
        for port in &ports {
            caller.send_to(&[n], port).expect("sent");
        }
    }
    rig.heard(200);
    rig.settle();
    for port in 0..10 {
        let heard: Vec<u8> = (rig.core.media.iter().filter(|(p, ..)| *p == port))
            .map(|(_, _, bytes)| bytes[0])
            .collect();
        assert_eq!(heard, (0..20).collect::<Vec<u8>>(), "in order, all");
    }
    for _ in 0..200 {
        received(&callee);
    }
}

fn a_reused_port_never_hears_for_the_leg_before(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    let caller = peer(V4);
    for round in 0..50 {
        let old = rig.media(0, V4);
        rig.settle_sends();
        for _ in 0..5 {
            caller.send_to(b"old", old).expect("sent");
        }
        // Completions of the old socket may be waiting now.
        rig.backend.remove_media(MediaPort(0));
        let new = rig.media(0, V4);
        rig.core.media.clear();
        caller.send_to(b"new", new).expect("sent");
        rig.heard(1);
        rig.settle_sends();
        for (_, _, bytes) in &rig.core.media {
            assert_eq!(bytes, b"new", "round {round}");
        }
        rig.backend.remove_media(MediaPort(0));
    }
}

fn a_port_that_was_given_away_goes_on_in_another_backend(choice: BackendChoice) {
    let (mut here, mut there) = (Rig::new(choice), Rig::new(choice));
    let caller = peer(V4);
    let ours = here.media(0, V4);
    here.backend.connect_media(MediaPort(0), address(&caller));
    here.settle();
    caller.send_to(b"one", ours).expect("sent");
    here.heard(1);
    let socket = here.backend.release_media(MediaPort(0)).expect("a socket");
    assert!(here.backend.release_media(MediaPort(0)).is_none());
    here.settle();
    there
        .backend
        .add_media(MediaPort(3), socket)
        .expect("added");
    there.backend.connect_media(MediaPort(3), address(&caller));
    there.settle();
    caller.send_to(b"two", ours).expect("sent");
    there.heard(1);
    there.backend.send_media(MediaPort(3), None, b"three");
    assert_eq!(received(&caller), b"three");
    here.settle();
    assert_eq!(here.core.media.len(), 1);
    assert_eq!(there.core.media[0].2, b"two");
}

fn a_closed_peer_port_is_counted_and_the_leg_lives_on(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    let gone = free_port(V4);
    let caller = UdpSocket::bind(gone).expect("bound");
    let port = rig.media(0, V4);
    let source = peer(V4);
    let other = rig.media(1, V4);
    rig.core.routes.insert(1, (0, None));
    rig.backend.connect_media(MediaPort(0), gone);
    rig.settle();
    drop(caller);
    for n in 0..10 {
        source.send_to(b"to a closed port", other).expect("sent");
        rig.heard(n + 1);
        rig.settle_sends();
    }
    rig.until("an ICMP error", |rig| {
        rig.backend.counters().media_icmp_errors > 0
    });
    // The peer comes back on the same port, and is heard.
    let caller = UdpSocket::bind(gone).expect("bound again");
    caller.send_to(b"back", port).expect("sent");
    rig.until("the peer's packet", |rig| {
        rig.core.media.iter().any(|m| m.2 == b"back")
    });
}

fn empty_datagrams_arrive_and_the_port_lives_on(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    let caller = peer(V4);
    let port = rig.media(0, V4);
    for connected in [false, true] {
        if connected {
            rig.backend.connect_media(MediaPort(0), address(&caller));
            rig.settle();
        }
        rig.core.media.clear();
        for _ in 0..5 {
            caller.send_to(b"", port).expect("sent");
        }
        caller.send_to(b"voice", port).expect("sent");
        rig.until("voice", |rig| {
            rig.core.media.iter().any(|m| m.2 == b"voice")
        });
    }
}

fn a_datagram_that_does_not_fit_is_dropped_and_counted(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    let caller = peer(V4);
    let port = rig.media(0, V4);
    for connected in [false, true] {
        if connected {
            rig.backend.connect_media(MediaPort(0), address(&caller));
            rig.settle();
        }
        rig.core.media.clear();
        let dropped = rig.backend.counters().drops.get(DropReason::Truncated);
        for len in [MAX_DATAGRAM + 1, SLOT_SIZE, 9000, MAX_DATAGRAM] {
            caller.send_to(&vec![1; len], port).expect("sent");
        }
        rig.heard(1);
        assert_eq!(rig.core.media[0].2.len(), MAX_DATAGRAM);
        let dropped_now = rig.backend.counters().drops.get(DropReason::Truncated);
        assert_eq!(dropped_now - dropped, 3);
    }
}

fn a_packet_may_grow_by_the_trailer(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    let (caller, callee) = (peer(V4), peer(V4));
    let port = rig.media(0, V4);
    rig.core.append = TRAILER_ROOM;
    rig.core.routes.insert(0, (0, Some(address(&callee))));
    for connected in [false, true] {
        if connected {
            rig.backend.connect_media(MediaPort(0), address(&caller));
            rig.settle();
        }
        rig.core.media.clear();
        caller.send_to(&[5; MAX_DATAGRAM], port).expect("sent");
        rig.heard(1);
        rig.settle_sends();
        let sent = received(&callee);
        assert_eq!(sent.len(), MAX_DATAGRAM + TRAILER_ROOM);
        assert_eq!(sent[MAX_DATAGRAM - 1..=MAX_DATAGRAM], [5, 0xaa]);
    }
}

fn a_wake_ends_the_wait_and_many_wakes_are_one(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    let waker = rig.backend.waker();
    for _ in 0..20 {
        let clone = waker.clone();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(5));
            for _ in 0..100 {
                clone.wake();
            }
        });
        // Without the wake this would wait forever.
        rig.backend.turn(None, &mut rig.core).expect("a turn");
        thread.join().expect("joined");
        rig.settle();
    }
    waker.wake();
    rig.backend.turn(None, &mut rig.core).expect("a turn");
}

fn a_deadline_ends_the_wait(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    rig.settle();
    for ms in [0, 1, 20] {
        let deadline = Instant::now() + Duration::from_millis(ms);
        while Instant::now() < deadline {
            rig.backend
                .turn(Some(deadline), &mut rig.core)
                .expect("a turn");
        }
        assert!(deadline.elapsed() < Duration::from_millis(500));
    }
    let past = Instant::now() - Duration::from_millis(1);
    rig.backend.turn(Some(past), &mut rig.core).expect("a turn");
}

fn a_port_beyond_the_limit_is_refused(choice: BackendChoice) {
    let settings = BackendSettings {
        media_ports: 4,
        ..BackendSettings::default()
    };
    let mut rig = Rig::with(choice, settings);
    rig.media(3, V4);
    let socket = sockets::bind_media(V4.parse().expect("an address")).expect("bound");
    assert!(rig.backend.add_media(MediaPort(4), socket).is_err());
}

fn removing_and_connecting_an_unknown_port_does_nothing(choice: BackendChoice) {
    let mut rig = Rig::new(choice);
    let somebody = address(&peer(V4));
    rig.backend.connect_media(MediaPort(7), somebody);
    rig.backend.disconnect_media(MediaPort(7));
    rig.backend.remove_media(MediaPort(7));
    rig.backend
        .send_signalling(ListenerId(7), somebody, Bytes::from_static(b"x"));
    rig.settle();
    // Forwarding to a port that was just removed is a counted drop.
    let caller = peer(V4);
    let entry = rig.media(0, V4);
    rig.core.routes.insert(0, (7, Some(somebody)));
    caller.send_to(b"x", entry).expect("sent");
    rig.heard(1);
    rig.settle();
    assert_eq!(rig.backend.counters().drops.get(DropReason::StalePort), 1);
}
