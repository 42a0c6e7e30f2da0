//! The gateway as a process against real peers, from outside and over the
//! wire. One program for all of it, so that it is linked once; one module for
//! each behaviour.

#[path = "../support/mod.rs"]
mod support;

/// A test that holds on one shard, on two, and with the fallback backend.
macro_rules! on_every_gateway {
    ($name:ident, $run:path) => {
        mod $name {
            use crate::support::Gateway;
            use crate::support::gateway::Backend;

            #[test]
            fn on_one_shard() {
                $run(Gateway::with());
            }

            #[test]
            fn on_two_shards() {
                $run(Gateway::with().shards(2));
            }

            #[test]
            fn with_the_poll_backend() {
                $run(Gateway::with().backend(Backend::Poll));
            }
        }
    };
}

mod audio;
mod book;
mod call_trace;
mod callee;
mod caller;
mod challenge;
mod comfort_noise;
mod configuration;
mod dtls;
mod early_media;
mod external_room;
mod external_room_crash;
mod forking;
mod hep;
mod hold;
mod hook_crash;
mod hooks;
mod incoming_actions;
mod keys;
mod limits;
mod lossy_sip;
mod media;
mod metrics;
mod mixing;
mod notify;
mod outgoing_end;
mod placement;
mod protobuf;
mod recording;
mod records;
mod refusals;
mod registration;
mod room_sound;
mod rtcp;
mod scanners;
mod shutdown;
mod srtp;
mod start;
mod torture;
