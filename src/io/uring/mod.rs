//! The io_uring backend: one system call per turn submits what is to be sent
//! and waits for what comes.
//!
//! Receives are multishot into provided slots; a datagram is sent from the
//! slot it came in. Sends report failures only (`CQE_SKIP_SUCCESS`): with
//! `MSG_DONTWAIT` the kernel has finished with a send when the call that
//! submitted it returns, so the slots of a batch go back after that call, and
//! the wait is not ended by our own completions.

mod outgoing;
mod patience;
mod port;
mod ring;
mod sip;
mod slots;
mod token;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::time::Instant;

use io_uring::types::{Fd, Fixed};
use io_uring::{cqueue, opcode, squeue};

use self::outgoing::OutgoingList;
use self::patience::Patience;
use self::port::{Port, is_icmp};
use self::ring::Ring;
use self::sip::{Listener, SIP_SLOT};
use self::slots::Slots;
use self::token::{GENERATION, Kind, Token};
use super::backend::{BackendSettings, Core, IoCounters};
use super::batch::PacketBatch;
use super::sockets::{self, RAW_ADDRESS, RawAddress};
use super::waker::Waker;
use crate::ids::MediaPort;
use crate::media::packet::{
    BATCH, DropReason, MAX_DATAGRAM, Packet, SLOT_SIZE, TRAILER_ROOM, Verdict,
};

/// Buffer groups.
const MEDIA_GROUP: u16 = 0;
const SIP_GROUP: u16 = 1;

/// What a receive with addresses puts before the datagram: a
/// `struct io_uring_recvmsg_out` of four words, then room for the address.
const RECEIVE_HEADER: usize = 16;
const PREFIX: usize = RECEIVE_HEADER + RAW_ADDRESS;

/// A media slot: the address it is sent to, the prefix, the datagram, room for
/// a trailer.
const HEAD: usize = 32;
const WINDOW: usize = PREFIX + MAX_DATAGRAM;
const _: () = assert!(HEAD >= RAW_ADDRESS && HEAD.is_multiple_of(align_of::<RawAddress>()));
const _: () = assert!(HEAD + WINDOW + TRAILER_ROOM <= SLOT_SIZE);

/// io_uring. See [`super::Backend`] for the methods.
#[derive(Debug)]
pub struct UringBackend {
    // Dropped before the memory that its requests point at.
    ring: Ring,
    slots: Slots,
    sip_slots: Slots,
    waker: Waker,
    settings: BackendSettings,
    ports: Vec<Option<Port>>,
    generation: u32,
    listeners: Vec<Option<Listener>>,
    outgoing: OutgoingList,
    /// Slots whose send was queued and not yet submitted.
    leaving: Vec<u16>,
    patience: Patience,
    counters: IoCounters,
}

/// A completion, copied out of the ring.
#[derive(Debug, Clone, Copy)]
struct Completion {
    token: Token,
    result: i32,
    flags: u32,
}

impl Completion {
    fn slot(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }

    fn ended(&self) -> bool {
        !cqueue::more(self.flags)
    }
}

impl UringBackend {
    pub(super) fn new(settings: BackendSettings) -> io::Result<UringBackend> {
        let ring = Ring::new(&settings)?;
        let submitter = ring.submitter();
        let files = u64::from(settings.media_ports).min(sockets::file_limit()?);
        submitter.register_files_sparse(files as u32)?;
        let slots = Slots::new(
            &submitter,
            MEDIA_GROUP,
            settings.media_slots,
            SLOT_SIZE,
            HEAD,
            WINDOW,
        )?;
        let sip_slots = Slots::new(
            &submitter,
            SIP_GROUP,
            settings.signalling_slots,
            SIP_SLOT,
            0,
            SIP_SLOT,
        )?;
        let mut backend = UringBackend {
            ring,
            slots,
            sip_slots,
            waker: Waker::new()?,
            settings: BackendSettings {
                media_ports: files as u32,
                ..settings
            },
            ports: Vec::new(),
            generation: 0,
            listeners: Vec::new(),
            outgoing: OutgoingList::default(),
            leaving: Vec::with_capacity(BATCH),
            patience: Patience::new(settings.gather),
            counters: IoCounters::default(),
        };
        backend.arm_waker();
        Ok(backend)
    }

    pub(super) fn waker(&self) -> Waker {
        self.waker.clone()
    }

    pub(super) fn counters(&self) -> &IoCounters {
        &self.counters
    }

