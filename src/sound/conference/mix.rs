//! Who is heard by whom. Everybody hears the same sum, less himself; a voice
//! that is meant for some only, or a sound played to one only, makes a sum of
//! its own for those whom it concerns.

use super::{Conference, Peer};
use crate::ids::LegId;

/// A voice that is heard already counts as so much louder against a new one, in
/// dB, that two of the same loudness do not take turns within a word.
const HEARD_ADVANTAGE: u8 = 6;

/// What a listener hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hears {
    /// A sum that no other listener hears.
    Own,
    /// What everybody hears who says nothing.
    Common,
}

impl Conference {
    /// Chooses the voices of this tick, and adds up what is for all.
    pub(super) fn select(&mut self) {
        self.choose_voices();
        let samples = self.rate.frame_samples();
        self.common.clear();
        self.common.resize(samples, 0);
        let for_all = |peer: &&Peer| peer.selected && peer.voice.heard_by.is_none();
        for peer in self.peers.iter().filter(for_all) {
            add(&mut self.common, &peer.frame);
        }
        for played in self.players.iter().filter(|p| p.target.is_none()) {
            add(&mut self.common, &played.frame[..samples]);
        }
        let for_some = |peer: &Peer| peer.selected && peer.voice.heard_by.is_some();
        let any_for_some = self.peers.iter().any(for_some);
        for at in 0..self.peers.len() {
            let leg = self.peers[at].leg;
            let played_to = self.players.iter().any(|p| p.target == Some(leg));
            let peer = &mut self.peers[at];
            let plain = !peer.selected && !any_for_some && !played_to && !peer.voice.deafened;
            peer.hears = match plain && !peer.has_tones() {
                true => Hears::Common,
                false => Hears::Own,
            };
        }
    }

    /// The loudest, where there are more than are heard at once.
    fn choose_voices(&mut self) {
        let speaks = |peer: &Peer| !peer.voice.muted && peer.has_sound();
        let speaking = self.peers.iter().filter(|peer| speaks(peer)).count();
        if speaking <= self.settings.loudest {
            for peer in &mut self.peers {
                peer.selected = !peer.voice.muted && peer.has_sound();
            }
            return;
        }
        let mut scores: Vec<(u8, usize)> = Vec::with_capacity(speaking);
        for (at, peer) in self.peers.iter().enumerate() {
            if speaks(peer) {
                let advantage = if peer.selected { HEARD_ADVANTAGE } else { 0 };
                scores.push((peer.softness().saturating_sub(advantage), at));
            }
        }
        let heard = self.settings.loudest;
        if let Some(last) = heard.checked_sub(1) {
            // Loudest first; among equals the one who came first.
            scores.select_nth_unstable(last);
        }
        for peer in &mut self.peers {
            peer.selected = false;
        }
        for (_, at) in scores.iter().take(heard) {
            self.peers[*at].selected = true;
        }
    }

    /// Adds up what this listener hears into `sum`.
    pub(super) fn own_sum(&self, at: usize, sum: &mut Vec<i32>) {
        let samples = self.rate.frame_samples();
        sum.clear();
        let Some(listener) = self.peers.get(at) else {
            sum.resize(samples, 0);
            return;
        };
        if listener.voice.deafened {
            sum.resize(samples, 0);
        } else {
            sum.extend_from_slice(&self.common);
            if listener.selected && listener.voice.heard_by.is_none() {
                subtract(sum, &listener.frame);
            }
            let whispers = |peer: &&Peer| {
                let to_me = |list: &Vec<LegId>| list.contains(&listener.leg);
                peer.selected
                    && peer.leg != listener.leg
                    && peer.voice.heard_by.as_ref().is_some_and(to_me)
            };
            for peer in self.peers.iter().filter(whispers) {
                add(sum, &peer.frame);
            }
        }
        let to_me = |p: &&super::Played| p.target == Some(listener.leg);
        for played in self.players.iter().filter(to_me) {
            add(sum, &played.frame[..samples]);
        }
    }
}

pub(super) fn add(sum: &mut [i32], frame: &[i16]) {
    for (sum, sample) in sum.iter_mut().zip(frame) {
        *sum += i32::from(*sample);
    }
}

fn subtract(sum: &mut [i32], frame: &[i16]) {
    for (sum, sample) in sum.iter_mut().zip(frame) {
        *sum -= i32::from(*sample);
    }
}
