// A call made with POST /call/outgoing.

import { Call } from './call.js';
import { sipReason } from './sip-codes.js';

const ORDER = ['connecting', 'calling', 'ringing', 'early', 'answered', 'ended'];

/**
 * States: `connecting` (to the gateway), `calling`, `ringing`, `early` (the
 * phone's own ringing tone or announcement is heard), `answered`, `ended`.
 */
export class SipOutgoingCall extends Call {
  #code = null;

  /** The latest SIP code, or null. */
  get code() {
    return this.#code;
  }

  opened() {
    this.enter('calling');
  }

  handle({ sip, err, ended, cancelled, terminated }) {
    if (sip) return this.#sip(sip);
    if (err) return this.emit('error', { message: err.message ?? '' });
    if (cancelled) return this.because({ kind: 'cancelled' });
    if (terminated) return this.because({ kind: 'hangup' });
    if (ended) this.finish();
  }

  #sip({ provisional, early, accepted, failure, bye }) {
    const { code } = provisional ?? early ?? accepted ?? failure ?? {};
    if (code) this.#code = code;
    if (provisional) {
      if (code === 180) this.#advance('ringing');
      this.emit('provisional', { code, reason: sipReason(code) });
    } else if (early) {
      this.#advance('early');
      this.emit('early', { code, reason: sipReason(code) });
    } else if (accepted) {
      this.#advance('answered');
      this.emit('accepted', { code });
    } else if (failure) {
      const reason = { kind: 'failed', code, text: sipReason(code) };
      this.because(reason);
      this.emit('failure', reason);
    } else if (bye) {
      this.because({ kind: 'bye' });
      this.emit('bye');
    }
  }

  /** After a reconnection the gateway tells everything again: only forward. */
  #advance(state) {
    if (ORDER.indexOf(state) > ORDER.indexOf(this.state)) this.enter(state);
  }
}
