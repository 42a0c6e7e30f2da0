//! Call records through the store's writer, as the gateway writes them: calls a
//! second that last while others begin and end, so that each is written when
//! it begins, is answered and ends, and calls that are over before anything of
//! them was written; what a row takes on the disk, and how long the first page
//! of a search takes.
//!
//! `cargo bench --bench store -- 200000` (calls; the default is 100,000)

use std::sync::Arc;
use std::time::{Duration, Instant};

use ringwire::store::records::{self, CallResult, Draft, Filter, Key, Media, Record, RowId};
use ringwire::store::{Store, StoreError};

/// Changes between two waits for the writer: what it takes is measured, not
/// how much may wait for it.
const AT_ONCE: u64 = 1_000;
/// Calls at a time that last.
const LASTING: u64 = 5_000;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|text| text != "--bench");
    let calls: u64 = match arguments.next() {
        Some(text) => text.parse().expect("a number of calls"),
        None => 100_000,
    };
    let directory = tempfile::tempdir_in(".").expect("a directory on the disk");
    let store = Store::open(directory.path()).expect("a store");
    run(&store, "calls that last", 0..calls, LASTING);
    run(&store, "calls over at once", calls..2 * calls, 0);
    let calls = 2 * calls;
    let bytes: u64 = std::fs::read_dir(directory.path())
        .expect("the directory")
        .filter_map(|entry| entry.ok()?.metadata().ok())
        .map(|file| file.len())
        .sum();
    println!(
        "store: {} bytes per record on the disk",
        bytes / calls.max(1)
    );
    let app = Filter {
        app: Some("app-1".to_owned()),
        limit: 50,
        ..Filter::default()
    };
    let number = Filter {
        number: Some("4930100001".to_owned()),
        ..app.clone()
    };
    let lost = Filter {
        result: Some(CallResult::Lost),
        ..app.clone()
    };
    for (name, filter) in [("an app", app), ("a number", number), ("lost ones", lost)] {
        let mut times: Vec<Duration> = (0..100).map(|_| time(&store, &filter)).collect();
        times.sort();
        println!("store: first page of {name}: {:?} (median)", times[50]);
    }
}

/// Each call begins, is answered, and ends once `lasting` others have begun.
fn run(store: &Store, what: &str, calls: std::ops::Range<u64>, lasting: u64) {
    let before = (store.counters(), writer_seconds(), Instant::now());
    let mut alive = std::collections::VecDeque::new();
    let told = |outcome: Result<(), StoreError>| outcome.expect("it is written");
    for n in calls.clone() {
        let ended = record(n);
        let begun = Record {
            result: CallResult::Open,
            ..ended.clone()
        };
        let (key, row) = (ended.key.clone(), RowId::new(ended.created_ms, n as u32));
        let draft = Arc::new(Draft::default());
        draft.begin(store, row, begun, None, told);
        alive.push_back((draft, row, key, ended));
        if alive.len() as u64 * 2 > lasting {
            let (draft, row, key, _) = &alive[alive.len() - 1 - lasting as usize / 2];
            draft.answer(store, *row, key.clone(), n, None, told);
        }
        if alive.len() as u64 > lasting
            && let Some((draft, row, _, ended)) = alive.pop_front()
        {
            store.write_quietly(draft.end(row, ended, told));
        }
        if n.is_multiple_of(AT_ONCE) {
            store.write_one(|_| Ok(())).wait().expect("it is written");
        }
    }
    for (draft, row, _, ended) in alive {
        store.write_quietly(draft.end(row, ended, told));
    }
    store.write_one(|_| Ok(())).wait().expect("it is written");
    let (counters, seconds, start) = before;
    let (spent, count) = (
        start.elapsed().as_secs_f64(),
        (calls.end - calls.start) as f64,
    );
    let now = store.counters();
    println!(
        "store: {what}: {:.0} call records/s, {:.1} µs of the writer's CPU each ({:.0} changes in a transaction)",
        count / spent,
        1e6 * (writer_seconds() - seconds) / count,
        (now.written - counters.written) as f64 / (now.transactions - counters.transactions) as f64,
    );
}

/// CPU time of the writer's thread so far.
fn writer_seconds() -> f64 {
    let threads = std::fs::read_dir("/proc/self/task").expect("the threads");
    let store = threads.filter_map(|entry| {
        let path = entry.ok()?.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        (name.trim() == "store").then_some(path)
    });
    let nanoseconds = |path: std::path::PathBuf| {
        let told = std::fs::read_to_string(path.join("schedstat")).expect("its times");
        let first = told.split(' ').next().expect("a time");
        first.parse::<f64>().expect("nanoseconds")
    };
    store.map(nanoseconds).sum::<f64>() / 1e9
}

fn time(store: &Store, filter: &Filter) -> Duration {
    let start = Instant::now();
    let page: Result<_, StoreError> = store.read_blocking(|db| records::search(db, filter));
    page.expect("a page");
    start.elapsed()
}

fn record(n: u64) -> Record {
    let key = Key {
        // Ids are random.
        call_id: format!(
            "00{:032x}",
            u128::from(n).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
        ),
        app_id: format!("app-{}", n % 10),
        incoming: n.is_multiple_of(2),
    };
    Record {
        result: CallResult::Answered,
        from: format!("+49301{:05}", n % 1_000),
        to: format!("+49302{:05}", n % 777),
        sip_call_id: Some(format!("{n}-4711@192.0.2.1")),
        peer_address: Some("192.0.2.1:5060".to_owned()),
        place: Some((format!("room-{n}"), "phone".to_owned())),
        ringing_ms: Some(n + 1),
        answered_ms: Some(n + 2),
        ended_ms: Some(n + 3),
        sip_code: Some(200),
        end_reason: Some("remote".to_owned()),
        hung_up_by: Some("remote".to_owned()),
        security: Some("none".to_owned()),
        media: Some(Media {
            codec: "PCMU".to_owned(),
            packets_received: 1_500,
            bytes_received: 240_000,
            packets_sent: 1_500,
            bytes_sent: 240_000,
            ..Media::default()
        }),
        ..Record::open(key, 1_780_000_000_000 + n)
    }
}