    pub(super) fn add_media(&mut self, port: MediaPort, socket: UdpSocket) -> io::Result<()> {
        if port.0 >= self.settings.media_ports {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.remove_media(port);
        // A receive that finds nothing must wait, not fail.
        socket.set_nonblocking(false)?;
        let files = [socket.as_raw_fd()];
        self.ring
            .submitter()
            .register_files_update(port.0, &files)?;
        let at = port.0 as usize;
        if at >= self.ports.len() {
            self.ports.resize_with(at + 1, || None);
        }
        self.generation = (self.generation + 1) & GENERATION;
        self.ports[at] = Some(Port::new(socket, self.generation));
        self.arm(port, None);
        Ok(())
    }

    pub(super) fn connect_media(&mut self, port: MediaPort, peer: SocketAddr) {
        let Some(known) = port_of(&mut self.ports, port) else {
            return;
        };
        known.peer = Some(peer);
        known.connected = sockets::connect(known.socket.as_raw_fd(), peer).is_ok();
        if !known.connected {
            self.counters.connect_failures += 1;
        }
        self.stop_receive(port);
    }

    pub(super) fn disconnect_media(&mut self, port: MediaPort) {
        let Some(known) = port_of(&mut self.ports, port) else {
            return;
        };
        known.peer = None;
        if !std::mem::take(&mut known.connected) {
            return;
        }
        // Nothing to be done about a refusal: the receive says who sends.
        let _ = sockets::disconnect(known.socket.as_raw_fd());
        self.stop_receive(port);
    }

    pub(super) fn send_media(&mut self, port: MediaPort, to: Option<SocketAddr>, payload: &[u8]) {
        let Some(known) = port_of(&mut self.ports, port) else {
            self.counters.drops.add(DropReason::StalePort);
            return;
        };
        let to = to.or(known.peer.filter(|_| !known.connected));
        match sockets::send_now(&known.socket, to, payload) {
            Ok(()) => self.counters.media_generated += 1,
            Err(reason) => self.counters.drops.add(reason),
        }
    }

    pub(super) fn remove_media(&mut self, port: MediaPort) {
        drop(self.release_media(port));
    }

    pub(super) fn release_media(&mut self, port: MediaPort) -> Option<UdpSocket> {
        self.stop_receive(port);
        let known = self.ports.get_mut(port.0 as usize)?.take()?;
        // The ring's own reference; -1 empties the place.
        let _ = self.ring.submitter().register_files_update(port.0, &[-1]);
        Some(known.socket)
    }

    pub(super) fn turn(
        &mut self,
        deadline: Option<Instant>,
        core: &mut impl Core,
    ) -> io::Result<()> {
        self.ring.submit_and_wait(deadline, self.patience.next())?;
        self.take_back_slots();
        let now = Instant::now();

        let mut completions = [const { None }; BATCH];
        let taken = self.ring.take(&mut completions);
        let mut batch = PacketBatch::new();
        let mut batch_slots = [0u16; BATCH];
        let mut others = 0;
        for at in 0..taken {
            let Some(completion) = completions[at].take() else {
                continue;
            };
            match completion.token.kind {
                Kind::ReceiveAny | Kind::Drain | Kind::ReceivePeer => {
                    if let Some((packet, slot)) = self.received(completion) {
                        batch_slots[batch.len()] = slot;
                        // No more than BATCH completions, so it has room.
                        let _ = batch.push(packet);
                    }
                }
                Kind::Send => self.send_failed(completion.result),
                Kind::Cancel => {}
                Kind::SipReceive | Kind::SipSend | Kind::Wake => {
                    completions[others] = Some(completion);
                    others += 1;
                }
            }
        }

        self.patience.took(now, batch.len());
        if !batch.is_empty() {
            core.media_batch(now, batch.as_mut_slice());
            self.send(batch.as_mut_slice(), &batch_slots);
            if others > 0 && !self.leaving.is_empty() {
                // SIP takes its time; the media need not wait for it.
                self.ring.submit()?;
                self.take_back_slots();
            }
        }
        for completion in completions.into_iter().take(others).flatten() {
            match completion.token.kind {
                Kind::SipReceive => self.sip_received(completion, now, core),
                Kind::SipSend => self.sip_sent(completion, now, core),
                _ => self.woken(completion),
            }
        }
        self.slots.publish();
        self.sip_slots.publish();
        self.counters.turns += 1;
        Ok(())
    }

    /// A datagram on a media port, or the end of the port's receive.
    #[inline]
    fn received<'s>(&mut self, completion: Completion) -> Option<(Packet<'s>, u16)> {
        let token = completion.token;
        let port = MediaPort(token.index);
        let mut packet = None;
        if let Some(slot) = completion.slot() {
            let known = port_of(&mut self.ports, port);
            packet = match known.filter(|known| known.owns(token)) {
                Some(known) => {
                    let settled = known.is_settled();
                    known.found |= token.kind == Kind::Drain;
                    self.read_packet(completion, port, slot, settled)
                }
                None => Err(DropReason::StalePort),
            }
            .map_err(|reason| {
                self.counters.drops.add(reason);
                self.slots.give(slot);
            })
            .ok()
            .map(|packet| (packet, slot));
        }
        if completion.ended() {
            self.receive_ended(completion, port);
        }
        packet
    }

