//! Uploads to moto (PyPI), an S3 stand-in that the tests start themselves.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Stdio};

use super::*;
use crate::config::{Config, Machine};
use crate::store::recordings::Upload;

/// Where scripts/install-dependencies puts it.
fn moto_server() -> PathBuf {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache");
    let program = cache
        .unwrap_or_else(home)
        .join("ringwire-tests/moto/bin/moto_server");
    assert!(
        program.exists(),
        "this test needs {}: run scripts/install-dependencies test",
        program.display()
    );
    program
}

/// Of a request that nobody has really signed, which moto does not look into.
const SIGNED: &str = "AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, \
    SignedHeaders=host, Signature=00";

pub struct Moto {
    process: Child,
    pub address: SocketAddr,
}

impl Moto {
    pub fn on_free_port() -> Self {
        Self::start(free_address())
    }

    fn start(address: SocketAddr) -> Self {
        let process = Command::new(moto_server())
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "moto does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Moto { process, address }
    }

    /// Status and body of a request.
    pub fn ask(&self, method: &str, path: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: {SIGNED}\r\nContent-Length: 0\r\n\
             Connection: close\r\n\r\n",
            self.address
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let status = String::from_utf8_lossy(&answer[9..12]).parse().unwrap();
        (status, answer[end + 4..].to_vec())
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where nobody listens.
fn free_address() -> SocketAddr {
    let port = TcpListener::bind("127.0.0.1:0").unwrap();
    port.local_addr().unwrap()
}

/// As a configuration file has them.
pub fn settings(address: SocketAddr) -> Settings {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("gateway.toml");
    let text = format!(
        "[recording]\nformat = \"wav\"\nminimum_free_mb = 0\n[recording.s3]\n\
         endpoint = \"http://{address}\"\nallow_http = true\nbucket = \"calls\"\n\
         prefix = \"/kept/\"\naccess_key = \"key\"\nsecret_key = \"secret\"\n\
         delete_local_after_upload = true\n"
    );
    std::fs::write(&file, text).unwrap();
    let machine = Machine {
        cores: vec![0],
        route_v4: None,
        route_v6: None,
    };
    let config = Config::load_on(&machine, Some(&file), |_| None).unwrap();
    config.recording
}

impl House {
    pub fn wait_until(
        &self,
        id: RecordingId,
        what: &str,
        is_so: impl Fn(&Stored) -> bool,
    ) -> Stored {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let row = self.row(id).unwrap();
            if is_so(&row) {
                return row;
            }
            assert!(
                Instant::now() < deadline,
                "waited too long for {what}: {row:?}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_recording_is_uploaded_however_often_that_fails_and_kept_until_it_is_there() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let data = tempfile::tempdir().unwrap();
    let address = free_address();
    // 288 s: more than goes in one piece.
    let (id, hash, path) = {
        let mut house = house(data.path(), settings(address));
        let keeping = runtime.spawn({
            let recordings = house.recordings.clone();
            async move { recordings.keep().await }
        });
        let mut recording = house
            .recordings
            .recorder()
            .start(start(FileFormat::Wav))
            .unwrap();
        for index in 0..14_400 {
            recording.frame(index, RATE, &[100; 320], None);
        }
        recording.stop(14_400);
        let row = house.over();
        assert_eq!(row.upload, Upload::Pending);
        // Nobody listens there.
        let failed = house.wait_until(row.id, "a failure", |row| row.upload_attempts > 0);
        assert!(failed.local && failed.upload_error.is_some(), "{failed:?}");
        assert_eq!(house.recordings.counters().uploaded, 0);
        keeping.abort();
        let _ = runtime.block_on(keeping);
        house.recordings.stop();
        let hash = row.sha256.clone().unwrap();
        (row.id, hash, house.path(&row))
    };
    assert!(path.exists());
    // After a restart it goes on. The store is there now, but not the bucket.
    let moto = Moto::start(address);
    let house = house(data.path(), settings(address));
    let keeping = runtime.spawn({
        let recordings = house.recordings.clone();
        async move { recordings.keep().await }
    });
    let before = house.row(id).unwrap().upload_attempts;
    house.wait_until(id, "another failure", |row| row.upload_attempts > before);
    assert!(path.exists());
    assert_eq!(moto.ask("PUT", "/calls").0, 200);
    let row = house.wait_until(id, "the upload", |row| !row.local);
    assert_eq!(
        (row.upload, row.upload_error.as_ref()),
        (Upload::Done, None)
    );
    assert!(!path.exists());
    let object = row.object.clone().unwrap();
    assert_eq!(object, format!("kept/acme/{id}.wav"));
    let (status, bytes) = moto.ask("GET", &format!("/calls/{object}"));
    assert_eq!((status, bytes.len() as u64), (200, row.size));
    assert_eq!(
        hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes)),
        hash
    );
    // What is removed is removed there too.
    runtime.block_on(house.recordings.remove(&row)).unwrap();
    assert_eq!(moto.ask("GET", &format!("/calls/{object}")).0, 404);
    assert_eq!(house.row(id), None);
    keeping.abort();
    house.recordings.stop();
}
