// How a call sounds: the gateway's score of each way of a leg, and what it was
// made of.

/** The same for every codec, which is fair to a comparison and not to a codec. */
export const EXPLANATION = 'Mean opinion score by the E-model (ITU-T G.107), from packet loss, jitter and delay: of the last seconds while a call lives, of the whole call in its record. 4.4 is the best a telephone reaches; above 4.0 is good, below 3.6 users complain.';

export function rating(score) {
  if (score === null) return 'none';
  if (score >= 4) return 'good';
  return score >= 3.6 ? 'fair' : 'poor';
}

/**
 * Both ways of one leg: what came `from` the peer as the gateway counted it,
 * and what went `to` it as it reports; either is null while nothing is known.
 */
export function ofLeg(media) {
  if (!media) return { from: null, to: null };
  const roundTrip = media.round_trip_ms ?? null;
  const way = (lost, arrived, jitter, mos) => {
    const loss = Math.max(0, lost) / Math.max(1, arrived + Math.max(0, lost));
    return { loss, jitter, roundTrip, mos };
  };
  const score = (now, average) => now ?? average ?? null;
  const from = media.packets_received > 0
    ? way(media.packets_lost ?? 0, media.packets_received, media.jitter_ms ?? 0, score(media.mos, media.mos_average)) : null;
  const reported = media.remote_packets_lost ?? null;
  const sent = media.packets_sent ?? 0;
  const to = reported !== null && sent > 0
    ? way(reported, Math.max(0, sent - reported), media.remote_jitter_ms ?? 0, score(media.remote_mos, media.remote_mos_average)) : null;
  return { from, to };
}

/** The way that sounds worse, or null where neither has a score. */
export function worst(media) {
  const { from, to } = ofLeg(media);
  const scored = [from, to].filter((way) => way !== null && way.mos !== null);
  return scored.sort((one, other) => one.mos - other.mos)[0] ?? null;
}
