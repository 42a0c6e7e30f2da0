//! `GET /metrics`, `GET /healthz` and `GET /readyz`.

mod clips;
mod recordings;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::call::request::{CallReply, CallRequest, Histogram, Sample, SampleValue, ShardCounters};

use super::Shared;
use super::auth::unix_ms;
use super::directory::Listed;
use super::error::{ApiError, done};
use super::media_session::MediaSessions;
use super::metric_help::help;
use super::openapi::{Done, Failure};
use super::registry::lock;

/// What the api counts.
#[derive(Default)]
pub struct Counters {
    requests: Mutex<BTreeMap<u16, u64>>,
    call_events: Mutex<BTreeMap<&'static str, u64>>,
    hooks_given_up: Mutex<BTreeMap<&'static str, u64>>,
    hooks_delivered: AtomicU64,
    hooks_failed: AtomicU64,
    hooks_unkept: AtomicU64,
    hook_breakers_opened: AtomicU64,
    hook_latency: Latency,
    sockets: AtomicI64,
    admin_logins: AtomicU64,
    admin_logins_failed: AtomicU64,
}

/// Upper bounds of the buckets of a delivery's latency, in seconds: from a
/// server next door to one that was down for an hour.
const DELIVERY_SECONDS: [f64; 12] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0, 300.0, 1_800.0, 3_600.0,
];

/// From an event to its delivery.
struct Latency(Mutex<Histogram>);

impl Default for Latency {
    fn default() -> Self {
        Latency(Mutex::new(Histogram::new(&DELIVERY_SECONDS)))
    }
}

impl Counters {
    pub fn request(&self, status: StatusCode) {
        *lock(&self.requests).entry(status.as_u16()).or_default() += 1;
    }

    /// HTTP requests answered.
    pub fn requests(&self) -> u64 {
        lock(&self.requests).values().sum()
    }

    /// Events of calls.
    pub fn call_events(&self) -> u64 {
        lock(&self.call_events).values().sum()
    }

    /// Attempts to post a hook.
    pub fn hook_posts(&self) -> u64 {
        let failed = self.hooks_failed.load(Ordering::Relaxed);
        self.hooks_delivered.load(Ordering::Relaxed) + failed
    }

    /// WebSockets open.
    pub fn sockets(&self) -> u64 {
        self.sockets.load(Ordering::Relaxed).max(0) as u64
    }

    pub fn admin_login(&self, succeeded: bool) {
        let counter = match succeeded {
            true => &self.admin_logins,
            false => &self.admin_logins_failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn call_event(&self, label: &'static str) {
        *lock(&self.call_events).entry(label).or_default() += 1;
    }

    pub fn hook_attempt(&self, delivered: bool) {
        let counter = match delivered {
            true => &self.hooks_delivered,
            false => &self.hooks_failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    pub fn hook_given_up(&self, reason: &'static str) {
        *lock(&self.hooks_given_up).entry(reason).or_default() += 1;
    }

    pub fn hook_unkept(&self) {
        self.hooks_unkept.fetch_add(1, Ordering::Relaxed);
    }

    pub fn hook_breaker_opened(&self) {
        self.hook_breakers_opened.fetch_add(1, Ordering::Relaxed);
    }

    /// From an event to its delivery, in milliseconds.
    pub fn hook_latency(&self, milliseconds: u64) {
        lock(&self.hook_latency.0).record(Duration::from_millis(milliseconds));
    }

    pub fn socket_opened(&self) {
        self.sockets.fetch_add(1, Ordering::Relaxed);
    }

    pub fn socket_closed(&self) {
        self.sockets.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says that the API runs.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "operation",
    responses(
        (status = 200, description = "It runs", body = Done),
    )
)]
pub async fn healthz() -> Response {
    done()
}

/// Says whether new calls are welcome, and every shard answers.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "operation",
    responses(
        (status = 200, description = "New calls are welcome", body = Done),
        (
            status = 503,
            description = "`DRAINING`: the gateway is ending. `OVERLOADED`: a shard does not answer",
            body = Failure,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
    )
)]
pub async fn readyz(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    if shared.draining() {
        return Err(ApiError::draining());
    }
    shared.shards_answer().await?;
    Ok(done())
}

/// Counts everything, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "operation",
    responses(
        (status = 200, description = "Prometheus' text format", body = String, content_type = "text/plain"),
    )
)]
pub async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let mut shards = Vec::new();
    for shard in shared.shards.all() {
        // A shard that does not answer is missing from the page, which an
        // alert on ringwire_up sees.
        let counters = match shared.ask(shard, CallRequest::Counters).await {
            Ok(CallReply::Counters(counters)) => Some(counters),
            _ => None,
        };
        shards.push((shard.0, counters));
    }
    let mut page = Page::default();
    for (shard, counters) in &shards {
        let label = [("shard", shard.to_string())];
        page.gauge(
            "up",
            "Whether the shard answers.",
            &label,
            u64::from(counters.is_some()),
        );
        if let Some(counters) = counters {
            shard_metrics(&mut page, *shard, counters);
        }
    }
    own_metrics(&mut page, &shared);
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], page.text()).into_response()
}

