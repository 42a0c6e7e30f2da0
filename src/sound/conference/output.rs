//! From sums to payloads: an encoder for each listener who hears something of
//! his own, and one for all who hear the same by the same codec.

use super::mix::Hears;
use super::{Conference, Outlet};
use crate::sound::codec::{AudioCodec, Encoder};
use crate::sound::format::{FRAME_MS, MAX_FRAME_SAMPLES};
use crate::sound::limiter::Limiter;

/// Longest payload of 20 ms: Opus at its highest rate, with room to spare.
pub(super) const MAX_PAYLOAD: usize = 1276;

/// Ticks after which an encoder that nobody listens to is given up: 10 s.
const IDLE_TICKS: u64 = 500;

/// Listeners who are sent to in one step: what that takes is about what coding
/// a frame does.
const SENT_AT_ONCE: usize = 16;

/// The encoder of everybody who hears the common sum by one codec.
pub(super) struct SharedEncoder {
    codec: AudioCodec,
    encoder: Encoder,
    limiter: Limiter,
    wanted: u64,
    expected_loss: Option<u8>,
    payload: Vec<u8>,
    /// Who is to be looked at next for sending; `None` until it is coded.
    sending: Option<usize>,
}

impl SharedEncoder {
    /// The peer at this place has left.
    pub(super) fn forget(&mut self, at: usize) {
        if let Some(next) = &mut self.sending
            && *next > at
        {
            *next -= 1;
        }
    }
}

/// RTP clock units of a tick.
pub(super) fn tick_units(clock_rate: u32) -> u32 {
    clock_rate / 1000 * FRAME_MS
}

impl Conference {
    /// Codes what one listener hears, unless many hear it.
    pub(super) fn encode_own(&mut self, at: usize, outlet: &mut impl Outlet) {
        let Some(peer) = self.peers.get(at) else {
            return;
        };
        let Some(codec) = peer.sends_with() else {
            return;
        };
        if peer.hears == Hears::Common && !peer.is_sending_keys() {
            self.want_shared(codec);
            return;
        }
        let mut sum = std::mem::take(&mut self.peers[at].sum);
        self.own_sum(at, &mut sum);
        let (tick, rate) = (self.tick, self.rate);
        let peer = &mut self.peers[at];
        peer.sum = sum;
        peer.encode(tick, rate, codec, outlet);
    }

    /// Codes the common sum once, for all who hear it by this codec, and sends
    /// it: one step codes, each of the next sends to some. True when there is
    /// nothing left to do at this place.
    pub(super) fn encode_shared(&mut self, at: usize, outlet: &mut impl Outlet) -> bool {
        let tick = self.tick;
        let Some(shared) = self.shared.get_mut(at) else {
            return true;
        };
        if shared.wanted != tick {
            let idle = tick.saturating_sub(shared.wanted) > IDLE_TICKS;
            if idle {
                // Another moves into its place.
                self.shared.swap_remove(at);
            }
            return !idle;
        }
        let codec = shared.codec;
        let Some(first) = shared.sending else {
            // The listener who loses most decides: the others lose little by it.
            let listeners = self.peers.iter();
            let listeners = listeners.filter(|peer| peer.sends_with() == Some(codec));
            let loss = listeners.filter_map(|peer| peer.expected_loss).max();
            if let Some(percent) = loss
                && shared.expected_loss != loss
            {
                shared.expected_loss = loss;
                shared.encoder.set_expected_loss(percent);
            }
            let samples = self.rate.frame_samples();
            let mut frame = [0i16; MAX_FRAME_SAMPLES];
            shared.limiter.frame(&self.common, &mut frame[..samples]);
            shared.payload.resize(MAX_PAYLOAD, 0);
            let coded = shared
                .encoder
                .encode(&frame[..samples], &mut shared.payload);
            shared.payload.truncate(coded.unwrap_or(0));
            shared.sending = Some(0);
            return false;
        };
        let mut next = first;
        let mut sent = 0;
        while let Some(peer) = self.peers.get_mut(next).filter(|_| sent < SENT_AT_ONCE) {
            let listens = peer.hears == Hears::Common && peer.sends_with() == Some(codec);
            if listens && !peer.is_sending_keys() {
                peer.send(tick, &shared.payload, outlet);
                sent += 1;
            }
            next += 1;
        }
        let done = next >= self.peers.len();
        shared.sending = (!done).then_some(next);
        done
    }

    fn want_shared(&mut self, codec: AudioCodec) {
        let tick = self.tick;
        if let Some(shared) = self.shared.iter_mut().find(|s| s.codec == codec) {
            shared.wanted = tick;
            return;
        }
        if let Ok(encoder) = Encoder::new(codec, self.rate) {
            self.shared.push(SharedEncoder {
                codec,
                encoder,
                limiter: Limiter::default(),
                wanted: tick,
                payload: Vec::new(),
                sending: None,
                expected_loss: None,
            });
        }
    }
}
