//! Registrations at a real registrar, kamailio with digest authentication:
//! kept, refreshed, used by callers, given up, and told of.

use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::kamailio::Kamailio;
use crate::support::sip::{SipPeer, pcmu_at};
use crate::support::{Gateway, eventually};

fn number(registrar: &Kamailio, number: &str, user: &str, password: &str) -> Value {
    json!({
        "number": number,
        // Nobody: the registrar may call all the same.
        "subnets": [],
        "answer": "echo",
        "sip_server": registrar.address().to_string(),
        "sip_auth": { "username": user, "password": password },
        "register": true,
    })
}

/// How the number's registration stands: state and code.
fn standing(admin: &Admin, number: &str) -> (String, Value) {
    let all = admin.get("registrations")["registrations"].clone();
    let found = all.as_array().into_iter().flatten();
    let found = found.clone().find(|one| one["number"] == number);
    let Some(found) = found else {
        return (String::from("none"), Value::Null);
    };
    let state = found["state"].as_str().unwrap_or_default().to_owned();
    (state, found["last_code"].clone())
}

#[track_caller]
fn stands(admin: &Admin, number: &str, state: &str, code: u16) {
    eventually(&format!("{number} is {state} with {code}"), || {
        let stands = standing(admin, number) == (state.to_owned(), json!(code));
        stands.then_some(())
    });
}

/// The status of a call to this user of the registrar.
fn call(gateway: &mut Gateway, registrar: &Kamailio, user: &str) -> u16 {
    let mut caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
    let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    caller.invite(registrar.address(), user, &media);
    let answer = caller.expect_final("INVITE");
    answer.status().expect("a status")
}

#[test]
fn a_number_is_registered_called_through_its_registrar_and_given_up() {
    let mut gateway = Gateway::with()
        .shards(2)
        .rtp("port_reuse_delay_s = 0")
        .start();
    let registrar = Kamailio::start(&mut gateway.ports, 3_600);
    let admin = Admin::first(&gateway);
    assert_eq!(call(&mut gateway, &registrar, "alice"), 404);
    admin.post("numbers", &number(&registrar, "7000", "alice", "secret"));
    stands(&admin, "7000", "registered", 200);
    assert_eq!(call(&mut gateway, &registrar, "alice"), 200);
    assert_eq!(gateway.counted("sip_registrations", "registered"), 1);

    // Who is no registrar of it may not call it.
    let mut stranger = SipPeer::open(&mut gateway.ports, [127, 0, 0, 9].into());
    let media = pcmu_at(([127, 0, 0, 9], gateway.ports.pair()).into());
    stranger.invite(gateway.sip(), "7000", &media);
    assert_eq!(stranger.expect_final("INVITE").status(), Some(403));
    let asked = |source: &str| {
        let body = json!({ "number": "7000", "source": source });
        admin.post("numbers/test", &body)["accepted"].clone()
    };
    assert_eq!(asked("127.0.0.9"), json!(false));
    assert_eq!(asked(&registrar.address().ip().to_string()), json!(true));

    admin.delete("numbers/7000");
    eventually("the registrar forgets it", || {
        (call(&mut gateway, &registrar, "alice") == 404).then_some(())
    });
    eventually("the gateway does too", || {
        (standing(&admin, "7000").0 == "none").then_some(())
    });
}

#[test]
fn a_wrong_password_is_told_as_such_and_a_right_one_mends_it_at_once() {
    let mut gateway = Gateway::with().start();
    let registrar = Kamailio::start(&mut gateway.ports, 3_600);
    let admin = Admin::first(&gateway);
    admin.post("numbers", &number(&registrar, "7000", "alice", "wrong"));
    stands(&admin, "7000", "failed", 401);
    eventually("the log tells it", || {
        let log = gateway.log();
        log.lines()
            .any(|line| line.contains("registration") && line.contains("401"))
            .then_some(())
    });
    admin.put(
        "numbers/7000",
        &number(&registrar, "7000", "alice", "secret"),
    );
    stands(&admin, "7000", "registered", 200);
}

#[test]
fn a_short_registration_is_refreshed_and_a_restart_registers_again() {
    let mut gateway = Gateway::with()
        .rtp("port_reuse_delay_s = 0")
        .calls("drain_timeout_s = 1")
        .start();
    let registrar = Kamailio::start(&mut gateway.ports, 3);
    let admin = Admin::first(&gateway);
    admin.post("numbers", &number(&registrar, "7000", "alice", "secret"));
    stands(&admin, "7000", "registered", 200);
    let sent = |gateway: &Gateway| gateway.counted("sip_requests_sent_total", "REGISTER");
    let first = sent(&gateway);
    eventually("it is refreshed twice", || {
        (sent(&gateway) >= first + 2).then_some(())
    });
    assert_eq!(standing(&admin, "7000").0, "registered");
    assert_eq!(call(&mut gateway, &registrar, "alice"), 200);

    gateway.crash_and_restart();
    let admin = Admin::again(&gateway);
    stands(&admin, "7000", "registered", 200);
    assert_eq!(call(&mut gateway, &registrar, "alice"), 200);

    // A gateway that ends takes its leave at once, calls or none.
    gateway.terminate();
    eventually("the registrar forgets it before it would run out", || {
        gateway.log().contains("state=\"leaving\"").then_some(())
    });
    eventually("nobody answers there any more", || {
        (call(&mut gateway, &registrar, "alice") == 404).then_some(())
    });
    gateway.wait_for_exit();
}
