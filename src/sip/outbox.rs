//! Where everything leaves: datagrams in order, each counted once.

use std::collections::VecDeque;
use std::net::SocketAddr;

use bytes::Bytes;

use super::counters::{Counters, MethodLabel};
use super::message::{Request, Response};
use crate::ids::ListenerId;

/// A datagram to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// The socket to send it from.
    pub listener: ListenerId,
    /// Where to.
    pub destination: SocketAddr,
    /// The octets.
    pub payload: Bytes,
}

/// One of our sockets and the peer's address: between which a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path {
    /// The peer's address.
    pub peer: SocketAddr,
    /// Our socket.
    pub listener: ListenerId,
}

/// Datagrams that wait to be sent, and the counters.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: VecDeque<Transmit>,
    scratch: Vec<u8>,
    /// All that is counted, here and by those who send.
    pub counters: Counters,
}

impl Outbox {
    /// The next datagram.
    pub fn pop(&mut self) -> Option<Transmit> {
        self.waiting.pop_front()
    }

    /// Sends a request for the first time; its octets, to send it again.
    pub fn request(&mut self, path: Path, request: &Request) -> Bytes {
        self.counters
            .request_sent(MethodLabel::from(&request.method));
        self.scratch.clear();
        request.write_to(&mut self.scratch);
        let payload = Bytes::copy_from_slice(&self.scratch);
        self.send(path, payload.clone());
        payload
    }

    /// Sends a response for the first time; its octets, to send it again.
    pub fn response(&mut self, path: Path, response: &Response) -> Bytes {
        self.counters.response_sent(response.status.code());
        self.scratch.clear();
        response.write_to(&mut self.scratch);
        let payload = Bytes::copy_from_slice(&self.scratch);
        self.send(path, payload.clone());
        payload
    }

    /// Sends octets that were sent before.
    pub fn again(&mut self, path: Path, payload: Bytes) {
        if payload.is_empty() {
            return;
        }
        self.counters.retransmissions_sent += 1;
        self.send(path, payload);
    }

    fn send(&mut self, path: Path, payload: Bytes) {
        self.waiting.push_back(Transmit {
            listener: path.listener,
            destination: path.peer,
            payload,
        });
    }
}
