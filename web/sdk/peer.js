// One WebRTC peer of the gateway: offer and answer over HTTP, and its events.

import { Emitter } from './emitter.js';
import { ConnectionError, StateError } from './errors.js';
import { below, request } from './http.js';

const SDP = 'application/sdp';
/** When the browser gave up on the events (milliseconds). */
const EVENTS_RETRY_MS = 5000;

export class Peer extends Emitter {
  #options;
  #connection;
  #sender = null;
  #location = null;
  /** Names the ICE session at the gateway (RFC 9725 section 4.3.1). */
  #etag = null;
  #token = null;
  #events = null;
  #eventsTimer = null;
  #turn = Promise.resolve();
  #dropped = false;

  /** `options` as for Room.join; `microphone` is a MediaStream or nothing. */
  constructor(options) {
    super();
    this.#options = options;
    this.stream = null;
    // No ICE servers: the gateway has public addresses and only answers checks.
    this.#connection = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
    this.#connection.onconnectionstatechange = () => this.emit('connection', this.#connection.connectionState);
    this.#connection.ontrack = ({ track, streams }) => {
      this.stream = streams[0] ?? new MediaStream([track]);
      this.emit('track', this.stream);
    };
  }

  get connection() {
    return this.#connection;
  }

  get sender() {
    return this.#sender;
  }

  /** The gateway knows this peer. */
  get isOpen() {
    return this.#location !== null && !this.#dropped;
  }

  get isConnected() {
    return !this.#dropped && this.#connection.connectionState === 'connected';
  }

  /** Makes the peer with a first offer. */
  async open() {
    const { gateway, room, peer, microphone } = this.#options;
    const track = microphone?.getAudioTracks()[0];
    const transceiver = this.#connection.addTransceiver(track ?? 'audio', {
      direction: track ? 'sendrecv' : 'recvonly',
      streams: microphone ? [microphone] : [],
    });
    this.#sender = track ? transceiver.sender : null;
    this.#token = await tokenOf(this.#options.token);
    const url = below(gateway, `rooms/${encodeURIComponent(room)}/peers/${encodeURIComponent(peer)}`);
    await this.#exclusively(async () => {
      await this.#connection.setLocalDescription();
      const response = await request('POST', url, {
        token: this.#token,
        type: SDP,
        body: this.#connection.localDescription.sdp,
        signal: this.#options.signal,
      });
      this.#location = below(gateway, response.headers.get('Location') ?? '');
      this.#etag = response.headers.get('ETag');
      const sdp = await response.text();
      if (this.#dropped) {
        this.remove();
        throw new StateError('ABORTED', 'given up');
      }
      await this.#connection.setRemoteDescription({ type: 'answer', sdp });
    });
    this.#listen();
  }

  /** Resolves when media can flow. */
  connected(patience) {
    return new Promise((resolve, reject) => {
      const done = (settle, value) => {
        clearTimeout(timer);
        off();
        settle(value);
      };
      const fail = (code, message) => done(reject, new ConnectionError(code, message));
      const look = (state) => {
        if (state === 'connected') done(resolve);
        else if (state === 'failed') fail('NO_MEDIA', 'no way for audio between here and the gateway');
        else if (state === 'closed') done(reject, new StateError('ABORTED', 'given up'));
      };
      const off = this.on('connection', look);
      const timer = setTimeout(() => fail('NO_MEDIA', 'no audio connection in time'), patience);
      look(this.#connection.connectionState);
    });
  }

  /** New ICE credentials and a new way between the same two ends. */
  async restart(patience) {
    await this.#exclusively(() => this.#renegotiate({ iceRestart: true }));
    await this.#checked(patience);
    await this.connected(patience);
  }

  /** The gateway no longer knows this peer: nothing to delete there. */
  forget() {
    this.#location = null;
  }

  /** Tells the gateway that this peer leaves. */
  async remove({ keepalive = false } = {}) {
    const location = this.#location;
    this.#location = null;
    if (!location) return;
    try {
      await request('DELETE', location, { token: this.#token, keepalive });
    } catch {
      // Gone already, or unreachable: the gateway then notices by itself.
    }
  }

  /** Ends this side, and with `remove` the gateway's too. */
  drop({ remove = false } = {}) {
    if (this.#dropped) return;
    this.#dropped = true;
    clearTimeout(this.#eventsTimer);
    this.#events?.close();
    this.#connection.close();
    this.emit('connection', 'closed');
    if (remove) this.remove();
  }

  /** One offer at a time. */
  #exclusively(work) {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #renegotiate({ iceRestart = false } = {}) {
    if (!this.isOpen) throw new StateError('CLOSED', 'the gateway does not know this peer');
    await this.#connection.setLocalDescription(await this.#connection.createOffer({ iceRestart }));
    try {
      const response = await request('PATCH', this.#location, {
        token: this.#token,
        type: SDP,
        body: this.#connection.localDescription.sdp,
        // A restart is of whatever session there is (RFC 9725 section 4.3.3).
        ifMatch: iceRestart ? '*' : this.#etag,
      });
      this.#etag = response.headers.get('ETag') ?? this.#etag;
      await this.#connection.setRemoteDescription({ type: 'answer', sdp: await response.text() });
    } catch (error) {
      if (!this.#dropped) await this.#connection.setLocalDescription({ type: 'rollback' });
      // The answer to a restart was lost on its way here: restart from there.
      if (error.status === 412 && !iceRestart) return this.#renegotiate({ iceRestart: true });
      throw error;
    }
  }

  /** After a restart `connected` may still be the old pair's: wait for ICE. */
  #checked(patience) {
    const { iceConnectionState } = this.#connection;
    if (iceConnectionState !== 'disconnected') return Promise.resolve();
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, patience);
      this.#connection.addEventListener('iceconnectionstatechange', () => {
        clearTimeout(timer);
        resolve();
      }, { once: true });
    });
  }

  #listen() {
    if (!this.isOpen) return;
    const url = new URL(`${this.#location.href.replace(/\/$/, '')}/events`);
    url.searchParams.set('token', this.#token);
    const events = new EventSource(url);
    this.#events = events;
    events.addEventListener('renegotiate', () => {
      this.#exclusively(() => this.#renegotiate()).catch((error) => this.emit('refused', error));
    });
    events.addEventListener('left', ({ data }) => {
      events.close();
      this.#location = null;
      this.emit('left', reasonIn(data));
    });
    events.onerror = () => {
      if (events.readyState !== EventSource.CLOSED || this.#dropped) return;
      this.#eventsTimer = setTimeout(() => this.#listen(), EVENTS_RETRY_MS);
    };
  }
}

function reasonIn(data) {
  try {
    return JSON.parse(data).reason;
  } catch {
    return 'deleted';
  }
}

async function tokenOf(token) {
  return typeof token === 'function' ? token() : token;
}
