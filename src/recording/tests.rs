//! Recordings from the shard's handle to the file, the row and the event.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Instant;

use super::*;
use crate::config::Recording as Settings;
use crate::ids::{AppId, RecordingId};
use crate::sound::file::{Channels, FileFormat};
use crate::sound::format::SampleRate;
use crate::store::recordings::{self, Span, State};

mod faulty_store;
mod refusals;
mod upload;

/// Longer than anything here takes; a test that waits for it has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const RATE: SampleRate = SampleRate::Wide;
/// Bytes of a WAV file before its sound.
const WAV_HEADER: u64 = 80;

struct House {
    recordings: Recordings,
    events: mpsc::Receiver<RecordingEvent>,
    store: Store,
    data: PathBuf,
}

fn settings() -> Settings {
    Settings {
        format: FileFormat::Wav,
        channels: Channels::Mono,
        keep: Duration::from_secs(86_400),
        minimum_free: 0,
        announcement: false,
        s3: None,
    }
}

fn house(data: &Path, settings: Settings) -> House {
    let store = Store::open(data).unwrap();
    let recordings = Recordings::open(settings, data, store.clone()).unwrap();
    House {
        events: recordings.events().unwrap(),
        recordings,
        store,
        data: data.to_path_buf(),
    }
}

fn start(format: FileFormat) -> RecordingStart {
    RecordingStart {
        app: AppId::new("acme"),
        call: None,
        room: "lobby".into(),
        peer: "alice".into(),
        format,
        channels: Channels::Mono,
        started_ms: 1_000,
    }
}

impl House {
    /// The next event of a recording that is over.
    fn over(&mut self) -> Stored {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.events.try_recv() {
                Ok(event) if event.state != State::Recording => return *event,
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
        panic!("waited too long for a recording to be over");
    }

    fn row(&self, id: RecordingId) -> Option<Stored> {
        self.store
            .read_blocking(|db| recordings::one(db, id))
            .unwrap()
    }

    fn path(&self, row: &Stored) -> PathBuf {
        let extension = row.format.extension();
        self.data
            .join(format!("recordings/acme/{}.{extension}", row.id))
    }
}

#[test]
fn a_recording_becomes_a_file_a_row_and_an_event_that_agree() {
    let data = tempfile::tempdir().unwrap();
    for format in [FileFormat::Wav, FileFormat::OggOpus] {
        let mut house = house(data.path(), settings());
        let mut recording = house.recordings.recorder().start(start(format)).unwrap();
        let id = recording.id();
        for index in 0..60 {
            assert!(recording.frame(index, RATE, &[100; 320], None));
        }
        recording.stop(75);
        let row = house.over();
        assert_eq!(
            (row.id, row.state, row.duration_ms),
            (id, State::Ready, 1_500)
        );
        assert_eq!(house.row(id).unwrap(), row);
        let path = house.path(&row);
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(row.size, bytes.len() as u64);
        let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        assert_eq!(row.sha256, Some(hash));
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(path.parent().unwrap()), 0o700);
        house.recordings.stop();
        let counters = house.recordings.counters();
        assert_eq!(
            (counters.started, counters.ready, counters.active),
            (1, 1, 0)
        );
    }
}

#[test]
fn what_finds_no_room_becomes_silence_and_a_gap() {
    let data = tempfile::tempdir().unwrap();
    let mut house = house(data.path(), settings());
    let mut recording = house
        .recordings
        .recorder()
        .start(start(FileFormat::Wav))
        .unwrap();
    // Far quicker than any disk: the queue fills up.
    let mut index = 0;
    while recording.frame(index, RATE, &[100; 320], None) {
        index += 1;
        assert!(index < 10_000_000, "the queue has no end");
    }
    let lost = house.recordings.counters().frames_lost;
    assert_eq!(lost, 1);
    // Until there is room again.
    while !recording.frame(index + 1, RATE, &[100; 320], None) {
        index += 1;
        std::thread::yield_now();
    }
    let lost = house.recordings.counters().frames_lost;
    recording.stop(index + 2);
    let row = house.over();
    assert_eq!(row.duration_ms, (index + 2) * 20);
    let gap: u64 = row.gaps.iter().map(|gap| gap.duration_ms).sum();
    assert_eq!(gap, lost * 20);
    let end: u64 = row
        .gaps
        .last()
        .map(|gap| gap.at_ms + gap.duration_ms)
        .unwrap();
    assert_eq!(end, (index + 1) * 20);
    assert_eq!(row.size, WAV_HEADER + row.duration_ms * 32);
}

#[test]
fn a_recording_that_is_dropped_ends_behind_its_last_frame() {
    let data = tempfile::tempdir().unwrap();
    let mut house = house(data.path(), settings());
    let mut recording = house
        .recordings
        .recorder()
        .start(start(FileFormat::Wav))
        .unwrap();
    recording.frame(9, RATE, &[100; 320], None);
    drop(recording);
    assert_eq!(house.over().duration_ms, 200);
}

#[test]
fn pause_and_resume_leave_out_what_is_between() {
    let data = tempfile::tempdir().unwrap();
    let mut house = house(data.path(), settings());
    let mut recording = house
        .recordings
        .recorder()
        .start(start(FileFormat::Wav))
        .unwrap();
    recording.frame(0, RATE, &[100; 320], None);
    recording.pause(1);
    recording.resume(51);
    recording.frame(51, RATE, &[100; 320], None);
    recording.stop(52);
    let row = house.over();
    assert_eq!(row.duration_ms, 40);
    let span = Span {
        at_ms: 20,
        duration_ms: 1_000,
    };
    assert_eq!(row.pauses, [span]);
}

