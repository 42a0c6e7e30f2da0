//! The SIP sockets of the ring.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Instant;

use bytes::Bytes;
use io_uring::opcode;
use io_uring::types::Fd;

use super::super::backend::Core;
use super::super::signalling::{Listeners, MAX_SIGNALLING};
use super::super::sockets::RawAddress;
use super::outgoing::Outgoing;
use super::port::is_icmp;
use super::token::{Kind, Token};
use super::{Completion, PREFIX, ReceiveHeader, UringBackend};
use crate::ids::ListenerId;

/// A SIP slot: the prefix and all that UDP can carry.
pub(super) const SIP_SLOT: usize = (PREFIX + MAX_SIGNALLING).next_multiple_of(64);

/// A send can be answered with the error of an earlier one; tried again this
/// often before the error is believed to be its own.
const SEND_ATTEMPTS: u8 = 3;

/// A SIP socket.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UdpSocket,
    under_way: usize,
    failures: u8,
}

impl UringBackend {
    pub(in crate::io) fn add_signalling(
        &mut self,
        listener: ListenerId,
        socket: UdpSocket,
    ) -> io::Result<()> {
        socket.set_nonblocking(false)?;
        let at = usize::from(listener.0);
        if at >= self.listeners.len() {
            self.listeners.resize_with(at + 1, || None);
        }
        self.listeners[at] = Some(Listener {
            socket,
            under_way: 0,
            failures: 0,
        });
        self.arm_listener(listener);
        Ok(())
    }

    pub(in crate::io) fn send_signalling(
        &mut self,
        listener: ListenerId,
        destination: SocketAddr,
        payload: Bytes,
    ) {
        let limit = self.settings.signalling_queue;
        match listener_of(&mut self.listeners, listener) {
            Some(known) if known.under_way < limit => known.under_way += 1,
            Some(_) | None => {
                self.counters.signalling_queue_full += 1;
                return;
            }
        }
        let index = self.outgoing.add(Outgoing {
            listener,
            destination,
            address: RawAddress::encode(destination),
            payload,
            attempts: 0,
        });
        self.submit_outgoing(index);
    }

    fn arm_listener(&mut self, listener: ListenerId) {
        let Some(known) = listener_of(&mut self.listeners, listener) else {
            return;
        };
        let file = Fd(known.socket.as_raw_fd());
        let group = self.sip_slots.group();
        let token = Token::new(Kind::SipReceive, 0, u32::from(listener.0)).encode();
        let entry = opcode::RecvMsgMulti::new(file, self.ring.template(), group).build();
        self.ring.push(entry.user_data(token));
    }

    /// A datagram on a SIP socket, or the end of its receive.
    pub(super) fn sip_received(
        &mut self,
        completion: Completion,
        now: Instant,
        core: &mut impl Core,
    ) {
        let listener = ListenerId(completion.token.index as u8);
        if let Some(slot) = completion.slot() {
            self.counters.signalling_received += 1;
            if let Some(start) = self.sip_slots.start(slot) {
                // SAFETY: the kernel wrote the prefix at the start of this
                // slot, which is ours until it is given back below.
                let header = unsafe { ReceiveHeader::read(start) };
                let received = usize::try_from(completion.result).unwrap_or(0);
                let len = received.min(SIP_SLOT).saturating_sub(PREFIX);
                // SAFETY: as above; the datagram lies behind the prefix.
                let datagram =
                    unsafe { std::slice::from_raw_parts(start.add(PREFIX).as_ptr(), len) };
                match header.source {
                    _ if header.truncated => self.counters.signalling_truncated += 1,
                    Some(source) => core.signalling(now, listener, source, datagram),
                    None => {}
                }
            }
            self.sip_slots.give(slot);
            self.sip_slots.publish();
        }
        if completion.ended() {
            self.counters.rearms += 1;
            if completion.result == -libc::ENOBUFS {
                self.counters.slots_exhausted += 1;
            }
            self.report_sip_errors(listener, now, core);
            let usual = completion.result >= 0 || is_icmp(completion.result);
            if let Some(known) = listener_of(&mut self.listeners, listener) {
                let usual = usual || completion.result == -libc::ENOBUFS;
                known.failures = if usual {
                    0
                } else {
                    known.failures.saturating_add(1)
                };
                if known.failures == u8::MAX {
                    tracing::error!(errno = -completion.result, "giving a SIP socket up");
                    return;
                }
            }
            self.arm_listener(listener);
        }
    }

    fn report_sip_errors(&mut self, listener: ListenerId, now: Instant, core: &mut impl Core) {
        if let Some(known) = listener_of(&mut self.listeners, listener) {
            let fd = known.socket.as_raw_fd();
            self.counters.signalling_errors += Listeners::report_errors(fd, now, listener, core);
        }
    }

    fn submit_outgoing(&mut self, index: u32) {
        let Some(outgoing) = self.outgoing.get_mut(index) else {
            return;
        };
        outgoing.attempts += 1;
        let Some(known) = listener_of(&mut self.listeners, outgoing.listener) else {
            return;
        };
        let (bytes, len) = (outgoing.payload.as_ptr(), outgoing.payload.len() as u32);
        // Without MSG_DONTWAIT: where the socket is full, the kernel waits.
        let entry = opcode::Send::new(Fd(known.socket.as_raw_fd()), bytes, len)
            .flags(libc::MSG_NOSIGNAL)
            .dest_addr(outgoing.address.as_ptr())
            .dest_addr_len(outgoing.address.len())
            .build()
            .user_data(Token::new(Kind::SipSend, 0, index).encode());
        self.ring.push(entry);
    }

    /// The kernel is done with a SIP datagram.
    pub(super) fn sip_sent(&mut self, completion: Completion, now: Instant, core: &mut impl Core) {
        let index = completion.token.index;
        let failed = completion.result < 0;
        let Some(outgoing) = self.outgoing.get_mut(index) else {
            return;
        };
        let (listener, destination) = (outgoing.listener, outgoing.destination);
        if failed && outgoing.attempts < SEND_ATTEMPTS {
            // What waits in the error queue would keep the socket "ready".
            self.report_sip_errors(listener, now, core);
            self.submit_outgoing(index);
            return;
        }
        self.outgoing.remove(index);
        if let Some(known) = listener_of(&mut self.listeners, listener) {
            known.under_way = known.under_way.saturating_sub(1);
        }
        if failed {
            self.counters.signalling_errors += 1;
            core.signalling_error(now, listener, Some(destination));
        } else {
            self.counters.signalling_sent += 1;
        }
    }
}

fn listener_of(listeners: &mut [Option<Listener>], listener: ListenerId) -> Option<&mut Listener> {
    listeners.get_mut(usize::from(listener.0))?.as_mut()
}
