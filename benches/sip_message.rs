//! What one SIP message costs: read, written, answered, given to its shard.
//!
//! `cargo bench --bench sip_message`. The INVITE is 924 octets long, as
//! a softphone behind one proxy sends it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringwire::sip::message::{Message, response_to};
use ringwire::sip::parse::parse;
use ringwire::sip::routing::owner;
use ringwire::sip::status::StatusCode;

#[path = "instructions/src/invite.rs"]
mod invite;
use invite::INVITE;

fn sip_message(c: &mut Criterion) {
    let Ok(Message::Request(request)) = parse(INVITE.as_bytes()) else {
        panic!("the INVITE is good");
    };
    assert_eq!(request.body.len(), 233);
    let response = response_to(&request, StatusCode::OK, None);
    let mut out = Vec::with_capacity(2048);

    let mut group = c.benchmark_group("sip_message");
    group.throughput(Throughput::Elements(1));
    group.bench_function("parse_invite", |b| {
        b.iter(|| parse(black_box(INVITE.as_bytes())));
    });
    group.bench_function("write_invite", |b| {
        b.iter(|| {
            out.clear();
            black_box(&request).write_to(&mut out);
        });
    });
    group.bench_function("answer_invite", |b| {
        b.iter(|| response_to(black_box(&request), StatusCode::OK, None));
    });
    group.bench_function("write_response", |b| {
        b.iter(|| {
            out.clear();
            black_box(&response).write_to(&mut out);
        });
    });
    group.bench_function("owner_of_invite", |b| {
        b.iter(|| owner(black_box(INVITE.as_bytes()), 8));
    });
    group.finish();
}

criterion_group!(benches, sip_message);
criterion_main!(benches);
