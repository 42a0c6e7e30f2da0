//! A leg that goes on in another shard's table: its peer sees the same stream,
//! of one SSRC and one run of sequence numbers, with the same keys.

use std::time::{Duration, Instant};

use super::leg::{Described, LegOptions, Receive, Send, receive_state, send_state};
use super::reports::Reports;
use super::security::LegSecurity;
use super::table::{Notice, Table};
use crate::ids::LegId;

/// What goes with a leg from table to table. Keys of a DTLS handshake do, the
/// handshake itself does not.
#[derive(Debug)]
pub struct CarriedLeg {
    send: Send,
    /// When its last packet went out.
    sent_at: Option<Instant>,
    bytes_received: u64,
    packets_received: u64,
    lost: u64,
    described: Option<Described>,
    reports: Reports,
    security: LegSecurity,
}

impl Table {
    /// Ends the leg here, to go on elsewhere. `None` when it is gone.
    pub fn take_out(&mut self, leg: LegId) -> Option<CarriedLeg> {
        let i = self.live(leg)?;
        let stats = self.stats(leg)?;
        let send = self.send.get(i)?.clone();
        let random = &mut self.random;
        let cold = self.cold.get_mut(i)?;
        let reports = std::mem::replace(&mut cold.reports, Reports::new(random));
        let carried = CarriedLeg {
            sent_at: stats.sent.last_packet,
            bytes_received: stats.received.bytes,
            packets_received: stats.received.packets,
            lost: stats.received.lost,
            described: cold.remote.take(),
            reports: reports.carried(),
            security: std::mem::take(self.security.get_mut(i)?),
            send,
        };
        self.close(leg);
        Some(carried)
    }

    /// Goes on with a leg of another table on these sockets. It is silent
    /// until its peer is described once more ([`Table::set_remote`]).
    pub fn put_in(&mut self, now: Instant, options: LegOptions, carried: CarriedLeg) -> LegId {
        let leg = self.open(now, options);
        let tick = self.tick(now);
        let Some(i) = self.live(leg) else {
            return leg;
        };
        let idle = carried
            .sent_at
            .map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        let mut send = carried.send;
        send.port = options.rtp;
        send.last_ms = tick.ms.wrapping_sub(idle.as_millis() as u32);
        // Whoever feeds it here is another source; the numbers go on.
        send.source_ssrc = !send.ssrc;
        for bit in [
            send_state::READY,
            send_state::OPEN,
            send_state::CONNECTED,
            send_state::HAS_SOURCE,
        ] {
            send.set(bit, false);
        }
        let secure = send.is(send_state::SECURE);
        let mut receive = Receive::new();
        receive.bytes = carried.bytes_received;
        receive.set(receive_state::SECURE, secure);
        let locked = carried
            .described
            .as_ref()
            .filter(|described| described.source.is_locked())
            .map(|described| described.source.destination());
        receive.set(receive_state::LOCKED, locked.is_some());
        self.send[i] = send;
        self.receive[i] = receive;
        self.security[i] = carried.security;
        let cold = &mut self.cold[i];
        cold.packets_before = carried.packets_received;
        cold.lost_before = carried.lost;
        cold.remote = carried.described;
        cold.reports = carried.reports;
        if let Some(address) = locked {
            // Where there is no room for it, the socket is sent to by address.
            self.notice(Notice::Locked {
                port: options.rtp,
                address,
            });
        }
        leg
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{CodecId, MediaPort};
    use crate::keying::{MasterKey, Security, Suite};
    use crate::media::packet::SLOT_SIZE;
    use crate::media::{Latch, OwnPayload, PayloadMapping, Remote, TableSettings};

    const RTP: MediaPort = MediaPort(4);

    fn options(rtp: MediaPort) -> LegOptions {
        LegOptions {
            rtp,
            rtcp: MediaPort(rtp.0 + 1),
            echo: false,
        }
    }

    fn remote(security: Security) -> Remote {
        let rtp = ([192, 0, 2, 7], 4000).into();
        Remote {
            rtp,
            rtcp: ([192, 0, 2, 7], 4001).into(),
            rtcp_mux: false,
            send: true,
            receive: true,
            held: false,
            latch: Latch::Strict,
            security,
            payloads: vec![PayloadMapping {
                codec: CodecId(0),
                receive: 0,
                send: Some(0),
                clock_rate: 8000,
            }],
        }
    }

    fn key(suite: Suite, fill: u8) -> MasterKey {
        MasterKey {
            suite,
            key: vec![fill; suite.key_len()],
            salt: vec![fill; suite.salt_len()],
        }
    }

    fn say(table: &mut Table, now: Instant, leg: LegId, timestamp: u32) -> Vec<u8> {
        let mut slot = [0u8; SLOT_SIZE];
        let own = OwnPayload {
            payload_type: 0,
            clock_rate: 8000,
            marker: false,
            timestamp,
            payload: &[0x55; 160],
        };
        let packet = table.write_own(now, leg, own, &mut slot).unwrap();
        slot[..packet.len].to_vec()
    }

    fn numbers(packet: &[u8]) -> (u16, u32, u32) {
        let word =
            |at: usize| u32::from_be_bytes(packet[at..at + 4].try_into().expect("four octets"));
        let sequence = u16::from_be_bytes([packet[2], packet[3]]);
        (sequence, word(4), word(8))
    }

    #[test]
    fn a_carried_leg_goes_on_with_its_stream_name_and_counters() {
        let now = Instant::now();
        let mut here = Table::new(TableSettings::default(), [1; 32]);
        let mut there = Table::new(TableSettings::default(), [2; 32]);
        // The other table's clock began at another time.
        there.open(now - Duration::from_secs(77), options(MediaPort(0)));
        let leg = here.open(now, options(MediaPort(0)));
        here.set_remote(now, leg, remote(Security::Plain));
        let last = numbers(&say(&mut here, now, leg, 1_000));
        let name = here.source(leg).unwrap();

        let carried = here.take_out(leg).unwrap();
        assert!(here.stats(leg).is_none());
        let later = now + Duration::from_millis(40);
        let leg = there.put_in(later, options(RTP), carried);
        there.set_remote(later, leg, remote(Security::Plain));
        assert_eq!(there.source(leg).unwrap(), name);
        let next = numbers(&say(&mut there, later, leg, 5));
        assert_eq!(next.0, last.0.wrapping_add(1));
        assert_eq!(next.1, last.1.wrapping_add(40 * 8));
        assert_eq!(next.2, last.2);
        assert_eq!(there.stats(leg).unwrap().sent.packets, 2);
    }

    #[test]
    fn a_carried_leg_never_uses_a_keystream_twice() {
        let now = Instant::now();
        let suite = Suite::Aes128CmSha1_80;
        let security = Security::Sdes {
            send: key(suite, 1),
            receive: key(suite, 2),
        };
        let mut here = Table::new(TableSettings::default(), [1; 32]);
        let mut there = Table::new(TableSettings::default(), [2; 32]);
        let leg = here.open(now, options(MediaPort(0)));
        here.set_remote(now, leg, remote(security.clone()));
        let first = say(&mut here, now, leg, 0);
        let carried = here.take_out(leg).unwrap();
        let leg = there.put_in(now, options(RTP), carried);
        there.set_remote(now, leg, remote(security));
        assert_eq!(there.suite(leg), Some(suite));
        let second = say(&mut there, now, leg, 160);
        assert_eq!(numbers(&second).0, numbers(&first).0.wrapping_add(1));
        assert_ne!(second[12..], first[12..]);
        assert_eq!(second.len(), 12 + 160 + 10);
    }
}
