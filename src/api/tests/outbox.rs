//! Events that are not delivered at once: what waits, what is given up, and
//! who may see it.

use super::receiver::Posted;
use super::*;

/// Nobody listens there: bound, never accepted from, and closed.
async fn nowhere() -> String {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/hook?key=hush", closed.local_addr().unwrap())
}

fn impatient() -> ApiSettings {
    ApiSettings {
        hooks: HookSettings {
            give_up: Duration::from_millis(100),
            ..settings().hooks
        },
        ..settings()
    }
}

/// Only public hosts, as a gateway is without configuration.
fn careful() -> ApiSettings {
    ApiSettings {
        hooks: HookSettings {
            policy: HookPolicy::default(),
            ..settings().hooks
        },
        ..settings()
    }
}

async fn deliveries(gateway: &Gateway, query: &str) -> Vec<Value> {
    let (status, answer) = gateway
        .get(&format!("/hooks/deliveries{query}"), ACME)
        .await;
    assert_eq!(status, 200, "{answer}");
    answer["data"]["deliveries"].as_array().unwrap().clone()
}

/// Waits until so many deliveries match.
async fn wait_for_deliveries(gateway: &Gateway, query: &str, count: usize) -> Vec<Value> {
    soon("the deliveries", async {
        loop {
            let found = deliveries(gateway, query).await;
            if found.len() == count {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
}

/// One event each of so many calls with this hook.
async fn tell_of_calls(gateway: &Gateway, hook: &str, calls: std::ops::Range<u32>) {
    for n in calls {
        let room = json!({ "room": format!("r{n}"), "peer": "p" });
        let more = json!({ "hook": hook, "streaming": room });
        let (call, _, _) = gateway.dial(more).await;
        gateway
            .event(call, "acme", CallEventKind::Provisional(180))
            .await;
    }
}

#[tokio::test]
async fn what_waits_at_the_end_is_posted_after_the_next_start_in_order() {
    let dead = nowhere().await;
    let address = dead[7..].split('/').next().unwrap().to_string();
    let gateway = Gateway::start(Vec::new()).await;
    let (call, _, _) = gateway.dial(json!({ "hook": dead })).await;
    for code in [180, 181, 182] {
        gateway
            .event(call, "acme", CallEventKind::Provisional(code))
            .await;
    }
    gateway.event(call, "acme", ended(call)).await;
    let waiting = wait_for_deliveries(&gateway, "?state=pending", 4).await;
    let data = gateway.end().await;

    // The server is back where it was, and so is the gateway.
    let listener = TcpListener::bind(&address).await.unwrap();
    let mut receiver = Receiver::serve(listener, Vec::new());
    let gateway = Gateway::in_directory(data, settings(), Vec::new(), |_| None).await;
    for (n, code) in [180, 181, 182].into_iter().enumerate() {
        let posted = receiver.next().await;
        assert_eq!(posted.header("X-Hook-Id"), waiting[3 - n]["id"]);
        let event = &posted.json()["outgoing"]["sip"]["provisional"];
        assert_eq!(event["code"], code);
    }
    assert!(receiver.next().await.json()["outgoing"]["ended"].is_object());
    let told = wait_for_deliveries(&gateway, "?state=delivered", 4).await;
    assert_eq!(told[0]["event"], "outgoing.ended");
    assert_eq!(told[0]["last_status"], 204);
    assert_eq!(
        deliveries(&gateway, "?state=pending").await,
        [] as [Value; 0]
    );
    gateway.end().await;
}

#[tokio::test]
async fn an_event_that_is_given_up_can_be_seen_and_retried_by_its_app_only() {
    let mut receiver =
        Receiver::start(vec![
            Some((503, "text/plain", b"closed on Mondays".to_vec()));
            100
        ])
        .await;
    let gateway = Gateway::with(impatient(), Vec::new(), |_| None).await;
    let (call, _, _) = gateway.dial(json!({ "hook": receiver.url })).await;
    gateway.event(call, "acme", ended(call)).await;
    let dead = wait_for_deliveries(&gateway, "?state=dead", 1)
        .await
        .remove(0);
    assert_eq!(dead["call_id"], call.to_string());
    assert_eq!(dead["event"], "outgoing.ended");
    assert_eq!(dead["last_status"], 503);
    assert_eq!(dead["last_response"], "closed on Mondays");
    let error = dead["last_error"].as_str().unwrap();
    assert!(error.starts_with("answered 503"), "{error}");
    assert!(!dead["url"].as_str().unwrap().contains("key="), "{dead}");
    let line = gateway.metric("ringwire_hook_dead_letters").await;
    assert_eq!(line.as_deref(), Some("ringwire_hook_dead_letters 1"));

    let id = dead["id"].as_str().unwrap().to_string();
    let path = format!("/hooks/deliveries/{id}/retry");
    assert_eq!(gateway.post(&path, ROOT, json!({})).await.0, 404);
    let (_, foreign) = gateway.get("/hooks/deliveries", ROOT).await;
    assert_eq!(foreign["data"]["deliveries"], json!([]));

    let first = receiver.next().await;
    receiver.recovers();
    while receiver.posts.try_recv().is_ok() {}
    let (status, answer) = gateway.post(&path, ACME, json!({})).await;
    assert_eq!(status, 200, "{answer}");
    let again = receiver.next().await;
    assert_eq!(again.header("X-Hook-Id"), first.header("X-Hook-Id"));
    assert_eq!(again.body, first.body);
    let query = format!("?state=delivered&call_id={call}");
    assert_eq!(wait_for_deliveries(&gateway, &query, 1).await[0]["id"], id);

    let path = format!("/hooks/deliveries/{id}");
    assert_eq!(gateway.delete(&path, ROOT).await.0, 404);
    assert_eq!(gateway.delete(&path, ACME).await.0, 200);
    assert_eq!(gateway.delete(&path, ACME).await.0, 404);
    gateway.end().await;
}

#[tokio::test]
async fn deliveries_come_in_pages_and_a_wrong_question_is_told() {
    let receiver = Receiver::start(Vec::new()).await;
    let gateway = Gateway::start(Vec::new()).await;
    let (call, _, _) = gateway.dial(json!({ "hook": receiver.url })).await;
    for code in 180..=184 {
        gateway
            .event(call, "acme", CallEventKind::Provisional(code))
            .await;
    }
    wait_for_deliveries(&gateway, "?state=delivered", 5).await;
    let mut codes = Vec::new();
    let mut page = "?limit=2".to_string();
    loop {
        let (_, answer) = gateway.get(&format!("/hooks/deliveries{page}"), ACME).await;
        for delivery in answer["data"]["deliveries"].as_array().unwrap() {
            let sip = &delivery["body"]["outgoing"]["sip"];
            codes.push(sip["provisional"]["code"].as_u64().unwrap());
        }
        match answer["data"]["next"].as_i64() {
            Some(next) => page = format!("?limit=2&before={next}"),
            None => break,
        }
    }
    assert_eq!(codes, [184, 183, 182, 181, 180]);
    for (query, field) in [
        ("?state=lost", "state: "),
        ("?limit=0", "limit: "),
        ("?before=x", "before: "),
    ] {
        let (status, answer) = gateway
            .get(&format!("/hooks/deliveries{query}"), ACME)
            .await;
        assert_eq!(status, 400);
        assert!(answer["message"].as_str().unwrap().starts_with(field));
    }
    gateway.end().await;
}

#[tokio::test]
async fn a_server_that_is_down_is_left_alone_and_another_of_the_same_app_is_not_delayed() {
    let dead = nowhere().await;
    let mut fine = Receiver::start(Vec::new()).await;
    let gateway = Gateway::with(patient(), Vec::new(), |_| None).await;
    tell_of_calls(&gateway, &dead, 0..10).await;
    soon("the breaker", async {
        let open = "ringwire_hook_breakers{state=\"open\"}";
        while gateway.metric(open).await.as_deref() != Some(&format!("{open} 1")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    tell_of_calls(&gateway, &dead, 10..30).await;
    let (call, _, _) = gateway.dial(json!({ "hook": fine.url })).await;
    gateway
        .event(call, "acme", CallEventKind::Answered(200))
        .await;
    assert_eq!(fine.next().await.json()["call_id"], call.to_string());
    let waiting = wait_for_deliveries(&gateway, "?state=pending", 30).await;
    let tried = waiting.iter().filter(|waiting| waiting["attempts"] != 0);
    assert_eq!(tried.count(), 10);
    gateway.task.abort();
}

#[tokio::test]
async fn a_server_that_comes_and_goes_gets_everything_in_order() {
    // Down for longer than the breaker takes to open, and again.
    let mut replies: Vec<HookReply> = vec![Some((500, "text/plain", Vec::new())); 15];
    replies.push(Some((204, "text/plain", Vec::new())));
    replies.extend(vec![Some((503, "text/plain", Vec::new())); 15]);
    let mut receiver = Receiver::start(replies).await;
    let gateway = Gateway::start(Vec::new()).await;
    let mut calls = Vec::new();
    for n in 0..5 {
        let room = json!({ "room": format!("r{n}"), "peer": "p" });
        let more = json!({ "hook": receiver.url, "streaming": room });
        calls.push(gateway.dial(more).await.0);
    }
    for code in 180..=183 {
        for call in &calls {
            gateway
                .event(*call, "acme", CallEventKind::Provisional(code))
                .await;
        }
    }
    wait_for_deliveries(&gateway, "?state=delivered", 20).await;
    let mut seen: std::collections::HashMap<String, Vec<u64>> = Default::default();
    while let Ok(posted) = receiver.posts.try_recv() {
        let body = posted.json();
        let code = &body["outgoing"]["sip"]["provisional"]["code"];
        let codes = seen.entry(body["call_id"].as_str().unwrap().to_string());
        let codes = codes.or_default();
        let code = code.as_u64().unwrap();
        if codes.last() != Some(&code) {
            codes.push(code);
        }
    }
    for call in &calls {
        assert_eq!(seen[&call.to_string()], [180, 181, 182, 183]);
    }
    let opened = gateway.metric("ringwire_hook_breakers_opened_total").await;
    assert!(opened.is_some_and(|line| !line.ends_with(" 0")));
    gateway.end().await;
}

#[tokio::test]
async fn an_integrators_hook_inside_the_operators_network_is_refused() {
    let mut receiver = Receiver::start(Vec::new()).await;
    let trusted = {
        let mut number = number("200", "acme");
        number.hook = Some(Hook {
            trusted: true,
            ..receiver.hook(HookContentType::Json)
        });
        number
    };
    let checked = {
        let mut number = number("300", "acme");
        number.hook = Some(receiver.hook(HookContentType::Json));
        number
    };
    let mut gateway = Gateway::with(careful(), Vec::new(), |_| None).await;
    for url in [
        &*receiver.url,
        "http://169.254.169.254/",
        "http://localhost/",
    ] {
        let mut body = dial_body();
        body["hook"] = json!(url);
        let (status, answer) = gateway.post("/call/outgoing", ACME, body).await;
        assert_eq!(status, 400, "{answer}");
        let words = answer["message"].as_str().unwrap();
        assert!(words.starts_with("hook: ") && words.contains("public"));
    }
    // The root app is the operator's own, and what the configuration names.
    let mut body = dial_body();
    body["hook"] = json!(&*receiver.url);
    let (status, answer) = gateway.post("/call/outgoing", ROOT, body).await;
    assert_eq!(status, 200, "{answer}");
    let call = call_id(0, 3);
    gateway.event(call, "acme", arrival(trusted)).await;
    assert!(receiver.next().await.json()["notify"]["arrived"].is_object());
    let call = call_id(0, 4);
    gateway.event(call, "acme", arrival(checked)).await;
    assert_eq!(gateway.next_action().await, (call, Action::Reject(480)));
    let dead = wait_for_deliveries(&gateway, "?state=dead", 1).await;
    let error = dead[0]["last_error"].as_str().unwrap();
    assert!(error.contains("not a public address"), "{error}");
    assert!(receiver.posts.try_recv().is_err());
    gateway.end().await;
}

/// Retries that come in ten minutes.
fn patient() -> ApiSettings {
    ApiSettings {
        hooks: HookSettings {
            give_up: Duration::from_secs(86_400),
            first_delay: Duration::from_secs(600),
            longest_delay: Duration::from_secs(600),
            ..settings().hooks
        },
        ..settings()
    }
}

/// A call with this hook and three events: 180, 181 and 182.
async fn call_with_three_events(gateway: &Gateway, hook: &str) -> CallId {
    let (call, _, _) = gateway.dial(json!({ "hook": hook })).await;
    for code in [180, 181, 182] {
        let event = CallEventKind::Provisional(code);
        gateway.event(call, "acme", event).await;
    }
    call
}

fn code(posted: &Posted) -> u64 {
    let code = &posted.json()["outgoing"]["sip"]["provisional"]["code"];
    code.as_u64().unwrap()
}

#[tokio::test]
async fn a_pending_call_is_tried_at_once_in_order_also_while_its_server_is_left_alone() {
    let dead = nowhere().await;
    let address = dead[7..].split('/').next().unwrap().to_string();
    let gateway = Gateway::with(patient(), Vec::new(), |_| None).await;
    tell_of_calls(&gateway, &dead, 0..10).await;
    let breaker = |state: &'static str, count: u32| {
        let gateway = &gateway;
        soon("the breaker", async move {
            let line = format!("ringwire_hook_breakers{{state=\"{state}\"}}");
            while gateway.metric(&line).await != Some(format!("{line} {count}")) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
    };
    breaker("open", 1).await;
    let call = call_with_three_events(&gateway, &dead).await;
    let query = format!("?state=pending&call_id={call}");
    let waiting = wait_for_deliveries(&gateway, &query, 3).await;
    let path = format!(
        "/hooks/deliveries/{}/retry",
        waiting[0]["id"].as_str().unwrap()
    );
    assert_eq!(gateway.post(&path, ROOT, json!({})).await.0, 404);
    // Still down: one attempt of the call's first event, no other.
    assert_eq!(gateway.post(&path, ACME, json!({})).await.0, 200);
    let attempts = soon("the attempt", async {
        loop {
            let waiting = deliveries(&gateway, &query).await;
            let attempts: Vec<u64> = waiting
                .iter()
                .map(|waiting| waiting["attempts"].as_u64().unwrap())
                .collect();
            if attempts != [0, 0, 0] {
                return attempts;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(attempts, [0, 0, 1], "the newest first");
    breaker("open", 1).await;

    let listener = TcpListener::bind(&address).await.unwrap();
    let mut receiver = Receiver::serve(listener, Vec::new());
    assert_eq!(gateway.post(&path, ACME, json!({})).await.0, 200);
    for expected in [180, 181, 182] {
        assert_eq!(code(&receiver.next().await), expected);
    }
    breaker("open", 0).await;
    wait_for_deliveries(&gateway, "?state=pending", 10).await;
    gateway.task.abort();
}

#[tokio::test]
async fn a_pending_event_that_is_dropped_is_a_dead_letter_and_what_follows_goes_on() {
    let mut receiver = Receiver::start(vec![Some((503, "text/plain", Vec::new())); 100]).await;
    let gateway = Gateway::with(patient(), Vec::new(), |_| None).await;
    let call = call_with_three_events(&gateway, &receiver.url).await;
    assert_eq!(code(&receiver.next().await), 180);
    receiver.recovers();
    let waiting = wait_for_deliveries(&gateway, "?state=pending", 3).await;
    let drop_event = async |place: usize| {
        let id = waiting[place]["id"].as_str().unwrap();
        let path = format!("/hooks/deliveries/{id}");
        assert_eq!(gateway.delete(&path, ROOT).await.0, 404);
        assert_eq!(gateway.delete(&path, ACME).await.0, 200);
    };
    // One that waits for the others of its call; then the one that is tried.
    drop_event(1).await;
    drop_event(2).await;
    assert_eq!(code(&receiver.next().await), 182);
    let told = wait_for_deliveries(&gateway, "?state=delivered", 1).await;
    assert_eq!(told[0]["id"], waiting[0]["id"]);
    let dead: Vec<Value> = deliveries(&gateway, "?state=dead")
        .await
        .iter()
        .map(|dead| json!([dead["id"], dead["call_id"], dead["last_error"]]))
        .collect();
    let dropped =
        |place: usize| json!([waiting[place]["id"], call.to_string(), "dropped by its app"]);
    assert_eq!(dead, [dropped(1), dropped(2)]);
    for line in [
        "ringwire_hook_events_given_up_total{reason=\"dropped\"} 2",
        "ringwire_hook_dead_letters 2",
        "ringwire_hook_events_queued 0",
    ] {
        let name = line.rsplit_once(' ').unwrap().0;
        assert_eq!(gateway.metric(name).await.as_deref(), Some(line));
    }
    // Once more forgets it.
    drop_event(1).await;
    wait_for_deliveries(&gateway, "?state=dead", 1).await;
    gateway.end().await;
}
