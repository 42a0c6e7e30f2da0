//! A store that fails: it stands before moto and does to each request what it
//! is told to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What becomes of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// They are passed on.
    None,
    /// They are answered with this.
    Status(u16),
    /// So many parts of an upload are passed on; then the connection is cut in
    /// the midst of a body.
    Cut(u32),
    /// They are never answered.
    Hang,
    /// A byte of every body is another one when it arrives, which a store sees.
    Damage,
    /// Half of every body is lost, and the store says nothing.
    Halve,
}

struct Inner {
    fault: Fault,
    requests: Vec<String>,
}

/// Ends with the process; a request's thread with its request.
pub struct FaultyStore {
    pub address: SocketAddr,
    inner: Arc<Mutex<Inner>>,
}

struct Request {
    head: String,
    body: Vec<u8>,
}

impl FaultyStore {
    pub fn start(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Mutex::new(Inner {
            fault: Fault::None,
            requests: Vec::new(),
        }));
        let shared = inner.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(stream, behind, &shared));
            }
        });
        FaultyStore { address, inner }
    }

    pub fn set(&self, fault: Fault) {
        self.inner.lock().unwrap().fault = fault;
    }

    /// Heads of the requests that came since this was asked last.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().unwrap().requests)
    }
}

fn serve(mut stream: TcpStream, behind: SocketAddr, inner: &Mutex<Inner>) -> Option<()> {
    let head = read_head(&mut stream)?;
    let length = header(&head, "content-length").map_or(0, |length| length.parse().unwrap());
    let fault = {
        let mut inner = inner.lock().unwrap();
        inner.requests.push(head.clone());
        let fault = inner.fault;
        if let Fault::Cut(left) = fault
            && head.starts_with("PUT ")
        {
            inner.fault = Fault::Cut(left.saturating_sub(1));
        }
        fault
    };
    let mut body = vec![0; length];
    if fault == Fault::Cut(0) && length > 0 {
        // Half of it is read; what is unread resets the connection.
        stream.read_exact(&mut body[..length / 2]).ok()?;
        return None;
    }
    stream.read_exact(&mut body).ok()?;
    match fault {
        Fault::Status(status) => return refuse(&mut stream, status),
        Fault::Hang => {
            // Until the other side has had enough.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
            let _ = stream.read(&mut [0]);
            return None;
        }
        Fault::Damage if length > 0 => {
            body[length / 2] ^= 1;
            // As a store does, which moto leaves out.
            let hash = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&body));
            if header(&head, "x-amz-content-sha256") != Some(&*hash) {
                return refuse(&mut stream, 400);
            }
        }
        Fault::Halve => body.truncate(length / 2),
        Fault::None | Fault::Cut(_) | Fault::Damage => {}
    }
    let answer = ask(behind, &Request { head, body })?;
    stream.write_all(&answer).ok()
}

fn refuse(stream: &mut TcpStream, status: u16) -> Option<()> {
    let answer =
        format!("HTTP/1.1 {status} Not today\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).ok()
}

fn ask(behind: SocketAddr, request: &Request) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(behind).ok()?;
    let lines = request.head.lines().filter(|line| {
        let line = line.to_ascii_lowercase();
        !line.is_empty() && !line.starts_with("content-length:") && !line.starts_with("connection:")
    });
    let mut head: String = lines.map(|line| format!("{line}\r\n")).collect();
    head.push_str(&format!("Content-Length: {}\r\n", request.body.len()));
    head.push_str("Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    stream.write_all(&request.body).ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok()?;
    Some(answer)
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    String::from_utf8(head).ok()
}

/// A header's value.
pub fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (its, value) = line.split_once(':')?;
        its.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}
