//! A batch of packets on the stack: neither allocated nor cleared per turn.

use std::mem::MaybeUninit;

use crate::media::packet::{BATCH, Packet};

/// Up to [`BATCH`] packets.
pub(super) struct PacketBatch<'b> {
    packets: [MaybeUninit<Packet<'b>>; BATCH],
    len: usize,
}

impl<'b> PacketBatch<'b> {
    #[inline]
    pub(super) fn new() -> Self {
        PacketBatch {
            packets: [const { MaybeUninit::uninit() }; BATCH],
            len: 0,
        }
    }

    /// Adds a packet; gives it back when the batch is full.
    #[inline]
    pub(super) fn push(&mut self, packet: Packet<'b>) -> Result<(), Packet<'b>> {
        match self.packets.get_mut(self.len) {
            Some(place) => {
                place.write(packet);
                self.len += 1;
                Ok(())
            }
            None => Err(packet),
        }
    }

    #[inline]
    pub(super) fn as_mut_slice(&mut self) -> &mut [Packet<'b>] {
        // SAFETY: the first `len` places were written by `push`, and a
        // MaybeUninit<T> is laid out as a T. Packets need no drop.
        unsafe { std::slice::from_raw_parts_mut(self.packets.as_mut_ptr().cast(), self.len) }
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

const _: () = assert!(!std::mem::needs_drop::<Packet<'static>>());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::MediaPort;

    #[test]
    fn a_full_batch_gives_the_packet_back() {
        let mut slots = vec![[0u8; 4]; BATCH + 1];
        let mut batch = PacketBatch::new();
        assert!(batch.is_empty());
        for (n, slot) in slots.iter_mut().enumerate() {
            let packet = Packet::new(MediaPort(n as u32), None, slot, 4);
            assert_eq!(batch.push(packet).is_ok(), n < BATCH);
        }
        let ports: Vec<u32> = batch.as_mut_slice().iter().map(|p| p.port.0).collect();
        assert_eq!(ports, (0..BATCH as u32).collect::<Vec<_>>());
    }
}
