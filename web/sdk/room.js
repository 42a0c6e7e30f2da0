// A room of the gateway: this browser's microphone in, the others' voice out.

import { Emitter } from './emitter.js';
import { ConnectionError, RingwireError, StateError, microphoneError } from './errors.js';
import { gatewayUrl, sleep } from './http.js';
import { Meter } from './meter.js';
import { Peer } from './peer.js';
import { StatsReader } from './stats.js';

/** Without media for this long (milliseconds) a connection is being restored. */
const PATIENCE_MS = 3000;
/** A connection comes about within this (milliseconds), or it does not. */
const CONNECT_MS = 10_000;
const FIRST_DELAY_MS = 300;
const LONGEST_DELAY_MS = 4000;
const QUALITY_MS = 1000;
const LEVELS_MS = 100;
const VOICE = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
/** Trying again would get the same answer. */
const FINAL = new Set([400, 401, 403, 404, 406, 409, 415, 422]);

/**
 * States: `connecting`, `connected`, `reconnecting`, `closed`.
 * Events: `state`, `levels`, `quality`, `muted`, `playback`, `closed`.
 */
export class Room extends Emitter {
  #options;
  #microphone;
  #ownsMicrophone = false;
  #peer = null;
  #state = 'connecting';
  #muted = false;
  #audio = null;
  #local = null;
  #remote = null;
  #stats = new StatsReader();
  #quality = null;
  #timers = [];
  #lostTimer = null;
  #recovering = false;
  #reason = null;
  #blocked = false;

  /** Use `Room.join`. */
  constructor(options) {
    super();
    this.#options = { microphone: true, reconnectFor: 30_000, ...options };
    this.#options.gateway = gatewayUrl(options.gateway);
  }