fn shard_metrics(page: &mut Page, shard: u8, counters: &ShardCounters) {
    let label = [("shard", shard.to_string())];
    page.gauge("calls", "Calls alive.", &label, counters.calls);
    page.gauge("rooms", "Rooms alive.", &label, counters.rooms);
    page.gauge("media_legs", "Media legs alive.", &label, counters.legs);
    let free = "RTP port pairs that may still be opened.";
    page.gauge("free_port_pairs", free, &label, counters.free_port_pairs);
    for (name, label_name, label_value, count) in &counters.totals {
        let mut labels = vec![("shard", shard.to_string())];
        if !label_name.is_empty() {
            labels.push((label_name, label_value.clone()));
        }
        page.total(name, help(name), &labels, *count);
    }
    for Sample {
        name,
        labels,
        value,
    } in &counters.samples
    {
        let mut all = vec![("shard", shard.to_string())];
        all.extend(labels.iter().cloned());
        match value {
            SampleValue::Total(count) => page.total(name, help(name), &all, *count),
            SampleValue::Gauge(value) => page.gauge(name, help(name), &all, *value),
            SampleValue::Histogram(histogram) => {
                page.histogram(name, help(name), &all, histogram);
            }
        }
    }
}

fn own_metrics(page: &mut Page, shared: &Shared) {
    let counters = &shared.counters;
    for (status, count) in lock(&counters.requests).iter() {
        let labels = [("status", status.to_string())];
        page.total(
            "http_requests_total",
            "HTTP requests answered.",
            &labels,
            *count,
        );
    }
    for (event, count) in lock(&counters.call_events).iter() {
        let labels = [("event", event.to_string())];
        page.total("call_events_total", "Events of calls.", &labels, *count);
    }
    hook_metrics(page, shared);
    if let Some(sessions) = &shared.media_sessions {
        media_server_metrics(page, sessions);
    }
    page.gauge("websockets", "WebSockets open.", &[], counters.sockets());
    let known = shared.registry.len() as u64;
    page.gauge(
        "api_calls_known",
        "Calls that can be asked for, ended ones too.",
        &[],
        known,
    );
    let store = shared.store.counters();
    let help = "Changes that wait to be written to the database.";
    page.gauge("store_changes_queued", help, &[], store.queued);
    let help = "Changes written to the database.";
    page.total("store_changes_written", help, &[], store.written);
    let help = "Changes that the database or its queue refused.";
    page.total("store_changes_failed", help, &[], store.failed);
    let help = "Transactions of the database.";
    page.total("store_transactions", help, &[], store.transactions);
    record_metrics(page, shared);
    clips::clip_metrics(page, shared);
    recordings::recording_metrics(page, shared);
    let view = shared.directory.view();
    let help = "Records of the number book, by where they come from and whether they count.";
    for (kind, counts) in [
        ("app", counts_of(&view.apps)),
        ("number", counts_of(&view.numbers)),
    ] {
        for ((origin, counting), count) in counts {
            let labels = [
                ("kind", kind.to_string()),
                ("origin", origin.to_string()),
                ("counts", counting.to_string()),
            ];
            page.gauge("book_records", help, &labels, count);
        }
    }
    admin_metrics(page, shared);
    sync_metrics(page, shared);
    let draining = u64::from(shared.draining());
    page.gauge("draining", "Whether new calls are refused.", &[], draining);
}

fn record_metrics(page: &mut Page, shared: &Shared) {
    let records = shared.records.counts();
    let help = "Changes of call records written to the database.";
    page.total("call_record_changes_written", help, &[], records.written);
    let help = "Changes of call records that the database or its queue refused.";
    page.total("call_record_changes_failed", help, &[], records.failed);
    let help = "Call records removed because of their age or number.";
    page.total("call_records_pruned", help, &[], records.pruned);
    let help = "Calls that were in progress when the gateway last ended.";
    page.gauge("call_records_lost_at_start", help, &[], records.lost);
    let help = "Call records in the database, counted once a minute.";
    page.gauge("call_records", help, &[], records.rows);
    let help = "Age of the oldest call record.";
    let age_ms = records
        .oldest_ms
        .map_or(0, |at| unix_ms().saturating_sub(at));
    page.gauge("call_records_oldest_age_seconds", help, &[], age_ms / 1000);
}

