//! Stores that refuse, stall, break off and lie: the file stays until it is
//! known to be there.

use super::faulty_store::{Fault, FaultyStore, header};
use super::upload::{Moto, settings};
use super::*;
use crate::store::recordings::Upload;

/// A gateway's recordings, a store behind a fault, and somebody who uploads.
struct Scene {
    house: House,
    store: FaultyStore,
    moto: Moto,
    runtime: tokio::runtime::Runtime,
    _data: tempfile::TempDir,
}

impl Scene {
    fn new(change: impl FnOnce(&mut crate::config::S3)) -> Scene {
        let data = tempfile::tempdir().unwrap();
        let moto = Moto::on_free_port();
        assert_eq!(moto.ask("PUT", "/calls").0, 200);
        let store = FaultyStore::start(moto.address);
        let mut settings = settings(store.address);
        let s3 = settings.s3.as_mut().unwrap();
        s3.timeout = Duration::from_secs(2);
        change(s3);
        let house = house(data.path(), settings);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let recordings = house.recordings.clone();
        runtime.spawn(async move { recordings.keep().await });
        Scene {
            house,
            store,
            moto,
            runtime,
            _data: data,
        }
    }

    fn record(&mut self, frames: u64) -> Stored {
        let recorder = self.house.recordings.recorder();
        let mut recording = recorder.start(start(FileFormat::Wav)).unwrap();
        for index in 0..frames {
            recording.frame(index, RATE, &[index as i16; 320], None);
        }
        recording.stop(frames);
        self.house.over()
    }

    /// A file fails to go there while the fault lasts, and goes there after it.
    /// What was said of the failure.
    fn fails_and_goes(&mut self, fault: Fault, frames: u64) -> String {
        self.store.set(fault);
        let row = self.record(frames);
        let path = self.house.path(&row);
        let failed = self
            .house
            .wait_until(row.id, "a failure", |row| row.upload_attempts > 0);
        assert_eq!((failed.upload, failed.local), (Upload::Pending, true));
        assert!(path.exists());
        // Each try is told of once; the next comes a while later.
        let counters = self.house.recordings.counters();
        assert_eq!(counters.upload_failures, u64::from(failed.upload_attempts));
        assert_eq!(counters.uploaded, 0);
        let id = row.id.to_string();
        let wait = self.house.store.read_blocking(move |db| {
            db.query_row(
                "SELECT upload_next_ms FROM recordings WHERE recording_id = ?",
                [id],
                |row| row.get::<_, i64>(0),
            )
        });
        let since = wait
            .unwrap()
            .cast_unsigned()
            .saturating_sub(row.ended_ms.unwrap());
        assert!(since >= 1_000, "tried again after {since} ms");
        self.store.set(Fault::None);
        self.assert_uploaded(&row);
        failed.upload_error.unwrap()
    }

    fn assert_uploaded(&self, row: &Stored) {
        let done = self.house.wait_until(row.id, "the upload", |row| {
            row.upload == Upload::Done && !row.local
        });
        assert_eq!(done.upload_error, None);
        assert!(!self.house.path(row).exists());
        let object = done.object.unwrap();
        let (status, bytes) = self.moto.ask("GET", &format!("/calls/{object}"));
        assert_eq!((status, bytes.len() as u64), (200, row.size));
        let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        assert_eq!(Some(hash), row.sha256);
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        self.house.recordings.stop();
    }
}

/// 2 s, in one piece; and 288 s, in two.
const SHORT: u64 = 100;
const LONG: u64 = 14_400;

#[test]
fn keys_that_are_refused_are_named_and_tried_again() {
    let mut scene = Scene::new(|_| {});
    let problem = scene.fails_and_goes(Fault::Status(403), SHORT);
    assert!(
        problem.contains("correct the keys of recording.s3"),
        "{problem}"
    );
}

#[test]
fn a_store_that_is_ill_for_a_while_gets_the_file_once_it_is_well() {
    for (status, frames) in [(500, SHORT), (503, LONG)] {
        let mut scene = Scene::new(|_| {});
        let problem = scene.fails_and_goes(Fault::Status(status), frames);
        assert!(problem.contains(&status.to_string()), "{problem}");
    }
}

#[test]
fn a_connection_that_is_cut_in_the_midst_of_a_file_loses_nothing() {
    let mut scene = Scene::new(|_| {});
    scene.fails_and_goes(Fault::Cut(0), SHORT);
    // The first part has gone there: it is aborted, and sent again.
    let mut scene = Scene::new(|_| {});
    scene.fails_and_goes(Fault::Cut(1), LONG);
    let (_, left) = scene.moto.ask("GET", "/calls?uploads");
    let left = String::from_utf8(left).unwrap();
    assert!(!left.contains("<Upload>"), "{left}");
}

#[test]
fn a_store_that_never_answers_is_given_up_after_a_while() {
    let mut scene = Scene::new(|s3| s3.timeout = Duration::from_secs(1));
    scene.fails_and_goes(Fault::Hang, SHORT);
}

