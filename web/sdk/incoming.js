// Calls that come in, and the handler that waits for them.

import { Call } from './call.js';
import { Emitter } from './emitter.js';
import { below, gatewayUrl } from './http.js';
import { LiveSocket } from './socket.js';

/**
 * States: `connecting`, `waiting` (somebody calls), `ringing` (he hears it
 * ring), `accepting`, `answered`, `ended`.
 */
export class SipIncomingCall extends Call {
  #from;
  #to;
  #accepting = false;

  constructor(callWs, { from = '', to = '', ...options } = {}) {
    super(callWs, options);
    this.#from = from;
    this.#to = to;
  }

  /** Who calls. */
  get from() {
    return this.#from;
  }

  /** Which number was called. */
  get to() {
    return this.#to;
  }

  /** Lets the caller hear ringing. */
  async ring() {
    await this.ask({ ring: {} });
    if (this.state === 'waiting') this.enter('ringing');
  }

  /** Answers; the caller becomes `peer` of `room`. */
  async accept({ room, peer, record = false }) {
    const before = this.state;
    this.#accepting = true;
    this.enter('accepting');
    try {
      await this.ask({ accept: { room, peer, record } });
    } catch (error) {
      this.#accepting = false;
      if (this.state === 'accepting') this.enter(before);
      throw error;
    }
  }

  /** Refuses; the caller hears busy. */
  async reject() {
    if (this.state === 'ended') return;
    this.because({ kind: 'rejected' });
    await this.ask({ end: {} });
  }

  opened() {
    this.enter('waiting');
  }

  handle({ sip, err, accepted, ended, rejected }) {
    if (err) return this.emit('error', { message: err.message ?? '' });
    if (accepted) return this.#accepted();
    if (rejected) return this.because({ kind: 'rejected' });
    if (sip?.cancelled) return this.because({ kind: 'cancelled' });
    if (sip?.bye) return this.because({ kind: 'bye' });
    if (ended) this.finish();
  }

  #accepted() {
    if (this.#accepting || this.state === 'answered' || this.resumed) {
      this.enter('answered');
      this.emit('accepted');
    } else {
      // Another window or colleague was faster.
      this.because({ kind: 'taken' });
      this.finish();
    }
  }

  /** A page that was reloaded during a call it had accepted says so by this. */
  static resume(callWs, options) {
    const call = new SipIncomingCall(callWs, options);
    call.resumed = true;
    return call;
  }
}

/**
 * Waits for calls: `incoming` brings a SipIncomingCall. States: `connecting`,
 * `waiting`, `reconnecting`, `closed`. Comes back by itself until closed, or
 * until the gateway refuses it (an expired token, for example): then `closed`
 * brings the error.
 */
export class SipIncomingHandler extends Emitter {
  #socket;
  #gateway;
  #state = 'connecting';
  #calls = new Map();

  constructor(notifyWs, { gateway } = {}) {
    super();
    this.#gateway = gatewayUrl(gateway);
    this.#socket = new LiveSocket(
      below(this.#gateway, notifyWs),
      {
        up: () => this.#enter('waiting'),
        down: () => this.#enter('reconnecting'),
        message: (notify) => this.#message(notify),
        ended: (error) => this.#closed(error),
      },
      Infinity,
    );
  }

  get state() {
    return this.#state;
  }

  /** The calls that were announced and are not over. */
  get calls() {
    return [...this.#calls.values()];
  }

  /** Waits no longer. Calls already announced go on. */
  close() {
    this.#socket.close();
    this.#closed(null);
  }

  #message({ arrived }) {
    // The other messages say the same as each call's own events.
    if (!arrived || this.#calls.has(arrived.call_ws)) return;
    const call = new SipIncomingCall(arrived.call_ws, {
      gateway: this.#gateway,
      from: arrived.call_from,
      to: arrived.call_to,
    });
    this.#calls.set(arrived.call_ws, call);
    call.token = arrived.call_token;
    call.ws = arrived.call_ws;
    call.ended.then(() => this.#calls.delete(arrived.call_ws));
    this.emit('incoming', call);
  }

  #enter(state) {
    if (this.#state === state || this.#state === 'closed') return;
    this.#state = state;
    this.emit('state', state);
  }

  #closed(error) {
    if (this.#state === 'closed') return;
    this.#enter('closed');
    this.emit('closed', error);
  }
}