    #[inline]
    fn read_packet<'s>(
        &mut self,
        completion: Completion,
        port: MediaPort,
        slot: u16,
        settled: bool,
    ) -> Result<Packet<'s>, DropReason> {
        let start = self.slots.start(slot).ok_or(DropReason::StalePort)?;
        self.counters.media_received += 1;
        let received = usize::try_from(completion.result).unwrap_or(0);
        let (source, prefix, truncated) = match completion.token.kind {
            Kind::ReceivePeer => {
                if !settled {
                    // Nobody can tell any more who sent it.
                    return Err(DropReason::StalePort);
                }
                (None, 0, received > MAX_DATAGRAM)
            }
            _ => {
                // SAFETY: the kernel wrote the prefix behind the head of this
                // slot, which is ours until it is given back.
                let header = unsafe { ReceiveHeader::read(start.add(HEAD)) };
                let source = header.source.ok_or(DropReason::WrongSource)?;
                (Some(source), PREFIX, header.truncated)
            }
        };
        let len = received.saturating_sub(prefix);
        if truncated || len > MAX_DATAGRAM {
            return Err(DropReason::Truncated);
        }
        let offset = HEAD + prefix;
        // SAFETY: the slot is ours until it is given back, which happens after
        // the packet's last use in this turn, and no other packet is in it.
        let bytes = unsafe {
            std::slice::from_raw_parts_mut(start.add(offset).as_ptr(), SLOT_SIZE - offset)
        };
        Ok(Packet::new(port, source, bytes, len))
    }

    #[cold]
    fn receive_ended(&mut self, completion: Completion, port: MediaPort) {
        let result = completion.result;
        match port_of(&mut self.ports, port) {
            Some(known) if known.owns(completion.token) => {}
            // The end of a receive that was given up with its port.
            Some(_) | None => return,
        }
        if result == -libc::ENOBUFS {
            self.counters.slots_exhausted += 1;
        } else if is_icmp(result) {
            self.counters.media_icmp_errors += 1;
        }
        self.counters.rearms += 1;
        self.arm(port, Some((completion.token.kind, result)));
    }

    /// Starts the receive that the port needs next.
    fn arm(&mut self, port: MediaPort, ended: Option<(Kind, i32)>) {
        let Some(known) = port_of(&mut self.ports, port) else {
            return;
        };
        let next = known.next_receive(ended);
        known.armed = next;
        known.stopping = false;
        let Some(kind) = next else {
            let errno = ended.map_or(0, |(_, result)| -result);
            tracing::error!(port = port.0, errno, "giving a media port up");
            return;
        };
        let token = Token::new(kind, known.generation, port.0).encode();
        let (file, group) = (Fixed(port.0), self.slots.group());
        let template = self.ring.template();
        let entry = match kind {
            Kind::ReceivePeer => opcode::RecvMulti::new(file, group).build(),
            Kind::Drain => opcode::RecvMsgMulti::new(file, template, group)
                .flags(libc::MSG_DONTWAIT as u32)
                .build(),
            _ => opcode::RecvMsgMulti::new(file, template, group).build(),
        };
        self.ring.push(entry.user_data(token));
    }

    /// Tells the port's receive to end; another follows when it has.
    fn stop_receive(&mut self, port: MediaPort) {
        let Some(known) = port_of(&mut self.ports, port) else {
            return;
        };
        let Some(kind) = known.armed else {
            return;
        };
        if std::mem::replace(&mut known.stopping, true) {
            return;
        }
        let receive = Token::new(kind, known.generation, port.0).encode();
        let token = Token::new(Kind::Cancel, known.generation, port.0).encode();
        let entry = opcode::AsyncCancel::new(receive).build();
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(token);
        self.ring.push(entry);
    }

    /// Queues the sends of a batch; the slots of all other packets go back.
    #[inline]
    fn send(&mut self, batch: &mut [Packet<'_>], batch_slots: &[u16]) {
        for (packet, slot) in batch.iter_mut().zip(batch_slots) {
            let (port, to) = match packet.verdict {
                Verdict::Forward { port, to } => (port, to),
                Verdict::Drop(_) | Verdict::Consumed => {
                    self.slots.give(*slot);
                    continue;
                }
            };
            let (Some(known), Some(start)) =
                (port_of(&mut self.ports, port), self.slots.start(*slot))
            else {
                self.counters.drops.add(DropReason::StalePort);
                self.slots.give(*slot);
                continue;
            };
            let bytes = packet.bytes_mut();
            let (len, bytes) = (bytes.len() as u32, bytes.as_ptr());
            let mut send = opcode::Send::new(Fixed(port.0), bytes, len)
                .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
            // An address costs a route lookup that a connected socket saves.
            let by_default = known.peer.filter(|_| !known.connected);
            if let Some(address) = to.or(by_default) {
                let raw = RawAddress::encode(address);
                let head: NonNull<RawAddress> = start.cast();
                // SAFETY: the head of the slot is large and aligned enough
                // (asserted above), and the slot is ours until it is given back.
                unsafe { head.write(raw) };
                send = send
                    .dest_addr(head.as_ptr().cast())
                    .dest_addr_len(raw.len());
            }
            let token = Token::new(Kind::Send, known.generation, port.0).encode();
            let entry = send.build().flags(squeue::Flags::SKIP_SUCCESS);
            self.ring.push(entry.user_data(token));
            self.leaving.push(*slot);
        }
    }

    /// Slots of sends that the kernel is done with go back to it.
    #[inline]
    fn take_back_slots(&mut self) {
        if !self.ring.all_submitted() {
            return;
        }
        for slot in self.leaving.drain(..) {
            self.slots.give(slot);
        }
        self.slots.publish();
    }

    #[cold]
    fn send_failed(&mut self, result: i32) {
        let reason = match -result {
            libc::EAGAIN | libc::ENOBUFS => DropReason::SendBufferFull,
            libc::EBADF => DropReason::StalePort,
            _ => DropReason::SendFailed,
        };
        if is_icmp(result) {
            self.counters.media_icmp_errors += 1;
        }
        self.counters.drops.add(reason);
    }

    fn arm_waker(&mut self) {
        let entry = opcode::PollAdd::new(Fd(self.waker.fd()), libc::POLLIN as u32)
            .multi(true)
            .build();
        self.ring
            .push(entry.user_data(Token::new(Kind::Wake, 0, 0).encode()));
    }

    fn woken(&mut self, completion: Completion) {
        self.waker.drain();
        self.waker.seen();
        if completion.ended() {
            self.arm_waker();
        }
    }
}

