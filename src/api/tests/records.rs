use super::*;
use crate::call::request::{MediaSnapshot, Rating, Stream};
use crate::ids::RoomKey;
use crate::store::records::{self, CallResult, Key, Record, RowId};

fn kept(created_ms: u64, app: &str) -> Record {
    let key = Key {
        call_id: format!("{created_ms:034x}"),
        app_id: app.to_string(),
        incoming: true,
    };
    Record {
        result: CallResult::Answered,
        from: "100".to_string(),
        to: "200".to_string(),
        sip_call_id: Some("x@y".to_string()),
        answered_ms: Some(created_ms + 1),
        ended_ms: Some(created_ms + 2),
        end_reason: Some("remote".to_string()),
        hung_up_by: Some("remote".to_string()),
        ..Record::open(key, created_ms)
    }
}

/// Writes the record of an ended call.
fn close(db: &rusqlite::Connection, created_ms: u64, app: &str) -> rusqlite::Result<()> {
    records::close(db, &kept(created_ms, app), 0, None)
}

/// A data directory that an earlier life of the gateway has left.
fn left_behind(
    write: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<()> + Send + 'static,
) -> tempfile::TempDir {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    // It is written before the store closes.
    store.write(write).detach();
    data
}

async fn started(data: tempfile::TempDir) -> Gateway {
    Gateway::in_directory(data, settings(), Vec::new(), |_| None).await
}

