//! Recordings that nobody ends: the gateway is killed, or the disk is full.

use std::time::Duration;

use super::*;
use crate::support::talker::tones_in;
use ringwire::sound::clip::{Clip, ClipLimits};
use ringwire::sound::format::SampleRate;

/// What is written comes to the disk once a second; with some room for a
/// machine that does other things too.
const LOST_MS: u64 = 1_500;

/// The tones of a file, played by another reader than its writer.
#[track_caller]
fn play(file: &[u8], duration_ms: u64) -> Vec<u32> {
    let clip = Clip::decode(file, ClipLimits::default());
    let clip = clip.unwrap_or_else(|error| panic!("{error}"));
    let told = Duration::from_millis(duration_ms);
    let difference = clip.duration().abs_diff(told);
    assert!(
        difference < Duration::from_millis(1),
        "{:?} of {told:?}",
        clip.duration()
    );
    // Without the first second, in which the peers came to talk.
    let samples = &clip.samples(SampleRate::Wide)[1000 * WAV_SAMPLES..];
    tones_in(samples, 16_000, &TONES)
}

fn killed(format: &str) {
    let table = format!("[recording]\nformat = \"{format}\"\nminimum_free_mb = 0");
    let mut scene = Scene::outgoing(Gateway::with().table(&table), true);
    scene.both_hear_each_other();
    let started = scene.told("recording_started");
    scene.pass(100);
    let killed_ms = unix_ms();
    scene.gateway.kill();
    scene.gateway.start_again();

    let listed = scene.gateway.api().get("/recordings").data()["recordings"].clone();
    let row = &listed[0];
    assert_eq!(
        [
            &row["recording_id"],
            &row["state"],
            &row["recovered"],
            &listed[1]
        ],
        [
            &started["recording_id"],
            &json!("ready"),
            &json!(true),
            &Value::Null
        ]
    );
    let (since, duration) = (number(&row["started_ms"]), number(&row["duration_ms"]));
    let lasted = killed_ms - since;
    println!("{duration} ms of {lasted}");
    assert!(
        (lasted.saturating_sub(LOST_MS)..=lasted + 100).contains(&duration),
        "{duration} ms of {lasted}"
    );
    let ready = scene.told("recording_ready");
    assert_agree(&ready, row);
    assert!(scene.hook.events().contains(&"outgoing.ended".to_owned()));
    let file = fetch(&scene.gateway, row);
    assert_eq!(play(&file, duration), [ALICE, BOB]);
}

#[test]
fn a_killed_gateway_leaves_a_wav_file_that_plays() {
    killed("wav");
}

#[test]
fn a_killed_gateway_leaves_an_ogg_file_that_plays() {
    killed("ogg_opus");
}

#[test]
fn a_full_disk_ends_the_recording_and_not_the_call() {
    // Some four seconds of two channels.
    let scene = Scene::outgoing(stereo_wav().recordings_disk("256k"), true);
    scene.both_hear_each_other();
    let failed = scene.told("recording_failed");
    assert_eq!(failed["reason"], "disk_full");
    let id = failed["recording_id"].as_str().expect("an id");
    let row = over(&scene.gateway, id);
    assert_eq!(
        (&row["state"], &row["reason"]),
        (&json!("failed"), &json!("disk_full"))
    );
    assert_agree(&failed, &row);
    let duration = number(&row["duration_ms"]);
    assert!((3_900..=4_100).contains(&duration), "{row}");
    let file = fetch(&scene.gateway, &row);
    assert_eq!(play(&file, duration), [ALICE, BOB]);

    // Nothing of it is heard.
    scene.alice.talker.forget();
    scene.bob.forget();
    scene.pass(50);
    scene.both_hear_each_other();
    assert_eq!(scene.gateway.calls(), 2);
    let forgotten = |what| {
        eventually(what, || {
            (scene.room()["recordings"] == json!([])).then_some(())
        });
    };
    forgotten("nothing is recorded any more");
    // Another fails too; and once there is room again, none does.
    let next = scene.record("start");
    assert_eq!(over(&scene.gateway, &next)["reason"], "disk_full");
    forgotten("nothing is recorded again");
    scene
        .gateway
        .api()
        .delete(&format!("/recordings/{id}"))
        .data();
    let next = scene.record("start");
    scene.pass(25);
    assert_eq!(scene.record("stop"), next);
    assert_eq!(over(&scene.gateway, &next)["state"], "ready");
}
