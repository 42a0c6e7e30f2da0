//! SIP datagrams in the kernel's hands: their bytes and addresses must stay
//! where they are until the send has completed.

use std::net::SocketAddr;

use bytes::Bytes;

use super::super::sockets::RawAddress;
use crate::ids::ListenerId;

/// A datagram on its way out.
pub(super) struct Outgoing {
    pub(super) listener: ListenerId,
    pub(super) destination: SocketAddr,
    pub(super) address: RawAddress,
    pub(super) payload: Bytes,
    /// Times it was handed to the kernel.
    pub(super) attempts: u8,
}

/// Boxed, so that growing the list moves none of them.
#[derive(Default)]
pub(super) struct OutgoingList {
    places: Vec<Option<Box<Outgoing>>>,
    free: Vec<u32>,
}

impl std::fmt::Debug for OutgoingList {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OutgoingList")
            .field("under_way", &(self.places.len() - self.free.len()))
            .finish()
    }
}

impl OutgoingList {
    pub(super) fn add(&mut self, outgoing: Outgoing) -> u32 {
        match self.free.pop() {
            Some(index) => {
                self.places[index as usize] = Some(Box::new(outgoing));
                index
            }
            None => {
                self.places.push(Some(Box::new(outgoing)));
                (self.places.len() - 1) as u32
            }
        }
    }

    pub(super) fn get_mut(&mut self, index: u32) -> Option<&mut Outgoing> {
        self.places.get_mut(index as usize)?.as_deref_mut()
    }

    pub(super) fn remove(&mut self, index: u32) -> Option<Box<Outgoing>> {
        let outgoing = self.places.get_mut(index as usize)?.take()?;
        self.free.push(index);
        Some(outgoing)
    }
}
