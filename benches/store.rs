//! Call records through the store's writer: calls a second, each with its
//! three changes (begun, answered, ended), what a row takes on the disk, and
//! how long the first page of a search takes.
//!
//! `cargo bench --bench store -- 200000` (calls; the default is 100,000)

use std::time::{Duration, Instant};

use ringwire::store::records::{self, CallResult, Filter, Key, Media, Record};
use ringwire::store::{Store, StoreError};

/// Changes that wait at a time: what the writer takes is measured, not how
/// much may wait for it.
const IN_FLIGHT: usize = 16_384;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|text| text != "--bench");
    let calls: u64 = match arguments.next() {
        Some(text) => text.parse().expect("a number of calls"),
        None => 100_000,
    };
    let directory = tempfile::tempdir_in(".").expect("a directory on the disk");
    let store = Store::open(directory.path()).expect("a store");
    let start = Instant::now();
    let mut waiting = std::collections::VecDeque::new();
    for n in 0..calls {
        let record = record(n);
        let begun = Record {
            result: CallResult::Open,
            ..record.clone()
        };
        let key = record.key.clone();
        waiting.push_back(store.write(move |db| records::open(db, &begun, None)));
        waiting.push_back(store.write(move |db| records::answered(db, &key, n, None)));
        waiting.push_back(store.write(move |db| records::close(db, &record)));
        while waiting.len() > IN_FLIGHT {
            let change = waiting.pop_front().expect("a change");
            change.wait().expect("it is written");
        }
    }
    for change in waiting {
        change.wait().expect("it is written");
    }
    let spent = start.elapsed();
    let counters = store.counters();
    println!(
        "store: {:.0} call records/s ({:.0} changes/s, {:.0} in a transaction)",
        calls as f64 / spent.as_secs_f64(),
        counters.written as f64 / spent.as_secs_f64(),
        counters.written as f64 / counters.transactions as f64,
    );
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
