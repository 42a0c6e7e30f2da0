//! A gateway that is killed at any moment loses no event that it has kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::support::sip::SipPeer;
use crate::support::{Gateway, HookReceiver, HookReply, eventually};

const KILLS: u64 = 7;
/// Every call goes so; a crash may cut it short.
const EVENTS: [&str; 3] = [
    "outgoing.sip.provisional 180",
    "outgoing.sip.failure 486",
    "outgoing.ended",
];

/// One event as the outbox has it.
struct Kept {
    id: String,
    call_id: String,
    state: String,
}

/// Rings and refuses whoever calls.
fn busy_callee(mut peer: SipPeer, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let mut invite =
                |message: &crate::support::sip::SipMessage| message.method() == Some("INVITE");
            if let Some(invite) = peer.within(Duration::from_millis(100), &mut invite) {
                peer.reply(&invite, 180, "Ringing", "busy", "");
                peer.reply(&invite, 486, "Busy Here", "busy", "");
            }
        }
    })
}

/// A hook that fails every fifth time, and now and then takes its time.
fn moody_hook() -> HookReceiver {
    let mut posts = 0_u32;
    HookReceiver::scripted(move |_| {
        posts += 1;
        match posts % 10 {
            3 | 8 => HookReply::status(503),
            5 => HookReply::nothing().after(Duration::from_millis(40)),
            _ => HookReply::nothing(),
        }
    })
}

/// The outbox, in the order of what happened.
fn outbox(gateway: &Gateway) -> Vec<Kept> {
    let file = gateway.data_dir().join("ringwire.db");
    let db = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the db");
    db.busy_timeout(Duration::from_secs(5)).expect("a timeout");
    let mut query = db
        .prepare("SELECT id, call_id, state FROM outbox ORDER BY seq")
        .expect("the outbox");
    let rows = query.query_map([], |row| {
        Ok(Kept {
            id: row.get(0)?,
            call_id: row.get(1)?,
            state: row.get(2)?,
        })
    });
    let rows = rows.expect("rows");
    rows.collect::<Result<_, _>>().expect("rows")
}

#[test]
fn what_is_in_the_outbox_is_delivered_in_order_however_often_the_gateway_is_killed() {
    let hook = moody_hook();
    let mut gateway = Gateway::with()
        .rtp_ports(80)
        .rtp("port_reuse_delay_s = 0")
        .start();
    let peer = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let callee = peer.address().to_string();
    let stop = Arc::new(AtomicBool::new(false));
    let answering = busy_callee(peer, stop.clone());

    for round in 0..KILLS {
        // Seeded moments, spread over the life of the first few dozen calls.
        let moment = Duration::from_millis(60 + (round * 7_919 + 13) % 700);
        let killed_at = Instant::now() + moment;
        let mut room = 0;
        while Instant::now() < killed_at {
            room += 1;
            let body = json!({
                "sip_server": callee, "from_number": "1000", "to_number": "2000",
                "hook": hook.url(),
                "streaming": { "room": format!("{round}-{room}"), "peer": "callee" },
            });
            gateway.api().post("/call/outgoing", &body);
        }
        gateway.kill();
        gateway.start_again();
    }
    eventually("everything in the outbox is delivered", || {
        let waits = |kept: &Kept| kept.state == "pending";
        (!outbox(&gateway).iter().any(waits)).then_some(())
    });
    stop.store(true, Ordering::Relaxed);
    answering.join().expect("the callee");

    let mut seen: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for post in hook.posts() {
        let events = seen.entry(post.call_id()).or_default();
        if !events.iter().any(|(id, _)| *id == post.id) {
            events.push((post.id.clone(), post.event()));
        }
    }
    let mut kept: HashMap<String, Vec<String>> = HashMap::new();
    for row in outbox(&gateway) {
        assert_eq!(row.state, "delivered", "{}", row.id);
        kept.entry(row.call_id).or_default().push(row.id);
    }
    let mut whole = 0;
    for (call, events) in &seen {
        let ids: Vec<&String> = events.iter().map(|(id, _)| id).collect();
        let kept: Vec<&String> = kept
            .get(call)
            .map(|ids| ids.iter().collect())
            .unwrap_or_default();
        assert_eq!(
            ids, kept,
            "what was posted of {call} is what was kept, in order"
        );
        let names: Vec<&str> = events.iter().map(|(_, name)| name.as_str()).collect();
        let own = names.iter().zip(EVENTS).take_while(|(a, b)| **a == *b);
        let own = own.count();
        // A call that a crash cut off is told of at the next start.
        let cut_off: &[&str] = &["outgoing.err", "outgoing.ended"];
        assert!(
            names.len() == own || own < EVENTS.len() && names[own..] == *cut_off,
            "{call} has no gap: {names:?}"
        );
        whole += usize::from(own == EVENTS.len());
    }
    assert_eq!(
        seen.len(),
        kept.len(),
        "nothing that was kept was not posted"
    );
    assert!(whole > 0, "no call came to its end: {seen:?}");
    hook.assert_all_signed();
}