fn hook_metrics(page: &mut Page, shared: &Shared) {
    let counters = &shared.counters;
    let help = "Attempts to post an event to a hook.";
    for (result, count) in [
        ("delivered", &counters.hooks_delivered),
        ("failed", &counters.hooks_failed),
    ] {
        let labels = [("result", result.to_string())];
        page.total(
            "hook_posts_total",
            help,
            &labels,
            count.load(Ordering::Relaxed),
        );
    }
    let given_up = lock(&counters.hooks_given_up);
    let help = "Hook events that will not be delivered.";
    for reason in ["expired", "forbidden", "app_gone", "queue_full", "dropped"] {
        let labels = [("reason", reason.to_string())];
        let count = given_up.get(reason).copied().unwrap_or_default();
        page.total("hook_events_given_up_total", help, &labels, count);
    }
    let waiting = shared.hooks.waiting() as u64;
    let help = "Hook events that are neither delivered nor given up.";
    page.gauge("hook_events_queued", help, &[], waiting);
    let help = "Hook events that were given up and can be retried.";
    page.gauge("hook_dead_letters", help, &[], shared.hooks.dead_letters());
    let help = "Hook events that could not be written to the outbox and are in memory only.";
    let unkept = counters.hooks_unkept.load(Ordering::Relaxed);
    page.total("hook_events_unkept_total", help, &[], unkept);
    let help = "From an event to its delivery.";
    page.histogram(
        "hook_delivery_seconds",
        help,
        &[],
        &lock(&counters.hook_latency.0),
    );
    let help = "Hook servers that are left alone because they are down.";
    let (open, half_open) = shared.hooks.breakers();
    for (state, count) in [("open", open), ("half_open", half_open)] {
        page.gauge(
            "hook_breakers",
            help,
            &[("state", state.to_string())],
            count,
        );
    }
    let help = "How often a hook server was found down.";
    let opened = counters.hook_breakers_opened.load(Ordering::Relaxed);
    page.total("hook_breakers_opened_total", help, &[], opened);
}

fn admin_metrics(page: &mut Page, shared: &Shared) {
    let help = "Tries to log in as administrator.";
    for (result, count) in [
        ("succeeded", &shared.counters.admin_logins),
        ("failed", &shared.counters.admin_logins_failed),
    ] {
        let labels = [("result", result.to_string())];
        let count = count.load(Ordering::Relaxed);
        page.total("admin_logins", help, &labels, count);
    }
    let sessions = shared.admin.sessions() as u64;
    page.gauge("admin_sessions", "Administrators logged in.", &[], sessions);
}

fn sync_metrics(page: &mut Page, shared: &Shared) {
    for list in shared.sync.metrics() {
        let label = [("list", list.kind.to_string())];
        let help = "Whether the last fetch of the list failed; the last good one counts then.";
        page.gauge("sync_failing", help, &label, u64::from(list.failing));
        if let Some(age) = list.age {
            let help = "Time since the list was fetched well, in seconds.";
            page.gauge("sync_age_seconds", help, &label, age.as_secs());
        }
        let help = "Records of the last good answer, and those of it that cannot be used.";
        for (usable, count) in [(true, list.records), (false, list.bad)] {
            let labels = [label[0].clone(), ("usable", usable.to_string())];
            page.gauge("sync_records", help, &labels, count);
        }
        for (result, count) in list.fetches {
            let labels = [label[0].clone(), ("result", result.to_string())];
            page.total("sync_fetches", "Fetches of the list.", &labels, count);
        }
    }
}

fn counts_of<T>(records: &[Listed<T>]) -> BTreeMap<(&'static str, bool), u64> {
    let mut counts = BTreeMap::new();
    for record in records {
        let key = (record.origin.name(), record.ignored.is_none());
        *counts.entry(key).or_default() += 1;
    }
    counts
}

fn media_server_metrics(page: &mut Page, sessions: &MediaSessions) {
    let help = "Requests to the media server that rooms are on.";
    for ((step, result), count) in sessions.requests() {
        let labels = [("step", step.to_string()), ("result", result.to_string())];
        page.total("media_server_requests_total", help, &labels, count);
    }
    let help = "Sessions on the media server that were not deleted.";
    for (reason, count) in sessions.given_up() {
        let labels = [("reason", reason.to_string())];
        page.total("media_server_deletes_given_up_total", help, &labels, count);
    }
    let help = "Sessions on the media server that are being deleted.";
    let pending = sessions.deletes_pending() as u64;
    page.gauge("media_server_deletes_pending", help, &[], pending);
    let help = "Sessions on the media server, those being deleted too.";
    let alive = sessions.alive() as u64;
    page.gauge("media_server_sessions", help, &[], alive);
}

