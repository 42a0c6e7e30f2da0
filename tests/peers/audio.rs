//! Two phones in one room, a different tone each way: both hear the other's,
//! clean and without gaps.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::support::Baresip;
use crate::support::baresip::Codec;
use crate::support::gateway::{Gateway, Settings};

const ALICE_HERTZ: u32 = 440;
const BOB_HERTZ: u32 = 1000;

/// What is recorded; the analysis skips the beginning.
const SECONDS: f64 = 4.0;

#[track_caller]
fn both_hear_the_other(settings: Settings, ip: IpAddr, codec: Codec) {
    let mut gateway = settings
        .number("7001", r#"answer = { room = "talk", peer = "{from}" }"#)
        .start();
    let mut alice = Baresip::start(&mut gateway.ports, "1000", ip, codec, ALICE_HERTZ);
    let bob = Baresip::start(&mut gateway.ports, "2000", ip, codec, BOB_HERTZ);

    alice.dial("7001", gateway.sip());
    alice.wait_for("CALL_ESTABLISHED");
    let call = gateway.dial(bob.address(), "talk", "bob");
    bob.wait_for("CALL_ESTABLISHED");
    alice.wait_until_heard(SECONDS);
    bob.wait_until_heard(SECONDS);

    assert_eq!(
        gateway.api().delete(&format!("/call/{}", call.id)).status,
        200
    );
    bob.wait_for("CALL_CLOSED");
    alice.hang_up();
    alice.wait_for("CALL_CLOSED");
    gateway.wait_until_idle();

    alice.listen().assert_tone(BOB_HERTZ);
    bob.listen().assert_tone(ALICE_HERTZ);
}

fn pcma(settings: Settings) {
    both_hear_the_other(settings, Ipv4Addr::LOCALHOST.into(), Codec::Pcma);
}

on_every_gateway!(two_phones_hear_each_other_in_pcma, super::pcma);

#[test]
fn two_phones_hear_each_other_in_pcmu() {
    both_hear_the_other(Gateway::with(), Ipv4Addr::LOCALHOST.into(), Codec::Pcmu);
}

#[test]
fn two_phones_hear_each_other_in_g722() {
    both_hear_the_other(Gateway::with(), Ipv4Addr::LOCALHOST.into(), Codec::G722);
}

#[test]
fn two_phones_hear_each_other_in_opus() {
    both_hear_the_other(Gateway::with(), Ipv4Addr::LOCALHOST.into(), Codec::Opus);
}

#[test]
fn two_phones_hear_each_other_over_ipv6() {
    both_hear_the_other(
        Gateway::with().ipv6(),
        Ipv6Addr::LOCALHOST.into(),
        Codec::Pcmu,
    );
}

#[test]
fn a_phone_hears_itself_on_the_echo_number() {
    let mut gateway = Gateway::with().number("7000", r#"answer = "echo""#).start();
    let ip = Ipv4Addr::LOCALHOST.into();
    let mut alice = Baresip::start(&mut gateway.ports, "1000", ip, Codec::Pcmu, ALICE_HERTZ);

    alice.dial("7000", gateway.sip());
    alice.wait_until_heard(SECONDS);
    alice.hang_up();
    alice.wait_for("CALL_CLOSED");

    alice.listen().assert_tone(ALICE_HERTZ);
    gateway.wait_until_idle();
}
