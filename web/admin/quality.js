// How a call sounds, estimated from what the packets did: the E-model of ITU-T
// G.107 with its default values, where loss, jitter and delay are known.

/** R without any of the impairments below (G.107, default values). */
const R_BEST = 93.2;
/** How well G.711 with loss concealment bears random loss (G.113 Appendix I). */
const LOSS_ROBUSTNESS = 25.1;
/** Speech in one packet, milliseconds. */
const PACKET_MS = 20;
/** A jitter buffer holds about this many times the jitter. */
const BUFFER_FACTOR = 2;

/** The same for every codec, which is fair to a comparison and not to a codec. */
export const EXPLANATION = 'Estimated in this page by the E-model (ITU-T G.107) from packet loss, jitter and delay since the call began, as for G.711 with loss concealment. 4.4 is the best a telephone reaches; above 4.0 is good, below 3.6 users complain.';

/**
 * Mean opinion score, 1 to 4.5. Loss is a share, times are milliseconds; an
 * unknown round trip counts as none.
 */
export function mos({ loss, jitter, roundTrip }) {
  const delay = (roundTrip ?? 0) / 2 + BUFFER_FACTOR * (jitter ?? 0) + PACKET_MS;
  // Id, as approximated by Cole and Rosenbluth.
  const delayImpairment = 0.024 * delay + (delay > 177.3 ? 0.11 * (delay - 177.3) : 0);
  // Ie,eff (G.107 equation 7-29) for Ie = 0 and random loss.
  const percent = Math.min(1, Math.max(0, loss)) * 100;
  const lossImpairment = (95 * percent) / (percent + LOSS_ROBUSTNESS);
  return fromR(R_BEST - delayImpairment - lossImpairment);
}

/** G.107 Annex B. */
function fromR(r) {
  if (r <= 0) return 1;
  if (r >= 100) return 4.5;
  return Math.max(1, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6);
}

export function rating(score) {
  if (score === null) return 'none';
  if (score >= 4) return 'good';
  return score >= 3.6 ? 'fair' : 'poor';
}

/**
 * Both ways of one leg: what came `from` the peer as we counted it, and what
 * went `to` it as it reports; either is null while nothing is known.
 */
export function ofLeg(media) {
  if (!media) return { from: null, to: null };
  const roundTrip = media.round_trip_ms ?? null;
  const way = (lost, arrived, jitter) => {
    const loss = Math.max(0, lost) / Math.max(1, arrived + Math.max(0, lost));
    return { loss, jitter, roundTrip, mos: mos({ loss, jitter, roundTrip }) };
  };
  const from = media.packets_received > 0 ? way(media.packets_lost ?? 0, media.packets_received, media.jitter_ms ?? 0) : null;
  const reported = media.remote_packets_lost ?? null;
  const sent = media.packets_sent ?? 0;
  const to = reported !== null && sent > 0 ? way(reported, Math.max(0, sent - reported), media.remote_jitter_ms ?? 0) : null;
  return { from, to };
}

/** The way that sounds worse, or null. */
export function worst(media) {
  const { from, to } = ofLeg(media);
  if (!from || !to) return from ?? to;
  return from.mos <= to.mos ? from : to;
}
