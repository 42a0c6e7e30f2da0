//! Hold and resume by re-INVITE, in the ways phones do it.

use crate::support::{Gateway, Sipp};

#[track_caller]
fn succeeds(sipp: Sipp) {
    let mut gateway = Gateway::with()
        .number("7000", r#"answer = { room = "hold", peer = "p" }"#)
        .start();
    sipp.call(&mut gateway, "7000").succeeds();
    gateway.wait_until_idle();
}

#[test]
fn sendonly_is_answered_recvonly_and_resumed() {
    succeeds(
        Sipp::scenario("caller_holds")
            .set("hold", "sendonly")
            .set("answer", "recvonly"),
    );
}

#[test]
fn inactive_is_answered_inactive_and_resumed() {
    succeeds(
        Sipp::scenario("caller_holds")
            .set("hold", "inactive")
            .set("answer", "inactive"),
    );
}

#[test]
fn recvonly_is_answered_sendonly_and_resumed() {
    succeeds(
        Sipp::scenario("caller_holds")
            .set("hold", "recvonly")
            .set("answer", "sendonly"),
    );
}

#[test]
fn the_address_0_0_0_0_is_a_hold_too() {
    succeeds(Sipp::scenario("caller_holds_the_old_way"));
}

#[test]
fn a_re_invite_without_an_offer_gets_one() {
    succeeds(Sipp::scenario("caller_reoffers_nothing"));
}
