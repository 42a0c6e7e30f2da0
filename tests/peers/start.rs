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

/// Whether this process may make threads that come before all ordinary ones.
fn may_become_realtime() -> bool {
    std::thread::spawn(|| {
        // SAFETY: sched_param is plain data, for which all zeros is a value.
        let mut parameters: libc::sched_param = unsafe { std::mem::zeroed() };
        parameters.sched_priority = 1;
        let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
        // SAFETY: `parameters` is live; 0 is the calling thread, which ends.
        unsafe { libc::sched_setscheduler(0, policy, &parameters) == 0 }
    })
    .join()
    .expect("joined")
}

#[test]
fn shards_come_first_on_their_cores_where_that_is_allowed_and_a_core_is_left() {
    let allowed = may_become_realtime();
    let cores = std::thread::available_parallelism().expect("cores").get();
    for (setting, expected) in [
        ("realtime = \"auto\"", allowed && cores > 1),
        ("realtime = false", false),
    ] {
        let gateway = Gateway::with().rtp(setting).start();
        assert_eq!(gateway.shard_is_realtime(0), expected, "{setting}");
    }
}
