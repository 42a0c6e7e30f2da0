//! The first moments of a gateway: whoever calls then is served, or told to
//! come back, and never told that there is no such number.

use std::time::Duration;

use serde_json::json;

use crate::support::admin::Admin;
use crate::support::sip::{SipPeer, pcmu_at};
use crate::support::{Gateway, eventually};

/// How many times the gateway is killed and started.
const STARTS: usize = 6;

#[test]
fn a_number_added_in_the_panel_is_known_from_the_first_datagram_after_a_start() {
    let mut gateway = Gateway::with()
        .shards(2)
        .rtp("port_reuse_delay_s = 0")
        .rtp_ports(160)
        .start();
    Admin::first(&gateway).post(
        "numbers",
        &json!({ "number": "7000", "subnets": ["127.0.0.0/8"], "answer": "echo" }),
    );
    let media = pcmu_at(([127, 0, 0, 1], gateway.ports.pair()).into());
    for _ in 0..STARTS {
        gateway.kill();
        let mut caller = SipPeer::open(&mut gateway.ports, [127, 0, 0, 1].into());
        gateway.start_without_waiting();
        let mut codes = Vec::new();
        // INVITEs without end, until some have been answered.
        eventually("calls are answered", || {
            caller.invite(gateway.sip(), "7000", &media);
            while let Some(answer) = caller.within(Duration::from_millis(1), &mut |message| {
                message.status().is_some_and(|code| code >= 200)
            }) {
                codes.extend(answer.status());
            }
            let answered = codes.iter().filter(|code| **code == 200).count();
            (answered > 5).then_some(())
        });
        codes.retain(|code| !matches!(code, 200 | 503));
        assert_eq!(codes, [0_u16; 0], "answers other than 200 and 503");
        gateway.wait_until_ready();
    }
}
