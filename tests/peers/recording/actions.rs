//! Recordings that the application begins, pauses, resumes and ends.

use super::*;
use crate::support::talker::tones_in;

/// What is looked at alone: 200 ms.
const PIECE: usize = 200 * WAV_SAMPLES;

/// The tones of each piece of a side, of which none reaches over the pause:
/// a tone may go on from there against itself. The first piece, in which the
/// jitter buffer waits for sound, is left out, and what is left at an end.
fn pieces(side: &[i16], row: &Value) -> Vec<Vec<u32>> {
    let pause = number(&row["pauses"][0]["at_ms"]) as usize * WAV_SAMPLES;
    let (before, after) = side.split_at(pause);
    let pieces = before
        .chunks_exact(PIECE)
        .skip(1)
        .chain(after.chunks_exact(PIECE));
    pieces
        .map(|piece| tones_in(piece, 16_000, &TONES))
        .collect()
}

/// Begins a recording of this, in which nothing is left of a pause; its row
/// and its file.
fn all_actions(scene: &Scene, path: &str) -> (Value, Vec<u8>) {
    let api = scene.gateway.api();
    let action = |action: &str| api.post(path, &json!({ "action": action }));
    action("pause").refused(404, "RECORDING_NOT_FOUND");
    assert_eq!(action("rewind").status, 400);
    scene.both_hear_each_other();
    assert_eq!(scene.room()["sound"], "relayed");

    let begun = unix_ms();
    let id = act(&scene.gateway, path, "start");
    action("start").refused(409, "ALREADY_RECORDING");
    scene.pass(50);
    assert_eq!(act(&scene.gateway, path, "pause"), id);
    assert_eq!(scene.room()["recordings"][0]["paused"], true);
    scene.bob.say(Pcmu, &Sound::Tone(SECRET));
    scene.alice.talker.wait_for_tones(&[SECRET], &TONES);
    scene.bob.say(Pcmu, &Sound::Tone(BOB));
    // By then nothing of it is on its way any more.
    scene.both_hear_each_other();
    assert_eq!(act(&scene.gateway, path, "resume"), id);
    scene.pass(50);
    assert_eq!(act(&scene.gateway, path, "stop"), id);
    let lasted = unix_ms() - begun;
    action("stop").refused(404, "RECORDING_NOT_FOUND");

    let row = over(&scene.gateway, &id);
    let pauses = row["pauses"].as_array().expect("a list");
    assert_eq!(
        (row["state"].as_str(), pauses.len()),
        (Some("ready"), 1),
        "{row}"
    );
    let duration = number(&row["duration_ms"]);
    let (at, paused) = (
        number(&pauses[0]["at_ms"]),
        number(&pauses[0]["duration_ms"]),
    );
    println!("{duration} ms, and {paused} ms of a pause at {at}, in {lasted} ms");
    // Of the time from the first request to the last.
    assert!(duration + paused <= lasted + 40, "{row}");
    assert!(at >= 700 && at < duration && paused >= 500, "{row}");
    let file = fetch(&scene.gateway, &row);
    assert_ne!(act(&scene.gateway, path, "start"), id);
    act(&scene.gateway, path, "stop");
    (row, file)
}

#[test]
fn a_call_is_recorded_without_what_was_said_in_a_pause() {
    let scene = Scene::outgoing(stereo_wav(), false);
    let (row, file) = all_actions(&scene, &format!("/call/{}/recording", scene.id));
    assert_eq!(row["call_id"], scene.id.as_str());
    let sides = channels(&file);
    let lengths = [sides[0].len(), sides[1].len()];
    assert_eq!(
        lengths,
        [number(&row["duration_ms"]) as usize * WAV_SAMPLES; 2]
    );
    for (side, tone) in sides.iter().zip([BOB, ALICE]) {
        let pieces = pieces(side, &row);
        assert!(pieces.iter().all(|tones| *tones == [tone]), "{pieces:?}");
    }
}

#[test]
fn a_room_is_recorded_with_everybody_in_one_channel() {
    let scene = Scene::outgoing(stereo_wav(), false);
    let (row, file) = all_actions(&scene, "/rooms/talk/recording");
    assert_eq!(
        [&row["call_id"], &row["room"], &row["channels"]],
        [&Value::Null, &json!("talk"), &json!("mono")]
    );
    let sides = channels(&file);
    assert_eq!(sides.len(), 1, "there is one side only");
    let pieces = pieces(&sides[0], &row);
    assert!(
        pieces.iter().all(|tones| *tones == [ALICE, BOB]),
        "{pieces:?}"
    );
}
