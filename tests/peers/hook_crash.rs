//! A gateway that is killed at any moment loses no event that it has kept, and
//! no call that anybody was told of: records, outbox and what the hook saw say
//! the same.
//!
//! `RINGWIRE_KILLS=200 cargo nextest run --test peers hook_crash` is the long
//! form.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use serde_json::json;

use crate::support::sip::{SipMessage, SipPeer, pcmu_at};
use crate::support::{Gateway, HookReceiver, HookReply, eventually};

/// How often the gateway is killed where `RINGWIRE_KILLS` does not say.
const KILLS: u64 = 7;
/// Every outgoing call goes so; a crash may cut it short.
const OUTGOING: &[&str] = &[
    "outgoing.sip.provisional 180",
    "outgoing.sip.failure 486",
    "outgoing.ended",
];
/// Every incoming call goes so.
const INCOMING: &[&str] = &[
    "notify.arrived",
    "notify.rejected",
    "incoming.rejected",
    "incoming.ended",
];

/// One event as the outbox has it.
struct Kept {
    id: String,
    call_id: String,
    state: String,
}

/// Rings and refuses whoever calls.
fn busy_callee(mut peer: SipPeer, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            let mut invite = |message: &SipMessage| message.method() == Some("INVITE");
            if let Some(invite) = peer.within(Duration::from_millis(100), &mut invite) {
                peer.reply(&invite, 180, "Ringing", "busy", "");
                peer.reply(&invite, 486, "Busy Here", "busy", "");
            }
        }
    })
}

/// Calls a number that asks its hook, one call after the other.
fn caller(mut peer: SipPeer, gateway: SocketAddr, stop: Arc<AtomicBool>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let media = pcmu_at(([127, 0, 0, 1], 9).into());
        while !stop.load(Ordering::Relaxed) {
            let mut call = peer.invite(gateway, "7001", &media);
            let mut refused = |message: &SipMessage| message.status().is_some_and(|s| s >= 300);
            // Longer than an answer takes; nothing comes of a gateway that was
            // killed.
            if let Some(refusal) = peer.within(Duration::from_millis(400), &mut refused) {
                peer.acknowledge_refusal(&mut call, &refusal);
            }
        }
    })
}

/// A hook that fails every fifth time, and now and then takes its time. It
/// refuses every caller.
fn moody_hook() -> HookReceiver {
    let mut posts = 0_u32;
    HookReceiver::scripted(move |post| {
        if post.event() == "notify.arrived" {
            return HookReply::json(json!({ "action": "End" }));
        }
        posts += 1;
        match posts % 10 {
            3 | 8 => HookReply::status(503),
            5 => HookReply::nothing().after(Duration::from_millis(40)),
            _ => HookReply::nothing(),
        }
    })
}

fn database(gateway: &Gateway) -> Connection {
    let file = gateway.data_dir().join("ringwire.db");
    let db = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the db");
    db.busy_timeout(Duration::from_secs(5)).expect("a timeout");
    db
}

/// How each call went: result, code and who ended it, by its id.
fn records(gateway: &Gateway) -> HashMap<String, String> {
    let db = database(gateway);
    let mut query = db
        .prepare("SELECT call_id, result, sip_code, hung_up_by FROM records")
        .expect("the records");
    let rows = query.query_map([], |row| {
        let (result, code): (String, Option<u16>) = (row.get(1)?, row.get(2)?);
        let by: Option<String> = row.get(3)?;
        let went = match (code, by) {
            (Some(code), Some(by)) => format!("{result} {code} {by}"),
            _ => result,
        };
        Ok((row.get(0)?, went))
    });
    let rows: Vec<(String, String)> = rows.expect("rows").collect::<Result<_, _>>().expect("rows");
    let (count, records) = (rows.len(), rows.into_iter().collect::<HashMap<_, _>>());
    assert_eq!(count, records.len(), "a call has two records");
    records
}

/// The outbox, in the order of what happened.
fn outbox(gateway: &Gateway) -> Vec<Kept> {
    let db = database(gateway);
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
fn hooks_and_records_say_the_same_of_every_call_however_often_the_gateway_is_killed() {
    let kills = match std::env::var("RINGWIRE_KILLS") {
        Ok(text) => text.parse().expect("RINGWIRE_KILLS is a number"),
        Err(_) => KILLS,
    };
    let hook = moody_hook();
    let mut gateway = Gateway::with()
        .rtp_ports(160)
        .number("7001", &format!("hook = \"{}\"", hook.url()))
        .rtp("port_reuse_delay_s = 0")
        .start();
    let peer = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let callee = peer.address().to_string();
    let stop = Arc::new(AtomicBool::new(false));
    let answering = busy_callee(peer, stop.clone());
    let peer = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let calling = caller(peer, gateway.sip(), stop.clone());
    let mut answered_for = Vec::new();

    for round in 0..kills {
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
            let reply = gateway.api().post("/call/outgoing", &body);
            if reply.status == 200 {
                let id = reply.body["data"]["call_id"].as_str().expect("an id");
                answered_for.push(id.to_owned());
            }
        }
        gateway.kill();
        gateway.start_again();
    }
    stop.store(true, Ordering::Relaxed);
    calling.join().expect("the caller");
    gateway.wait_until_idle();
    eventually("everything in the outbox is delivered", || {
        let waits = |kept: &Kept| kept.state == "pending";
        (!outbox(&gateway).iter().any(waits)).then_some(())
    });
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
    let records = records(&gateway);
    let mut went: HashMap<&str, usize> = HashMap::new();
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
        let record = records.get(call).map(String::as_str);
        let record = record.unwrap_or_else(|| panic!("{call} has no record: {names:?}"));
        let (whole, end, went_so) = match names[0].split('.').next() {
            Some("notify" | "incoming") => {
                let end: &[&str] = &["incoming.err", "incoming.ended"];
                (INCOMING, end, "rejected 486 local")
            }
            _ => {
                let end: &[&str] = &["outgoing.err", "outgoing.ended"];
                (OUTGOING, end, "busy 486 remote")
            }
        };
        // A call that a crash cut off is told of at the next start.
        let own = names.len().saturating_sub(end.len());
        match record {
            "lost" => assert!(
                names.ends_with(end) && own < whole.len() && names[..own] == whole[..own],
                "{call} is lost, and told so without a gap: {names:?}"
            ),
            _ => assert_eq!((record, &names[..]), (went_so, whole), "{call}"),
        }
        *went.entry(record).or_default() += 1;
    }
    assert_eq!(
        seen.len(),
        kept.len(),
        "nothing that was kept was not posted"
    );
    for call in &answered_for {
        assert!(records.contains_key(call), "{call} has no record");
        assert!(seen.contains_key(call), "nothing was posted of {call}");
    }
    for result in ["busy 486 remote", "rejected 486 local", "lost"] {
        assert!(went.contains_key(result), "no call was {result}: {went:?}");
    }
    println!("{} calls: {went:?}", seen.len());
    hook.assert_all_signed();
}
