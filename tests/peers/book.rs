//! The number book from outside: numbers and apps that a server is asked for,
//! and a configuration that is read again.

use std::sync::{Arc, Mutex};

use axum::Router;
use serde_json::{Value, json};

use crate::support::sip::{SipPeer, pcmu_at};
use crate::support::{Gateway, RUNTIME, eventually};

/// A server of lists that change.
struct Lists {
    url: String,
    numbers: Arc<Mutex<Value>>,
}

impl Lists {
    fn start(numbers: Value, apps: Value) -> Self {
        let numbers = Arc::new(Mutex::new(numbers));
        let told = numbers.clone();
        let handler = move |uri: axum::http::Uri| {
            let numbers = told.lock().expect("the numbers").clone();
            let answer = match uri.path() {
                "/numbers" => json!({ "numbers": numbers }),
                _ => json!({ "apps": apps }),
            };
            async move { answer.to_string() }
        };
        let listener = RUNTIME
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .expect("a port for the lists");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        RUNTIME.spawn(async move {
            let app = Router::new().fallback(handler);
            axum::serve(listener, app).await.expect("the lists serve");
        });
        Lists { url, numbers }
    }
}

/// The final status of a call to this number.
fn call(gateway: &mut Gateway, number: &str) -> u16 {
    let mut peer = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    let call = peer.invite(gateway.sip(), number, &media);
    let answer = peer.expect("a final answer", |message| {
        message.status().is_some_and(|code| code >= 200)
            && message.header("call-id") == call.call_id
    });
    answer.status().expect("a status")
}

fn echo(number: &str) -> Value {
    json!({ "number": number, "subnets": ["127.0.0.0/8"], "answer": "echo", "app_id": "shop" })
}

#[test]
fn a_fetched_number_is_called_until_it_is_gone_and_a_fetched_app_has_its_secret() {
    let apps = json!([{ "app_id": "shop", "app_secret": "the-shop's-secret" }]);
    let lists = Lists::start(json!([echo("7001"), echo("7002")]), apps);
    let mut gateway = Gateway::with()
        .rtp("port_reuse_delay_s = 0")
        .sync(&format!(
            "numbers_url = \"{0}/numbers\"\napps_url = \"{0}/apps\"\ninterval_s = 1",
            lists.url
        ))
        .start();
    let shop = gateway.api().with_token("the-shop's-secret");
    eventually("the app is fetched", || {
        (shop.get("/calls").status == 200).then_some(())
    });
    // Each answered call is ended, so that there are ports for the next.
    let end_all = || {
        let calls = shop.get("/calls").data()["calls"].clone();
        for call in calls.as_array().into_iter().flatten() {
            if let Some(id) = call["call_id"]
                .as_str()
                .filter(|_| call["state"] != "ended")
            {
                shop.send("DELETE", &format!("/call/{id}"), None).ok();
            }
        }
    };
    eventually("the number is fetched", || {
        (call(&mut gateway, "7001") == 200).then_some(())
    });
    *lists.numbers.lock().expect("the numbers") = json!([echo("7002")]);
    eventually("the number is gone", || {
        end_all();
        (call(&mut gateway, "7001") == 404).then_some(())
    });
    end_all();
    assert_eq!(call(&mut gateway, "7002"), 200);
}

#[test]
fn a_configuration_read_again_changes_numbers_and_names_what_needs_a_restart() {
    let mut gateway = Gateway::with().number("7001", "answer = \"echo\"").start();
    assert_eq!(call(&mut gateway, "7002"), 404);
    let before = gateway.configuration();
    let more = before.replace("number = \"7001\"", "number = \"7002\"");

    gateway.configure(&more.replace("answer = \"echo\"", "answer = \"ecko\""));
    gateway.hang_up();
    eventually("the mistake is told", || {
        gateway.log().contains("nothing changes").then_some(())
    });
    assert_eq!(call(&mut gateway, "7001"), 200);

    gateway.configure(&more.replace("[calls]", "[calls]\nmax_calls = 77"));
    gateway.hang_up();
    eventually("the number is there", || {
        (call(&mut gateway, "7002") == 200).then_some(())
    });
    assert_eq!(call(&mut gateway, "7001"), 404);
    eventually("what needs a restart is told", || {
        let told = "need a restart: calls.max_calls";
        gateway.log().contains(told).then_some(())
    });
}
