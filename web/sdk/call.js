// What outgoing and incoming calls share: the WebSocket, requests, the end.

import { Emitter } from './emitter.js';
import { ConnectionError, GatewayError, StateError } from './errors.js';
import { below, gatewayUrl, requestJson } from './http.js';
import { playBody } from './play.js';
import { LiveSocket } from './socket.js';

/** The gateway ends a call whose last WebSocket stays away for this long. */
const GRACE_MS = 10_000;

export class Call extends Emitter {
  #base;
  #url;
  #socket;
  #waiting = new Map();
  #unsent = [];
  #nextId = 1;
  #state = 'connecting';
  #reason = null;
  #ended;
  #resolveEnded;

  constructor(callWs, { gateway } = {}) {
    super();
    this.#ended = new Promise((resolve) => (this.#resolveEnded = resolve));
    this.#base = gatewayUrl(gateway);
    this.#url = below(this.#base, callWs);
    this.#socket = new LiveSocket(
      this.#url,
      {
        up: () => this.#flush(),
        down: () => this.#offline(),
        message: (data) => this.#message(data),
        ended: (error) => this.#closed(error),
      },
      GRACE_MS,
    );
  }

  /** Where the call is. */
  get state() {
    return this.#state;
  }

  /** Why it ended: an object with `kind`, and `code` for a SIP failure; null before. */
  get reason() {
    return this.#reason;
  }

  /** Resolves with the reason when the call is over. Never rejects. */
  get ended() {
    return this.#ended;
  }

  /** Hangs up, cancels or refuses, whichever fits. Resolves when it is on its way. */
  async end() {
    if (this.#state === 'ended') return;
    this.because({ kind: 'hangup' });
    await this.ask({ end: {} });
  }

  /** Sends keys to the other side: 0-9, *, #, A-D; `w` waits half a second. */
  async sendDtmf(digits, { duration, pause } = {}) {
    await this.#rest('POST', 'dtmf', { digits, duration_ms: duration, pause_ms: pause });
  }

  /** Plays a sound to the other side; resolves to the play's id. `played` tells its end. */
  async play(what) {
    return (await this.#rest('POST', 'play', playBody(what))).play_id;
  }

  /** Stops what is played. */
  async stopPlay(playId) {
    await this.#rest('DELETE', `play/${encodeURIComponent(playId)}`);
  }

  /** `start`, `pause`, `resume` or `stop`; resolves to the recording's id. */
  async record(action) {
    return (await this.#rest('POST', 'recording', { action })).recording_id;
  }

  /** No more events and no more connection; the call itself goes on for a while. */
  detach() {
    this.#socket.close();
    this.#refuseAll(new StateError('CLOSED', 'detached from the call'));
  }

  // For the two kinds of call.

  enter(state) {
    if (this.#state === state || this.#state === 'ended') return;
    this.#state = state;
    this.emit('state', state);
  }

  /** The first reason counts; what follows is only its consequence. */
  because(reason) {
    this.#reason ??= reason;
  }

  finish() {
    if (this.#state === 'ended') return;
    this.because({ kind: 'ended' });
    this.#socket.close();
    this.enter('ended');
    this.emit('ended', this.#reason);
    this.#resolveEnded(this.#reason);
    this.#refuseAll(new StateError('CLOSED', 'the call is over'));
  }

  ask(action) {
    if (this.#state === 'ended') return Promise.reject(new StateError('CLOSED', 'the call is over'));
    const req_id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(req_id, { resolve, reject });
      this.#unsent.push({ request: { req_id, ...action } });
      this.#flush();
    });
  }

  #flush() {
    while (this.#unsent.length > 0 && this.#socket?.send(this.#unsent[0])) this.#unsent.shift();
    if (this.#state === 'connecting' && this.#socket) this.opened();
  }

  /** Answers to what was asked may be lost: whoever asked decides anew. */
  #offline() {
    this.#unsent.length = 0;
    this.#refuseAll(new ConnectionError('CONNECTION_LOST', 'the gateway cannot be reached just now'));
    this.emit('offline');
  }

  /** What the call's own token may do. */
  #rest(method, path, body) {
    const id = this.#url.pathname.split('/').at(-1);
    return requestJson(method, new URL(`call/${id}/${path}`, this.#base), { token: this.#url.searchParams.get('token'), body });
  }

  #message({ event, response }) {
    if (event?.dtmf) return this.emit('dtmf', { digit: event.dtmf.digit, durationMs: event.dtmf.duration_ms ?? 0 });
    if (event?.play_finished) {
      return this.emit('played', { playId: event.play_finished.play_id, reason: event.play_finished.reason });
    }
    const [recording, told] = recorded(event ?? {});
    if (recording) return this.emit('recording', { state: recording, recordingId: told.recording_id, reason: told.reason ?? null });
    if (event) return this.handle(event);
    const waiting = this.#waiting.get(response?.req_id);
    if (!waiting) return;
    this.#waiting.delete(response.req_id);
    if (response.error) waiting.reject(new GatewayError('WRONG_STATE', response.error.message ?? '', 409));
    else waiting.resolve();
  }

  #closed(error) {
    if (error instanceof ConnectionError) this.because({ kind: 'lost', error });
    else if (error) this.because({ kind: error.status === 404 ? 'gone' : 'error', error });
    this.finish();
  }

  #refuseAll(error) {
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}

/** What an event says of a recording: its state, and the message. */
function recorded({ recording_started, recording_ready, recording_failed }) {
  if (recording_started) return ['started', recording_started];
  if (recording_ready) return ['ready', recording_ready];
  if (recording_failed) return ['failed', recording_failed];
  return [null, null];
}
