//! sipp calls the gateway: who is let in, and what may happen in a call.

use crate::support::gateway::{Gateway, Settings};
use crate::support::{HookReceiver, Sipp};

fn echo() -> Settings {
    Gateway::with().number("7000", r#"answer = "echo""#)
}

fn ten_callers_are_answered(settings: Settings) {
    let mut gateway = settings.number("7000", r#"answer = "echo""#).start();
    // The Call-IDs differ, so with two shards both get some.
    Sipp::scenario("caller_talks")
        .set("talk_ms", "300")
        .calls(10)
        .call(&mut gateway, "7000")
        .succeeds();
    gateway.wait_until_idle();
}

on_every_gateway!(
    ten_callers_of_the_echo_number_are_answered,
    super::ten_callers_are_answered
);

#[track_caller]
fn succeeds_at_the_echo_number(sipp: Sipp) {
    let mut gateway = echo().start();
    sipp.call(&mut gateway, "7000").succeeds();
    gateway.wait_until_idle();
}

#[test]
fn a_caller_over_ipv6_is_answered() {
    let mut gateway = echo().ipv6().start();
    Sipp::scenario("caller_talks")
        .set("talk_ms", "300")
        .call(&mut gateway, "7000")
        .succeeds();
    gateway.wait_until_idle();
}

#[test]
fn an_unknown_number_is_404() {
    let mut gateway = echo().start();
    Sipp::scenario("caller_is_refused")
        .set("code", "404")
        .call(&mut gateway, "7999")
        .succeeds();
    assert!(
        gateway.log().contains("7999"),
        "the log names the number that nobody has"
    );
}

#[test]
fn a_caller_from_outside_the_subnets_is_403() {
    let mut gateway = Gateway::with()
        .number_from("7000", r#"["192.0.2.0/24"]"#, r#"answer = "echo""#)
        .start();
    Sipp::scenario("caller_is_refused")
        .set("code", "403")
        .call(&mut gateway, "7000")
        .succeeds();
    assert!(
        gateway.log().contains("subnet"),
        "the log says which rule failed"
    );
}

#[test]
fn a_number_without_subnets_takes_nobody() {
    let mut gateway = Gateway::with()
        .number_from("7000", "[]", r#"answer = "echo""#)
        .start();
    Sipp::scenario("caller_is_refused")
        .set("code", "403")
        .call(&mut gateway, "7000")
        .succeeds();
}

#[test]
fn a_caller_who_gives_up_at_once_gets_487() {
    let hook = HookReceiver::silent();
    let mut gateway = asking(&hook);
    Sipp::scenario("caller_cancels_at_once")
        .call(&mut gateway, "7001")
        .succeeds();
    gateway.wait_until_idle();
}

#[test]
fn a_caller_who_gives_up_while_it_rings_gets_487_and_the_hook_hears_of_it() {
    let hook = HookReceiver::answering(serde_json::json!({ "action": "Ring" }));
    let mut gateway = asking(&hook);
    Sipp::scenario("caller_cancels_while_it_rings")
        .call(&mut gateway, "7001")
        .succeeds();
    gateway.wait_until_idle();
    assert_eq!(
        hook.events_to_the_end(),
        [
            "notify.arrived",
            "notify.cancelled",
            "incoming.sip.cancelled",
            "incoming.ended"
        ]
    );
}

fn asking(hook: &HookReceiver) -> Gateway {
    Gateway::with()
        .number("7001", &format!("hook = \"{}\"", hook.url()))
        .start()
}

#[test]
fn a_caller_without_an_offer_gets_one_and_answers_in_the_ack() {
    succeeds_at_the_echo_number(Sipp::scenario("caller_late_offer"));
}

#[test]
fn extra_media_lines_are_refused_in_place_with_port_0() {
    succeeds_at_the_echo_number(Sipp::scenario("caller_offers_more_media"));
}

#[test]
fn no_common_codec_is_488() {
    succeeds_at_the_echo_number(Sipp::scenario("caller_uses_no_common_codec"));
}

#[test]
fn an_update_is_answered_with_and_without_an_offer() {
    succeeds_at_the_echo_number(Sipp::scenario("caller_updates"));
}

#[test]
fn an_info_is_answered() {
    succeeds_at_the_echo_number(Sipp::scenario("caller_sends_info"));
}

#[test]
fn compact_header_names_are_understood() {
    succeeds_at_the_echo_number(Sipp::scenario("caller_is_terse"));
}

#[test]
fn options_tell_what_is_understood() {
    succeeds_at_the_echo_number(Sipp::scenario("caller_asks_options"));
}

#[test]
fn an_unknown_extension_is_420() {
    succeeds_at_the_echo_number(Sipp::scenario("caller_wants_an_extension"));
}

#[test]
fn a_method_nobody_knows_is_501_with_allow() {
    let sipp = Sipp::scenario("caller_uses_another_method");
    succeeds_at_the_echo_number(sipp.set("method", "DANCE").set("code", "501"));
}

#[test]
fn a_method_that_is_not_served_is_405_with_allow() {
    let sipp = Sipp::scenario("caller_uses_another_method");
    succeeds_at_the_echo_number(sipp.set("method", "PUBLISH").set("code", "405"));
}

#[test]
fn a_bye_of_no_dialog_is_481() {
    succeeds_at_the_echo_number(Sipp::scenario("caller_outside_of_a_dialog"));
}

#[test]
fn a_call_to_a_number_that_nobody_watches_is_480() {
    let mut gateway = Gateway::with().number("7002", "").start();
    Sipp::scenario("caller_is_refused")
        .set("code", "480")
        .call(&mut gateway, "7002")
        .succeeds();
    gateway.wait_until_idle();
}

#[test]
fn a_call_nobody_acts_upon_is_480_after_the_answer_timeout() {
    let hook = HookReceiver::silent();
    let mut gateway = Gateway::with()
        .calls("answer_timeout_s = 1")
        .number("7001", &format!("hook = \"{}\"", hook.url()))
        .start();
    Sipp::scenario("caller_is_refused")
        .set("code", "480")
        .call(&mut gateway, "7001")
        .succeeds();
    gateway.wait_until_idle();
}