  /** Resolves to a connected room; throws what kept it from being one. */
  static async join(options) {
    const room = new Room(options);
    options.onRoom?.(room);
    const abort = () => room.#close({ kind: 'left' });
    options.signal?.addEventListener('abort', abort, { once: true });
    try {
      options.signal?.throwIfAborted();
      await room.#openMicrophone();
      await room.#enterRoom(CONNECT_MS);
      if (room.#state === 'closed') throw new StateError('ABORTED', 'left while joining');
    } catch (error) {
      room.#close({ kind: 'error', error });
      if (options.signal?.aborted) throw new StateError('ABORTED', 'given up', { cause: error });
      throw error;
    } finally {
      options.signal?.removeEventListener('abort', abort);
    }
    room.#startTimers();
    room.#enter('connected');
    return room;
  }

  /** Where the connection is. */
  get state() {
    return this.#state;
  }

  /** Why it was closed: an object with `kind` and, if there was one, `error`. */
  get reason() {
    return this.#reason;
  }

  /** Whether the others hear nothing of this microphone. */
  get muted() {
    return this.#muted;
  }

  /** The latest quality, or null. */
  get quality() {
    return this.#quality;
  }

  /** What is heard, as a MediaStream, or null. */
  get remoteStream() {
    return this.#peer?.stream ?? null;
  }

  /** What is said, as a MediaStream, or null. */
  get localStream() {
    return this.#microphone ?? null;
  }

  /** Loudness now, each from 0 to 1. */
  get levels() {
    return { input: this.#muted ? 0 : (this.#local?.level() ?? 0), output: this.#remote?.level() ?? 0 };
  }

  /** The browser does not allow sound before a click: see `resumePlayback`. */
  get playbackBlocked() {
    return this.#blocked;
  }

  /** The RTCPeerConnection of this moment, or null; for diagnosis. */
  get connection() {
    return this.#peer?.connection ?? null;
  }

  mute(muted = true) {
    this.#muted = muted;
    for (const track of this.#microphone?.getAudioTracks() ?? []) track.enabled = !muted;
    this.emit('muted', muted);
  }

  unmute() {
    this.mute(false);
  }

  /** Sends key tones as telephone-events: digits 0-9, *, #, A-D; a comma waits. */
  sendDtmf(digits, { duration = 120, gap = 70 } = {}) {
    const dtmf = this.#peer?.sender?.dtmf;
    if (!dtmf?.canInsertDTMF) throw new StateError('NO_DTMF', 'the other side takes no telephone-events');
    dtmf.insertDTMF(dtmf.toneBuffer + digits, duration, gap);
  }

  /** After `playback` said false: call this from a click, so that the browser allows sound. */
  async resumePlayback() {
    await Promise.all([this.#audio?.play(), Meter.resume()]);
    this.#blocked = false;
    this.emit('playback', true);
  }

  /** Restores the connection now, for example after the network has changed. */
  reconnect() {
    return this.#recover();
  }

  /** Leaves the room and lets the microphone go. */
  async leave() {
    const peer = this.#peer;
    this.#close({ kind: 'left' });
    await peer?.remove();
  }

  async #openMicrophone() {
    const wanted = this.#options.microphone;
    if (wanted === false) return;
    if (wanted instanceof MediaStream) {
      this.#microphone = wanted;
    } else {
      this.#microphone = await openMicrophone(wanted === true ? VOICE : wanted);
      this.#ownsMicrophone = true;
    }
    this.#local = new Meter(this.#microphone);
  }

  /** A fresh connection to the room, in place of one there may be. */
  async #enterRoom(patience) {
    this.#peer?.drop();
    const peer = new Peer({ ...this.#options, microphone: this.#microphone });
    this.#peer = peer;
    const ours = (listener) => (detail) => peer === this.#peer && this.#state !== 'closed' && listener(detail);
    peer.on('track', ours((stream) => this.#play(stream)));
    peer.on('connection', ours((state) => this.#watch(state)));
    peer.on('left', ours((reason) => this.#left(reason)));
    await peer.open();
    if (this.#state === 'closed') {
      peer.remove();
      throw new StateError('ABORTED', 'left while joining');
    }
    this.#stats.reset();
    await peer.connected(patience);
  }

  #play(stream) {
    this.#audio ??= this.#options.audioElement ?? new Audio();
    this.#audio.srcObject = stream;
    this.#remote?.close();
    this.#remote = new Meter(stream);
    this.#audio.play().catch((error) => {
      if (error.name !== 'NotAllowedError') return;
      this.#blocked = true;
      this.emit('playback', false);
    });
  }

  #watch(state) {
    clearTimeout(this.#lostTimer);
    if (this.#recovering || this.#state === 'connecting') return;
    if (state === 'failed') this.#recover();
    if (state === 'disconnected') {
      this.#lostTimer = setTimeout(() => this.#recover(), PATIENCE_MS);
    }
  }

  #left(reason) {
    switch (reason) {
      case 'consent_lost':
        this.#peer.forget();
        return this.#recover();
      case 'security_failed':
        return this.#close({
          kind: 'error',
          error: new ConnectionError('SECURITY_FAILED', 'the encrypted connection could not be verified'),
        });
      default:
        return this.#close({ kind: reason || 'deleted' });
    }
  }

  /** Over the connection there is if the gateway still knows it, else afresh. */
  async #recover() {
    if (this.#recovering || this.#state === 'closed' || this.#state === 'connecting') return;
    this.#recovering = true;
    this.#enter('reconnecting');
    const deadline = Date.now() + this.#options.reconnectFor;
    let failure = null;
    for (let attempt = 0; Date.now() < deadline && this.#state !== 'closed'; attempt += 1) {
      try {
        if (attempt === 0 && this.#peer.isOpen) await this.#peer.restart(PATIENCE_MS * 2);
        else await this.#enterRoom(CONNECT_MS);
        break;
      } catch (error) {
        failure = error;
        // A restart that is refused is followed by a fresh connection.
        if (attempt > 0 && FINAL.has(error.status)) break;
        await sleep(Math.min(FIRST_DELAY_MS * 2 ** attempt, LONGEST_DELAY_MS));
      }
    }
    this.#recovering = false;
    if (this.#state === 'closed') return;
    if (this.#peer.isConnected) return this.#enter('connected');
    const error = FINAL.has(failure?.status)
      ? failure
      : new ConnectionError('CONNECTION_LOST', 'the connection was lost', { cause: failure });
    this.#close({ kind: 'error', error });
  }

  #startTimers() {
    this.#timers.push(setInterval(() => this.emit('levels', this.levels), LEVELS_MS));
    this.#timers.push(setInterval(() => this.#measure(), QUALITY_MS));
    const away = () => this.#peer?.remove({ keepalive: true });
    addEventListener('pagehide', away);
    const online = () => this.#peer?.isConnected || this.#recover();
    addEventListener('online', online);
    this.once('closed', () => {
      removeEventListener('pagehide', away);
      removeEventListener('online', online);
    });
  }

  async #measure() {
    const connection = this.#peer?.connection;
    if (!connection || this.#state !== 'connected') return;
    this.#quality = this.#stats.read(await connection.getStats());
    this.emit('quality', this.#quality);
  }

  #enter(state) {
    if (this.#state === state || this.#state === 'closed') return;
    this.#state = state;
    this.emit('state', state);
  }

  #close(reason) {
    if (this.#state === 'closed') return;
    this.#reason = reason;
    this.#enter('closed');
    for (const timer of this.#timers) clearInterval(timer);
    clearTimeout(this.#lostTimer);
    this.#peer?.drop({ remove: reason.kind === 'error' });
    this.#local?.close();
    this.#remote?.close();
    if (this.#audio) this.#audio.srcObject = null;
    if (this.#ownsMicrophone) for (const track of this.#microphone.getTracks()) track.stop();
    this.emit('closed', reason);
  }
}

/** A MediaStream of the microphone; throws a MicrophoneError. */
export async function openMicrophone(audio = VOICE) {
  if (!navigator.mediaDevices) {
    throw microphoneError(new Error('browsers allow the microphone only on https pages and on localhost'));
  }
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    throw error instanceof RingwireError ? error : microphoneError(error);
  }
}