/// Metrics by name: the format wants the lines of one name together.
#[derive(Default)]
struct Page {
    metrics: BTreeMap<String, (&'static str, &'static str, String)>,
}

impl Page {
    fn gauge(&mut self, name: &str, help: &'static str, labels: &[(&str, String)], value: u64) {
        self.line(name.to_string(), "gauge", help, labels, value);
    }

    fn total(&mut self, name: &str, help: &'static str, labels: &[(&str, String)], value: u64) {
        // By convention a counter's name ends so.
        let name = match name.ends_with("_total") {
            true => name.to_string(),
            false => format!("{name}_total"),
        };
        self.line(name, "counter", help, labels, value);
    }

    fn histogram(
        &mut self,
        name: &str,
        help: &'static str,
        labels: &[(&str, String)],
        histogram: &Histogram,
    ) {
        let infinite = [("+Inf".to_string(), histogram.count())];
        let buckets = histogram
            .buckets()
            .map(|(bound, count)| (bound.to_string(), count));
        let lines = self.lines(name, "histogram", help);
        for (bound, count) in buckets.chain(infinite) {
            let mut labels = labels.to_vec();
            labels.push(("le", bound));
            let labels = written(&labels);
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "ringwire_{name}_bucket{labels} {count}");
        }
        let labels = written(labels);
        let _ = writeln!(lines, "ringwire_{name}_sum{labels} {}", histogram.sum());
        let _ = writeln!(lines, "ringwire_{name}_count{labels} {}", histogram.count());
    }

    fn line(
        &mut self,
        name: String,
        kind: &'static str,
        help: &'static str,
        labels: &[(&str, String)],
        value: u64,
    ) {
        let labels = written(labels);
        // Writing to a String cannot fail.
        let _ = writeln!(
            self.lines(&name, kind, help),
            "ringwire_{name}{labels} {value}"
        );
    }

    /// Where the lines of this metric go.
    fn lines(&mut self, name: &str, kind: &'static str, help: &'static str) -> &mut String {
        let entry = self.metrics.entry(format!("ringwire_{name}"));
        &mut entry.or_insert_with(|| (kind, help, String::new())).2
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (name, (kind, help, lines)) in &self.metrics {
            let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{lines}");
        }
        text
    }
}

fn written(labels: &[(&str, String)]) -> String {
    let labels: Vec<String> = labels
        .iter()
        .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
        .collect();
    match labels.is_empty() {
        true => String::new(),
        false => format!("{{{}}}", labels.join(",")),
    }
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_has_cumulative_buckets_a_sum_and_a_count() {
        let mut histogram = Histogram::new(&[0.1, 1.0]);
        for ms in [250, 250, 2_500] {
            histogram.record(std::time::Duration::from_millis(ms));
        }
        let counters = ShardCounters {
            samples: vec![Sample {
                name: "call_setup_seconds",
                labels: vec![("direction", "incoming".to_string())],
                value: SampleValue::Histogram(histogram),
            }],
            ..ShardCounters::default()
        };
        let mut page = Page::default();
        shard_metrics(&mut page, 1, &counters);
        let labels = "shard=\"1\",direction=\"incoming\"";
        let expected = format!(
            "# HELP ringwire_call_setup_seconds From INVITE to final answer.\n\
             # TYPE ringwire_call_setup_seconds histogram\n\
             ringwire_call_setup_seconds_bucket{{{labels},le=\"0.1\"}} 0\n\
             ringwire_call_setup_seconds_bucket{{{labels},le=\"1\"}} 2\n\
             ringwire_call_setup_seconds_bucket{{{labels},le=\"+Inf\"}} 3\n\
             ringwire_call_setup_seconds_sum{{{labels}}} 3\n\
             ringwire_call_setup_seconds_count{{{labels}}} 3\n"
        );
        assert!(page.text().contains(&expected), "{}", page.text());
    }

    #[test]
    fn lines_of_one_metric_stand_together_under_their_type() {
        let mut page = Page::default();
        let counters = |drops| ShardCounters {
            calls: 3,
            totals: vec![("dropped_packets", "reason", "no \"leg\"".to_string(), drops)],
            ..ShardCounters::default()
        };
        shard_metrics(&mut page, 0, &counters(1));
        shard_metrics(&mut page, 1, &counters(2));
        let text = page.text();
        assert!(
            text.contains(
                "# TYPE ringwire_dropped_packets_total counter\n\
             ringwire_dropped_packets_total{shard=\"0\",reason=\"no \\\"leg\\\"\"} 1\n\
             ringwire_dropped_packets_total{shard=\"1\",reason=\"no \\\"leg\\\"\"} 2\n"
            ),
            "{text}"
        );
        assert!(text.contains("# TYPE ringwire_calls gauge\nringwire_calls{shard=\"0\"} 3\n"));
    }
}