/// What the path answers once it answers that.
async fn answer_when(gateway: &Gateway, path: &str, fits: impl Fn(&Value) -> bool) -> Value {
    soon(path, async {
        loop {
            let (_, answer) = gateway.get(path, ACME).await;
            if fits(&answer) {
                return answer["data"].clone();
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

fn ids(page: &Value) -> Vec<String> {
    let records = page["records"].as_array().unwrap();
    let ids = records.iter().map(|record| record["call_id"].as_str());
    ids.map(|id| id.unwrap().to_string()).collect()
}

#[tokio::test]
async fn a_call_leaves_a_record_that_its_app_alone_finds() {
    let gateway = Gateway::start(vec![number("100", "acme")]).await;
    let (call, token, _) = gateway.dial(json!({})).await;
    let path = format!("/calls/records/{call}");
    gateway
        .event(call, "acme", CallEventKind::Answered(200))
        .await;
    let open = answer_when(&gateway, &path, |answer| {
        answer["data"]["answered_ms"].is_number()
    })
    .await;
    assert_eq!(
        (&open["result"], &open["state"]),
        (&json!("open"), &json!("active"))
    );
    let (_, page) = gateway.get("/calls/records", ACME).await;
    assert_eq!(page["data"], json!({ "records": [], "next": null }));

    let problem = CallEventKind::Error("no media".to_string());
    gateway.event(call, "acme", problem).await;
    let mut end = snapshot(call, "acme");
    end.answered_ms = Some(20);
    end.created_ms = 10;
    end.ringing_ms = Some(15);
    end.sip_code = Some(200);
    end.end_reason = Some("media_timeout");
    end.stream = Some(Stream {
        room: RoomKey {
            app: AppId::new("acme"),
            name: Arc::from("lobby"),
        },
        peer: Arc::from("phone"),
        record: false,
    });
    end.media = Some(MediaSnapshot {
        codec: "PCMU".to_string(),
        packets_received: 7,
        packets_lost: -1,
        jitter_ms: 1.5,
        quality: Some(Rating {
            r: 90.0,
            mos: 4.34,
            mos_average: 4.2,
            mos_min: 3.051,
        }),
        ..MediaSnapshot::default()
    });
    gateway.event(call, "acme", CallEventKind::Ended(end)).await;
    let record = answer_when(&gateway, &path, |answer| answer["data"]["state"] == "ended").await;
    let expected = json!({
        "call_id": call.to_string(), "app_id": "acme", "direction": "outgoing",
        "state": "ended", "result": "answered",
        "from_number": "100", "to_number": "200", "number": "100",
        "streaming": { "room": "lobby", "peer": "phone" },
        "sip_call_id": "x@y", "sip_code": 200, "peer_address": "127.0.0.1:5070",
        "created_ms": 10, "ringing_ms": 15, "early_ms": null, "answered_ms": 20, "ended_ms": 2,
        "end_reason": "media_timeout", "hung_up_by": "gateway", "error": "no media",
        "security": "none", "srtp_suite": null,
        "media": {
            "codec": "PCMU", "packets_received": 7, "bytes_received": 0, "packets_sent": 0,
            "bytes_sent": 0, "packets_lost": -1, "jitter_ms": 1.5, "round_trip_ms": null,
            "remote_packets_lost": null, "remote_jitter_ms": null,
            "mos_average": 4.2, "mos_min": 3.05, "remote_mos_average": null, "remote_mos_min": null,
        },
    });
    assert_eq!(record, expected);
    let (_, page) = gateway
        .get("/calls/records?number=200&result=answered", ACME)
        .await;
    assert_eq!(page["data"], json!({ "records": [expected], "next": null }));

    let (_, page) = gateway.get("/calls/records", ROOT).await;
    assert_eq!(page["data"]["records"], json!([]));
    assert_eq!(gateway.get(&path, ROOT).await.0, 403);
    assert_eq!(gateway.get("/calls/records", &token).await.0, 403);
    assert_eq!(gateway.get("/calls/records", "").await.0, 401);
    gateway.end().await;
}

#[tokio::test]
async fn calls_of_an_earlier_life_are_lost_and_their_hooks_are_told() {
    let mut receiver = Receiver::start(Vec::new()).await;
    let hook = receiver.hook(HookContentType::Json);
    let data = left_behind(move |db| {
        records::alive(db, 70)?;
        let open = Record::open(kept(50, "acme").key, 50);
        records::begin(db, RowId::new(50, 0), &open, Some(&hook))
    });
    let gateway = started(data).await;
    let id = format!("{:034x}", 50);
    for event in [
        json!({ "err": { "message": "the gateway was restarted" } }),
        json!({ "ended": {} }),
    ] {
        let expected = json!({ "timestamp": "70", "call_id": id, "incoming": event });
        assert_eq!(receiver.next().await.json(), expected);
    }
    // Long after a minute the call is known by its record.
    let (status, call) = gateway.get(&format!("/call/{id}"), ACME).await;
    assert_eq!(status, 200, "{call}");
    assert_eq!(call["data"]["state"], "ended");
    assert_eq!(call["data"]["result"], "lost");
    assert_eq!(call["data"]["ended_ms"], 70);
    assert_eq!(gateway.get(&format!("/call/{id}"), ROOT).await.0, 403);
    let metrics = gateway
        .http
        .get(format!("http://{}/metrics", gateway.address));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    assert!(
        metrics.contains("\nringwire_call_records_lost_at_start 1\n"),
        "{metrics}"
    );
    gateway.end().await;
}

#[tokio::test]
async fn pages_follow_each_other_and_a_wrong_parameter_is_told() {
    let data = left_behind(|db| {
        (1..=5).try_for_each(|at| close(db, at, "acme"))?;
        close(db, 6, "root")
    });
    let gateway = started(data).await;
    let (mut seen, mut path) = (Vec::new(), "/calls/records?limit=2".to_string());
    loop {
        let (_, page) = gateway.get(&path, ACME).await;
        seen.extend(ids(&page["data"]));
        let Some(next) = page["data"]["next"].as_str() else {
            break;
        };
        path = format!("/calls/records?limit=2&cursor={next}");
    }
    let expected: Vec<String> = (1..=5).rev().map(|at| format!("{at:034x}")).collect();
    assert_eq!(seen, expected);
    let (_, page) = gateway
        .get(
            "/calls/records?since=2&until=1970-01-01T00:00:00.004Z",
            ACME,
        )
        .await;
    assert_eq!(ids(&page["data"]), expected[2..4]);
    let (status, answer) = gateway.get("/calls/records?limit=many", ACME).await;
    assert_eq!((status, &answer["error"]), (400, &json!("BAD_REQUEST")));
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.starts_with("limit: write a whole number"),
        "{message}"
    );
    gateway.end().await;
}

#[tokio::test]
async fn csv_holds_all_that_was_asked_for() {
    let data = left_behind(|db| {
        (1..=2_100).try_for_each(|at| close(db, at, "acme"))?;
        close(db, 3_000, "root")
    });
    let gateway = started(data).await;
    let get = |path: &str, accept: &str| {
        let request = gateway
            .http
            .get(format!("http://{}{path}", gateway.address));
        request.bearer_auth(ACME).header("Accept", accept).send()
    };
    for (path, accept, expected) in [
        ("/calls/records", "text/csv", 2_100),
        ("/calls/records?format=csv&since=2001", "*/*", 100),
        ("/calls/records?format=csv&from=none", "*/*", 0),
    ] {
        let response = soon("CSV", get(path, accept)).await.unwrap();
        let content_type = response.headers()["content-type"].to_str().unwrap();
        assert!(content_type.starts_with("text/csv"), "{content_type}");
        let text = soon("all of it", response.text()).await.unwrap();
        let mut lines = text.lines();
        assert!(lines.next().unwrap().starts_with("call_id,direction,"));
        let ids: Vec<&str> = lines.map(|line| line.split(',').next().unwrap()).collect();
        let all = (1..=2_100).rev().map(|at| format!("{at:034x}"));
        let newest: Vec<String> = all.take(expected).collect();
        assert_eq!(ids, newest, "{path}");
    }
    gateway.end().await;
}

#[tokio::test]
async fn what_is_too_old_or_too_much_is_removed() {
    let now_ms = super::super::auth::unix_ms();
    let data = left_behind(move |db| {
        (1..=1_100).try_for_each(|at| close(db, at, "acme"))?;
        (1..=700).try_for_each(|at| close(db, now_ms - at, "acme"))
    });
    let settings = ApiSettings {
        records: RecordSettings {
            keep: Duration::from_secs(3600),
            max: 150,
        },
        ..settings()
    };
    let gateway = Gateway::in_directory(data, settings, Vec::new(), |_| None).await;
    let path = "/calls/records?limit=500";
    let page = answer_when(&gateway, path, |answer| ids(&answer["data"]).len() == 150).await;
    let newest = (1..=150).map(|at| format!("{:034x}", now_ms - at));
    assert_eq!(ids(&page), newest.collect::<Vec<_>>());
    gateway.end().await;
}
