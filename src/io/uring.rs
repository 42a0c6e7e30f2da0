//! The io_uring backend: not here yet, so `Auto` uses poll.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::Instant;

use bytes::Bytes;

use super::backend::{BackendSettings, Core, IoCounters};
use super::waker::Waker;
use crate::ids::{ListenerId, MediaPort};

/// io_uring. Cannot be made yet.
#[derive(Debug)]
pub enum UringBackend {}

impl UringBackend {
    pub(super) fn new(_: BackendSettings) -> io::Result<UringBackend> {
        Err(io::ErrorKind::Unsupported.into())
    }
    pub(super) fn waker(&self) -> Waker {
        match *self {}
    }
    pub(super) fn counters(&self) -> &IoCounters {
        match *self {}
    }
    pub(super) fn add_signalling(&mut self, _: ListenerId, _: UdpSocket) -> io::Result<()> {
        match *self {}
    }
    pub(super) fn send_signalling(&mut self, _: ListenerId, _: SocketAddr, _: Bytes) {
        match *self {}
    }
    pub(super) fn add_media(&mut self, _: MediaPort, _: UdpSocket) -> io::Result<()> {
        match *self {}
    }
    pub(super) fn connect_media(&mut self, _: MediaPort, _: SocketAddr) {
        match *self {}
    }
    pub(super) fn disconnect_media(&mut self, _: MediaPort) {
        match *self {}
    }
    pub(super) fn remove_media(&mut self, _: MediaPort) {
        match *self {}
    }
    pub(super) fn turn(&mut self, _: Option<Instant>, _: &mut impl Core) -> io::Result<()> {
        match *self {}
    }
}
