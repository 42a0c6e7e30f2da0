//! The gateway as a process, and peers that talk to it at the pace of speech.
//!
//! On a busy machine packets are sent late and shards wait for a core, which
//! is no doing of the gateway's. So its jitter buffers are made long enough
//! for most of it; of the rest is told what it did, by clocks that the gateway
//! has no part in.

use std::time::Duration;

use ringwire::sound::codec::AudioCodec;

use crate::support::mixed_room::{Caller, gateway};
use crate::support::talker::{Sound, Talkers};
use crate::support::{Gateway, within};

/// How long sound waits in the jitter buffers, in ms.
const BUFFER_MS: u64 = 200;
/// Packets that are sent later than this came too late for the buffer, perhaps.
const MOST_LATE: Duration = Duration::from_millis(BUFFER_MS - 20);
/// A shard that waited for its core for longer left out ticks, perhaps: it does
/// so from 60 ms on.
const MOST_WAITED: Duration = Duration::from_millis(40);
/// Longer than any speech of these tests takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// What came of it.
pub struct Heard {
    /// At the codec's own rate.
    pub samples: Vec<i16>,
    /// How many frames of 20 ms this machine may have cost: those that the
    /// gateway missed, if packets were late or the shard had no core; else
    /// none, whatever the gateway says.
    pub excused: usize,
}

/// What a listener of `to` hears of a talker of `from`, whose samples these are.
pub fn through_the_gateway(samples: &[i16], from: AudioCodec, to: AudioCodec) -> Heard {
    let buffer = format!("[sound]\njitter_minimum_ms = {BUFFER_MS}");
    let mut gateway = gateway(Gateway::with().table(&buffer), 2);
    let talkers = Talkers::new();
    let sound = Sound::Once(samples.to_vec());
    let silence = Sound::Once(Vec::new());
    let talker = Caller::join_quiet(&mut gateway, &talkers, 0, from, &sound);
    let listener = Caller::join_quiet(&mut gateway, &talkers, 1, to, &silence);
    listener.talker.wait_for_packets(1);
    listener.talker.forget();
    talkers.take_lateness();
    let mut waited = gateway.waited_for_cores();
    let mut longest = Duration::ZERO;
    talker.talker.talk_to(talker.target);
    let mut look = || {
        let by_now = gateway.waited_for_cores();
        longest = longest.max(by_now - waited);
        waited = by_now;
    };
    let said = within(PATIENCE, || {
        look();
        talker.talker.has_finished().then_some(())
    });
    assert!(said.is_some(), "the speech is said");
    // What waits in the jitter buffer comes out.
    let before = listener.talker.heard().len();
    let rest = BUFFER_MS as usize / 20 + 15;
    let came = within(PATIENCE, || {
        look();
        (listener.talker.heard().len() >= before + rest).then_some(())
    });
    assert!(came.is_some(), "sound comes, though nothing is said");
    let late = talkers.take_lateness();
    let missed = missed(&gateway);
    println!(
        "packets sent up to {late:?} late, the shard waited up to {longest:?} for its core, {missed} frames missed"
    );
    let disturbed = late > MOST_LATE || longest > MOST_WAITED;
    Heard {
        samples: listener.talker.decode(&listener.talker.heard()),
        excused: if disturbed { missed } else { 0 },
    }
}

/// Frames of the talker, who came first, that the gateway made up, and ticks
/// that it left out.
fn missed(gateway: &Gateway) -> usize {
    let room = gateway.api().get("/rooms/talk").data();
    let peers = room["peers"].as_array().expect("peers");
    let talker = peers.iter().find(|peer| peer["peer"] == "p0");
    let buffer = &talker.expect("the talker")["audio"]["jitter_buffer"];
    let packets = ["lost", "late", "discarded"].map(|of| buffer[of].as_u64().expect("a count"));
    let skipped = gateway.counted("sound_ticks_skipped_total", "");
    let missed = packets.iter().sum::<u64>() + skipped;
    usize::try_from(missed).expect("a count")
}