impl Drop for UringBackend {
    fn drop(&mut self) {
        if !self.ring.cancel_all() {
            // Requests may still be under way, and their memory must stay.
            self.slots.leak();
            self.sip_slots.leak();
            std::mem::forget(std::mem::take(&mut self.outgoing));
        }
    }
}

#[inline]
fn port_of(ports: &mut [Option<Port>], port: MediaPort) -> Option<&mut Port> {
    ports.get_mut(port.0 as usize)?.as_mut()
}

/// What the kernel says before a datagram.
struct ReceiveHeader {
    source: Option<SocketAddr>,
    truncated: bool,
}

impl ReceiveHeader {
    /// # Safety
    /// `start` leads to [`PREFIX`] readable bytes that the kernel has written.
    #[inline]
    unsafe fn read(start: NonNull<u8>) -> ReceiveHeader {
        // struct io_uring_recvmsg_out { namelen, controllen, payloadlen, flags }
        // SAFETY: the caller's promise.
        let words = unsafe { start.cast::<[u32; 4]>().read_unaligned() };
        // SAFETY: the caller's promise; the address lies behind the four words.
        let address = unsafe {
            start
                .add(RECEIVE_HEADER)
                .cast::<RawAddress>()
                .read_unaligned()
        };
        ReceiveHeader {
            source: address.decode(),
            truncated: words[3] & libc::MSG_TRUNC as u32 != 0,
        }
    }
}
