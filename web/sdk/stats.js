// Quality out of what RTCPeerConnection.getStats tells.

/** Reads reports one after the other: loss is that since the one before. */
export class StatsReader {
  #before = null;

  reset() {
    this.#before = null;
  }

  /** `{ lossPercent, remoteLossPercent, jitterMs, roundTripMs, codec, …, rating }`. */
  read(report) {
    const all = [...report.values()];
    const inbound = all.find((entry) => entry.type === 'inbound-rtp' && entry.kind === 'audio');
    const remote = all.find((entry) => entry.type === 'remote-inbound-rtp' && entry.kind === 'audio');
    const outbound = all.find((entry) => entry.type === 'outbound-rtp' && entry.kind === 'audio');
    const transport = all.find((entry) => entry.type === 'transport');
    const pair = report.get(transport?.selectedCandidatePairId);
    const codec = report.get(inbound?.codecId ?? outbound?.codecId)?.mimeType;
    // Before the loss is counted, which moves on to this report.
    const arrived = this.#arrivedSince(inbound);
    const quality = {
      lossPercent: this.#lossSince(inbound),
      remoteLossPercent: remote?.fractionLost === undefined ? null : remote.fractionLost * 100,
      jitterMs: inbound?.jitter === undefined ? null : inbound.jitter * 1000,
      roundTripMs: milliseconds(remote?.roundTripTime ?? pair?.currentRoundTripTime),
      codec: codec ? codec.replace(/^audio\//i, '') : null,
      cipher: transport?.srtpCipher ?? null,
      packetsReceived: inbound?.packetsReceived ?? 0,
      packetsSent: outbound?.packetsSent ?? 0,
    };
    return { ...quality, rating: arrived === 0 ? 'silent' : rate(quality) };
  }

  #arrivedSince(inbound) {
    return (inbound?.packetsReceived ?? 0) - (this.#before?.received ?? 0);
  }

  #lossSince(inbound) {
    if (!inbound) return null;
    const now = { lost: inbound.packetsLost ?? 0, received: inbound.packetsReceived ?? 0 };
    const before = this.#before ?? { lost: 0, received: 0 };
    this.#before = now;
    const lost = Math.max(0, now.lost - before.lost);
    const all = lost + Math.max(0, now.received - before.received);
    return all === 0 ? 0 : (lost / all) * 100;
  }
}

function milliseconds(seconds) {
  return seconds === undefined ? null : seconds * 1000;
}

/**
 * `good`, `fair` or `poor`, by where a listener begins to notice: loss (ITU-T
 * G.113: 1 % with concealment is heard by few, 5 % by all), and delay (G.114:
 * 150 ms one way is fine for most talk, 400 ms is not).
 */
export function rate({ lossPercent, remoteLossPercent, jitterMs, roundTripMs }) {
  const loss = Math.max(lossPercent ?? 0, remoteLossPercent ?? 0);
  if (loss > 5 || (jitterMs ?? 0) > 60 || (roundTripMs ?? 0) > 800) return 'poor';
  if (loss > 1 || (jitterMs ?? 0) > 30 || (roundTripMs ?? 0) > 300) return 'fair';
  return 'good';
}