#[test]
fn the_end_of_the_gateway_ends_its_recordings() {
    let data = tempfile::tempdir().unwrap();
    let mut house = house(data.path(), settings());
    let recorder = house.recordings.recorder();
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut recording = recorder.start(start(FileFormat::OggOpus)).unwrap();
        recording.frame(0, RATE, &[100; 320], None);
        open.push(recording);
    }
    house.recordings.stop();
    for _ in 0..10 {
        let row = house.over();
        assert_eq!((row.state, row.duration_ms), (State::Ready, 20));
    }
}

#[test]
fn what_a_killed_process_left_is_ended_at_the_next_start() {
    let data = tempfile::tempdir().unwrap();
    let (left, missing) = {
        let house = house(data.path(), settings());
        let recorder = house.recordings.recorder();
        let mut left = recorder.start(start(FileFormat::Wav)).unwrap();
        let missing = recorder.start(start(FileFormat::OggOpus)).unwrap();
        for index in 0..50 {
            left.frame(index, RATE, &[100; 320], None);
        }
        let ids = (left.id(), missing.id());
        left.stop(50);
        missing.stop(0);
        house.recordings.stop();
        // As a killed process leaves them: open rows, one file with a torn end
        // and a header that does not know of it, the other with nothing.
        let reopen = |db: &rusqlite::Connection| {
            db.execute_batch(
                "UPDATE recordings SET state = 'recording', sha256 = NULL, size = 0,
                 duration_ms = 0, ended_ms = NULL",
            )
        };
        house.store.write(reopen).wait().unwrap();
        let path = house.path(&house.row(ids.0).unwrap());
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.extend([7; 3_201]);
        std::fs::write(&path, bytes).unwrap();
        std::fs::write(house.path(&house.row(ids.1).unwrap()), b"OggS").unwrap();
        ids
    };
    let house = house(data.path(), settings());
    let row = house.row(left).unwrap();
    // 1 s, and the 1,600 samples that were written since the last flush.
    assert_eq!(
        (row.state, row.recovered, row.duration_ms),
        (State::Ready, true, 1_100)
    );
    assert_eq!(row.ended_ms, Some(2_100));
    let bytes = std::fs::read(house.path(&row)).unwrap();
    assert_eq!((row.size, bytes.len()), (80 + 35_200, 80 + 35_200));
    assert_eq!(bytes[76..80], 35_200_u32.to_le_bytes());
    let row = house.row(missing).unwrap();
    assert_eq!(
        (row.state, row.reason.as_deref()),
        (State::Failed, Some("lost"))
    );
    assert!(!row.local && !house.path(&row).exists());
    let untold = house.store.read_blocking(|db| recordings::untold(db, 10));
    assert_eq!(untold.unwrap().len(), 2);
}

#[test]
fn below_the_minimum_of_free_space_nothing_is_recorded() {
    let data = tempfile::tempdir().unwrap();
    let full = Settings {
        minimum_free: u64::MAX,
        ..settings()
    };
    let mut house = house(data.path(), full);
    let mut recording = house
        .recordings
        .recorder()
        .start(start(FileFormat::Wav))
        .unwrap();
    recording.frame(0, RATE, &[100; 320], None);
    let row = house.over();
    assert!(recording.is_over());
    recording.stop(1);
    assert_eq!(
        (row.state, row.reason.as_deref()),
        (State::Failed, Some("disk_full"))
    );
    assert_eq!((row.size, row.local), (0, false));
}

/// Where [`on_a_full_disk`] finds its disk.
const DISK: &str = "RINGWIRE_TEST_TINY_DISK";

#[test]
fn a_full_disk_ends_the_recording_and_leaves_what_was_written() {
    // A disk of 1 MiB, in a mount namespace of its own.
    let data = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=1m none \"$RINGWIRE_TEST_TINY_DISK\" && exec \"$@\"";
    let test = "recording::tests::on_a_full_disk";
    let output = Command::new("unshare")
        .args(["--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env(DISK, data.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{problems}");
    assert!(told.contains("1 passed"), "{told}");
}

#[test]
#[ignore = "run by a_full_disk_ends_the_recording_and_leaves_what_was_written, on a disk of its own"]
fn on_a_full_disk() {
    let disk = PathBuf::from(std::env::var_os(DISK).expect("run by the other test"));
    // The database is elsewhere: it has to stay writable.
    let data = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(&disk, data.path().join("recordings")).unwrap();
    let mut house = house(data.path(), settings());
    let recorder = house.recordings.recorder();
    let mut recording = recorder.start(start(FileFormat::Wav)).unwrap();
    // 32,000 bytes a second: full within 33 s of sound.
    for index in 0..3_000 {
        recording.frame(index, RATE, &[100; 320], None);
    }
    let row = house.over();
    assert!(recording.is_over());
    assert_eq!(
        (row.state, row.reason.as_deref()),
        (State::Failed, Some("disk_full"))
    );
    assert!(
        (30_000..33_000).contains(&row.duration_ms),
        "{}",
        row.duration_ms
    );
    let bytes = std::fs::read(house.path(&row)).unwrap();
    assert_eq!(bytes.len() as u64, row.size);
    let whole_milliseconds = WAV_HEADER + row.duration_ms * 32;
    assert!((0..32).contains(&(row.size - whole_milliseconds)));
    // The next one fails as well, and nothing else does; with room it goes on.
    recorder.start(start(FileFormat::Wav)).unwrap().stop(50);
    assert_eq!(house.over().reason.as_deref(), Some("disk_full"));
    std::fs::remove_file(house.path(&row)).unwrap();
    recorder.start(start(FileFormat::Wav)).unwrap().stop(50);
    assert_eq!(house.over().state, State::Ready);
}
