//! Nothing is left on the media server by a gateway that was killed.

use crate::external_room::{gateway, pcma_at};
use crate::support::media_server::{Fault, Step};
use crate::support::sip::SipPeer;
use crate::support::{MediaServer, eventually};

const LOCALHOST: std::net::IpAddr = std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

#[test]
fn what_a_killed_gateway_left_on_the_media_server_is_deleted_at_its_next_start() {
    let server = MediaServer::start();
    let mut gateway = gateway(&server);
    let mut callee = SipPeer::open(&mut gateway.ports, LOCALHOST);
    let media = ([127, 0, 0, 1], 9).into();

    // Between the end of the call and the deletion.
    for _ in 0..3 {
        server.fail(Step::Delete, Fault::Status(503));
    }
    let call = gateway.dial(callee.address(), "talk", "alice");
    let invite = callee.expect_request("INVITE");
    callee.reply(&invite, 200, "OK", "alice", &pcma_at(media));
    server.wait_for(Step::Patch);
    gateway.api().delete(&format!("/call/{}", call.id)).data();
    let bye = callee.expect_request("BYE");
    callee.reply(&bye, 200, "OK", "alice", "");
    server.wait_for(Step::Delete);
    gateway.kill();
    assert_eq!(server.sessions(), (1, 1));
    gateway.start_again();
    eventually("the session is deleted", || {
        (server.sessions() == (1, 0)).then_some(())
    });

    // In the middle of a call.
    gateway.dial(callee.address(), "talk", "alice");
    let another = callee.expect("another INVITE", |message| {
        message.method() == Some("INVITE") && message.header("call-id") != invite.header("call-id")
    });
    callee.reply(&another, 200, "OK", "alice", &pcma_at(media));
    eventually("the second answer is taken", || {
        let patches = server
            .requests()
            .into_iter()
            .filter(|step| *step == Step::Patch);
        (patches.count() == 2).then_some(())
    });
    gateway.crash_and_restart();
    eventually("the second session is deleted", || {
        (server.sessions() == (2, 0)).then_some(())
    });
    eventually("nothing of it is known any more", || {
        (gateway.metric("ringwire_media_server_sessions") == 0).then_some(())
    });
}
