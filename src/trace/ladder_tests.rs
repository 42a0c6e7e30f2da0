use super::super::run::OVERHEAD;
use super::*;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::ids::ShardId;

fn id(random: u128) -> CallId {
    CallId {
        shard: ShardId(0),
        random,
    }
}

fn app() -> AppId {
    AppId::new("a")
}

fn message(now: Instant, text: &str) -> TracedMessage {
    TracedMessage {
        at: now,
        way: Way::Received,
        local: "127.0.0.1:5060".parse().unwrap(),
        remote: "127.0.0.1:5070".parse().unwrap(),
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn read(traces: &Traces, call: CallId) -> Option<CallTrace> {
    Some(traces.of_call(call)?.read())
}

fn texts(trace: &CallTrace) -> Vec<&str> {
    trace
        .messages()
        .map(|message| std::str::from_utf8(&message.payload).unwrap())
        .collect()
}

fn settings() -> TraceSettings {
    TraceSettings {
        messages: 4,
        ..TraceSettings::default()
    }
}

#[test]
fn what_came_before_the_call_was_one_belongs_to_it() {
    let (now, mut traces) = (Instant::now(), Traces::new(settings()));
    assert!(traces.wants(b"x", true));
    traces.record(b"x", message(now, "INVITE"));
    traces.claim("x", id(1), &app());
    assert!(traces.wants(b"x", false));
    traces.record(b"x", message(now, "200"));
    assert_eq!(texts(&read(&traces, id(1)).unwrap()), ["INVITE", "200"]);
    assert_eq!(traces.waiting.len(), 1);
    traces.sweep(now + FRESH_FOR);
    assert!(traces.waiting.is_empty());
    assert_eq!(texts(&read(&traces, id(1)).unwrap()), ["INVITE", "200"]);
    assert!(!traces.wants(b"y", false));
    assert_eq!(read(&traces, id(2)), None);
}

#[test]
fn of_many_messages_the_first_and_the_last_are_kept() {
    let (now, mut traces) = (Instant::now(), Traces::new(settings()));
    traces.claim("x", id(1), &app());
    for n in 0..10 {
        traces.record(b"x", message(now, &n.to_string()));
    }
    let trace = read(&traces, id(1)).unwrap();
    assert_eq!(texts(&trace), ["0", "1", "8", "9"]);
    assert_eq!(trace.left_out, 6);
    assert_eq!(traces.bytes(), 4 * (1 + OVERHEAD));
}

#[test]
fn the_bytes_of_a_call_are_bounded() {
    let settings = TraceSettings {
        bytes: 2 * (10 + OVERHEAD),
        ..TraceSettings::default()
    };
    let (now, mut traces) = (Instant::now(), Traces::new(settings));
    traces.claim("x", id(1), &app());
    for n in 0..5 {
        traces.record(b"x", message(now, &format!("message  {n}")));
    }
    let trace = read(&traces, id(1)).unwrap();
    assert_eq!(texts(&trace), ["message  0", "message  4"]);
    assert_eq!(trace.left_out, 3);
}

#[test]
fn an_ended_call_is_kept_for_a_while_and_then_nothing_is_left() {
    let (now, mut traces) = (Instant::now(), Traces::new(settings()));
    traces.claim("x", id(1), &app());
    traces.record(b"x", message(now, "BYE"));
    traces.end(now, id(1));
    traces.record(b"x", message(now, "200"));
    traces.sweep(now + ENDED_KEPT - Duration::from_millis(1));
    assert_eq!(texts(&read(&traces, id(1)).unwrap()), ["BYE", "200"]);
    traces.sweep(now + ENDED_KEPT);
    assert_eq!(read(&traces, id(1)), None);
    assert_eq!((traces.bytes(), traces.ladders.len()), (0, 0));
}

#[test]
fn when_memory_is_used_up_ended_calls_go_first_and_then_messages_are_only_counted() {
    let settings = TraceSettings {
        total_bytes: 2 * (4 + OVERHEAD),
        ..TraceSettings::default()
    };
    let (now, mut traces) = (Instant::now(), Traces::new(settings));
    traces.claim("x", id(1), &app());
    traces.record(b"x", message(now, "1111"));
    traces.end(now, id(1));
    traces.claim("y", id(2), &app());
    traces.record(b"y", message(now, "2222"));
    traces.record(b"y", message(now, "3333"));
    assert_eq!(read(&traces, id(1)), None);
    traces.record(b"y", message(now, "4444"));
    let trace = read(&traces, id(2)).unwrap();
    assert_eq!(texts(&trace), ["2222", "3333"]);
    assert_eq!(trace.left_out, 1);
}

#[test]
fn invites_that_never_became_calls_push_each_other_out() {
    let (now, mut traces) = (Instant::now(), Traces::new(settings()));
    for n in 0..=MAX_UNCLAIMED {
        let key = n.to_string();
        assert!(traces.wants(key.as_bytes(), true));
        traces.record(key.as_bytes(), message(now, "INVITE"));
    }
    assert_eq!(traces.ladders.len(), MAX_UNCLAIMED);
    assert!(traces.waiting.is_empty());
    assert!(!traces.wants(b"0", false));
}

#[test]
fn a_call_id_that_two_apps_share_is_shown_to_neither() {
    let mut traces = Traces::new(settings());
    traces.claim("x", id(1), &app());
    traces.claim("x", id(2), &app());
    assert!(read(&traces, id(1)).is_some());
    traces.claim("x", id(3), &AppId::new("b"));
    for n in 1..=3 {
        assert_eq!(read(&traces, id(n)), None);
    }
}

#[test]
fn nothing_is_kept_where_tracing_is_off() {
    let settings = TraceSettings {
        enabled: false,
        ..TraceSettings::default()
    };
    let mut traces = Traces::new(settings);
    assert!(!traces.wants(b"x", true));
    traces.claim("x", id(1), &app());
    assert_eq!(read(&traces, id(1)), None);
}

#[test]
fn messages_that_have_been_there_for_a_while_get_small_and_are_told_as_they_came() {
    let (now, mut traces) = (Instant::now(), Traces::new(settings()));
    let text = |n: usize| format!("INVITE sip:{n}@192.0.2.1 SIP/2.0\r\nMax-Forwards: 70\r\n\r\n");
    for key in 0..5 {
        traces.claim(&key.to_string(), id(key), &app());
        traces.record(key.to_string().as_bytes(), message(now, &text(0)));
    }
    let before = traces.bytes();
    traces.sweep(now + FRESH_FOR - Duration::from_millis(1));
    assert_eq!(traces.bytes(), before);
    traces.sweep(now + FRESH_FOR);
    assert!(traces.bytes() < before / 2);
    for key in 0..5 {
        let trace = read(&traces, id(key)).unwrap();
        assert_eq!(trace.first, [message(now, &text(0))]);
    }
}

#[test]
fn the_messages_of_a_call_that_has_ended_stay_as_they_came() {
    let (now, mut traces) = (Instant::now(), Traces::new(settings()));
    traces.claim("x", id(1), &app());
    traces.record(b"x", message(now, "INVITE"));
    traces.end(now, id(1));
    traces.record(b"x", message(now, "200"));
    let before = traces.bytes();
    traces.sweep(now + FRESH_FOR);
    assert_eq!(traces.bytes(), before);
    assert!(traces.waiting.is_empty());
    assert_eq!(texts(&read(&traces, id(1)).unwrap()), ["INVITE", "200"]);
}

#[test]
fn each_message_that_comes_makes_some_small_so_that_nothing_piles_up() {
    let (now, mut traces) = (Instant::now(), Traces::new(settings()));
    for n in 0..1_000 {
        let (key, at) = (n.to_string(), now + Duration::from_millis(10) * n);
        traces.claim(&key, id(u128::from(n)), &app());
        traces.record(key.as_bytes(), message(at, "INVITE"));
        let seconds = FRESH_FOR.as_millis() as usize / 10;
        assert!(traces.waiting.len() <= seconds + 1);
    }
}

/// What is kept, by the plainest of means.
#[derive(Default)]
struct Plain {
    first: Vec<TracedMessage>,
    left_out: u64,
    last: Vec<TracedMessage>,
}

impl Plain {
    fn record(&mut self, settings: &TraceSettings, message: TracedMessage) {
        let cost = |messages: &[TracedMessage]| -> usize {
            let costs = messages.iter().map(|m| m.payload.len() + OVERHEAD);
            costs.sum()
        };
        let begun = self.left_out > 0 || !self.last.is_empty();
        let fits = cost(&self.first) + message.payload.len() + OVERHEAD <= settings.bytes / 2;
        if !begun && self.first.len() < settings.messages / 2 && fits {
            self.first.push(message);
            return;
        }
        self.last.push(message);
        while self.last.len() > settings.messages.div_ceil(2)
            || cost(&self.last) > settings.bytes / 2
        {
            self.last.remove(0);
            self.left_out += 1;
        }
    }
}

#[test]
fn whenever_messages_get_small_the_same_ones_are_kept() {
    let mut random = StdRng::from_seed([9; 32]);
    for round in 0..300 {
        let settings = TraceSettings {
            messages: random.random_range(2..24),
            bytes: random.random_range(1..16) * 1024,
            ..TraceSettings::default()
        };
        let (mut traces, mut plain) = (Traces::new(settings), Plain::default());
        let mut now = Instant::now();
        traces.claim("x", id(1), &app());
        for _ in 0..random.random_range(1..80) {
            now += Duration::from_millis(random.random_range(0..3_000));
            let length = match random.random_range(0..10) {
                0 => random.random_range(0..9_000),
                _ => random.random_range(0..900),
            };
            let octets: Vec<u8> = (0..length).map(|_| random.random_range(0..4)).collect();
            let mut message = message(now, "");
            message.payload = octets.into();
            if random.random() {
                message.way = Way::Sent;
                message.remote.set_port(random.random_range(1..3));
            }
            plain.record(&settings, message.clone());
            traces.record(b"x", message);
            if random.random_range(0..3) == 0 {
                traces.sweep(now);
            }
        }
        let trace = read(&traces, id(1)).unwrap();
        assert_eq!(trace.first, plain.first, "round {round}");
        assert_eq!(trace.last, plain.last, "round {round}");
        assert_eq!(trace.left_out, plain.left_out, "round {round}");
        traces.end(now, id(1));
        traces.sweep(now + ENDED_KEPT);
        assert_eq!((traces.bytes(), traces.ladders.len()), (0, 0));
    }
}