#[test]
fn a_store_that_has_not_all_of_it_is_not_believed() {
    let mut scene = Scene::new(|s3| s3.checksums = false);
    let problem = scene.fails_and_goes(Fault::Halve, SHORT);
    assert!(problem.contains("has 32040 of 64080 bytes"), "{problem}");
}

#[test]
fn what_is_damaged_on_the_way_is_refused_and_sent_again() {
    let mut scene = Scene::new(|_| {});
    let problem = scene.fails_and_goes(Fault::Damage, SHORT);
    assert!(problem.contains("400"), "{problem}");
}

#[test]
fn each_request_names_the_hash_that_the_store_is_to_compare() {
    let mut scene = Scene::new(|_| {});
    let row = scene.record(SHORT);
    scene.assert_uploaded(&row);
    let requests = scene.store.take_requests();
    let put = requests
        .iter()
        .find(|head| head.starts_with("PUT "))
        .unwrap();
    let hash = row.sha256.unwrap();
    // What is signed, what is compared and kept, and what is kept for us.
    assert_eq!(header(put, "x-amz-content-sha256"), Some(&*hash));
    assert_eq!(header(put, "x-amz-meta-sha256"), Some(&*hash));
    let checksum = header(put, "x-amz-checksum-sha256").unwrap();
    let checksum = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, checksum);
    assert_eq!(hex::encode(checksum.unwrap()), hash);
    // Nothing of the kind is sent to a store that refuses it.
    let mut scene = Scene::new(|s3| s3.checksums = false);
    let row = scene.record(LONG);
    scene.assert_uploaded(&row);
    let requests = scene.store.take_requests();
    assert!(
        requests
            .iter()
            .all(|head| header(head, "x-amz-checksum-sha256").is_none())
    );
    assert!(
        requests.iter().any(|head| head.starts_with("POST ")),
        "in pieces"
    );
}

#[test]
fn a_file_that_is_not_what_was_recorded_is_not_uploaded() {
    for frames in [SHORT, LONG] {
        let mut scene = Scene::new(|_| {});
        scene.store.set(Fault::Status(503));
        let row = scene.record(frames);
        let tried = scene
            .house
            .wait_until(row.id, "a failure", |row| row.upload_attempts > 0);
        let path = scene.house.path(&row);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[1_000] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        scene.store.set(Fault::None);
        let before = tried.upload_attempts;
        let failed = scene.house.wait_until(row.id, "another failure", |row| {
            row.upload_attempts > before
                && row
                    .upload_error
                    .as_ref()
                    .is_some_and(|e| e.contains("is not what was recorded"))
        });
        assert!(failed.local && path.exists());
        let object = failed.object.unwrap();
        assert_eq!(scene.moto.ask("GET", &format!("/calls/{object}")).0, 404);
        bytes[1_000] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        scene.assert_uploaded(&row);
    }
}

#[test]
fn what_is_too_old_goes_from_the_disk_and_from_the_store_if_that_is_wanted() {
    for (objects_too, status) in [(false, 200), (true, 404)] {
        let mut scene = Scene::new(|s3| {
            s3.delete_expired = objects_too;
            s3.delete_local_after_upload = false;
        });
        let row = scene.record(SHORT);
        let done = |row: &Stored| row.upload == Upload::Done;
        let row = scene.house.wait_until(row.id, "the upload", done);
        let object = format!("/calls/{}", row.object.as_ref().unwrap());
        let shared = scene.house.recordings.shared.clone();
        let later = row.ended_ms.unwrap() + 31 * 86_400_000;
        let path = scene.house.path(&row);
        if objects_too {
            // A store that does not let it go leaves all as it was.
            scene.store.set(Fault::Status(403));
            scene.runtime.block_on(shared.expire(later)).unwrap();
            assert!(path.exists() && scene.house.row(row.id).is_some());
            scene.store.set(Fault::None);
        }
        assert_eq!(scene.moto.ask("GET", &object).0, 200);
        scene.runtime.block_on(shared.expire(later)).unwrap();
        assert!(!path.exists());
        assert_eq!(scene.house.row(row.id), None);
        assert_eq!(scene.moto.ask("GET", &object).0, status);
        assert_eq!(scene.house.recordings.counters().expired, 1);
    }
}

#[test]
fn a_store_that_does_not_let_an_object_go_keeps_its_recording_until_it_does() {
    let mut scene = Scene::new(|_| {});
    let row = scene.record(SHORT);
    scene.assert_uploaded(&row);
    let row = scene.house.row(row.id).unwrap();
    scene.store.set(Fault::Status(403));
    let recordings = scene.house.recordings.clone();
    let refused = scene.runtime.block_on(recordings.remove(&row));
    assert!(
        matches!(refused, Err(RemoveError::Bucket(_))),
        "{refused:?}"
    );
    assert_eq!(scene.house.row(row.id), Some(row.clone()));
    scene.store.set(Fault::None);
    scene.runtime.block_on(recordings.remove(&row)).unwrap();
    let object = format!("/calls/{}", row.object.as_ref().unwrap());
    assert_eq!(scene.moto.ask("GET", &object).0, 404);
    assert_eq!(scene.house.row(row.id), None);
}
