//! A call that is recorded from its connection on, in a room that is relayed.

use super::*;
use crate::support::tone::strongest;

/// What may be missing at the end: what a shard without a core of its own has
/// not come to yet.
const BEHIND_MS: u64 = 200;
/// A frame that was begun, and one for the clocks.
const AHEAD_MS: u64 = 40;

#[track_caller]
fn assert_tone(samples: &[i16], hertz: u32) {
    // Not what was said while the peers came to hear each other.
    let samples = &samples[1000 * WAV_SAMPLES..];
    let samples: Vec<f64> = samples.iter().map(|sample| f64::from(*sample)).collect();
    let (found, purity) = strongest(&samples, 16_000.0);
    assert!(
        (found - f64::from(hertz)).abs() < 5.0 && purity > 0.95,
        "{hertz} Hz wanted, found {found} with {purity}"
    );
}

fn both_sides(mut scene: Scene) {
    scene.both_hear_each_other();
    let room = scene.room();
    assert_eq!(room["sound"], "relayed", "{room}");
    assert_eq!(
        room["recordings"][0]["call_id"],
        scene.id.as_str(),
        "{room}"
    );
    let started = scene.ws.wait_for("recording_started")["event"]["recording_started"].clone();
    assert_eq!(started, scene.told("recording_started"));
    assert_eq!(
        (&started["format"], &started["channels"]),
        (&json!("wav"), &json!("stereo"))
    );
    scene.pass(100);

    let before = unix_ms();
    let id = scene.record("stop");
    let after = unix_ms();
    assert_eq!(started["recording_id"], id.as_str());
    let ready = scene.ws.wait_for("recording_ready")["event"]["recording_ready"].clone();
    assert_eq!(ready, scene.told("recording_ready"));
    let row = over(&scene.gateway, &id);
    assert_agree(&ready, &row);
    assert_eq!(
        [
            &row["state"],
            &row["call_id"],
            &row["room"],
            &row["peer"],
            &row["gaps"]
        ],
        [
            &json!("ready"),
            &json!(scene.id),
            &json!("talk"),
            &json!("bob"),
            &json!([])
        ]
    );

    let file = fetch(&scene.gateway, &row);
    let (duration, since) = (number(&row["duration_ms"]), number(&row["started_ms"]));
    assert_eq!(file.len() as u64, 80 + 64 * duration);
    println!("{duration} ms of {} to {}", before - since, after - since);
    assert!(
        duration + BEHIND_MS >= before - since && duration <= after - since + AHEAD_MS,
        "{duration} ms, recorded for {} to {}",
        before - since,
        after - since
    );
    let sides = channels(&file);
    assert_tone(&sides[0], BOB);
    assert_tone(&sides[1], ALICE);
    // The call goes on.
    scene.both_hear_each_other();
    scene.hook.assert_all_signed();
}

#[test]
fn an_outgoing_call_has_its_peer_on_the_left_and_what_it_hears_on_the_right() {
    both_sides(Scene::outgoing(stereo_wav(), true));
}

#[test]
fn so_has_an_incoming_call_that_was_accepted_to_be_recorded() {
    both_sides(Scene::incoming(stereo_wav()));
}

#[test]
fn a_part_of_the_file_is_fetched_and_another_app_finds_nothing() {
    let other = "secret-of-another-app";
    let scene = Scene::outgoing(stereo_wav().app("other", other), true);
    scene.both_hear_each_other();
    let id = scene.record("stop");
    let row = over(&scene.gateway, &id);
    let whole = fetch(&scene.gateway, &row);
    let (path, file) = (
        format!("/recordings/{id}"),
        format!("/recordings/{id}/audio"),
    );
    let api = scene.gateway.api();

    let part = api.download(&file, &[("Range", "bytes=80-1079")]);
    let header = |name: &str| part.headers[name].to_str().expect("a text");
    assert_eq!((part.status, &part.bytes[..]), (206, &whole[80..1080]));
    assert_eq!(
        header("content-range"),
        format!("bytes 80-1079/{}", whole.len())
    );
    assert_eq!(
        header("etag"),
        format!("\"{}\"", row["sha256"].as_str().expect("a hash"))
    );
    let last = api.download(&file, &[("Range", "bytes=-100")]);
    assert_eq!(
        (last.status, &last.bytes[..]),
        (206, &whole[whole.len() - 100..])
    );
    let beyond = api.download(&file, &[("Range", "bytes=99999999-")]);
    assert_eq!(beyond.status, 416);

    let stranger = api.with_token(other);
    for path in [&path, &file] {
        stranger.get(path).refused(404, "RECORDING_NOT_FOUND");
    }
    stranger.delete(&path).refused(404, "RECORDING_NOT_FOUND");
    assert_eq!(stranger.get("/recordings").data()["recordings"], json!([]));
    let listed = api.with_token(ROOT_SECRET).get("/recordings").data();
    assert_eq!(listed["recordings"], json!([row]));
}
