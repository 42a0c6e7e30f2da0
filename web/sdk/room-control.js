// A room as whoever holds the app's secret sees and steers it.

import { Emitter } from './emitter.js';
import { gatewayUrl, requestJson } from './http.js';
import { playBody } from './play.js';

/** Events: `room` (what the gateway tells), `talkers` (names), `trouble`. */
export class RoomControl extends Emitter {
  #base;
  #room;
  #token;
  #timer = null;
  #talkers = '';

  constructor({ room, token, gateway }) {
    super();
    this.#base = gatewayUrl(gateway);
    this.#room = room;
    this.#token = token;
  }

  /** Who is in, who talks, what is played and recorded. */
  info() {
    return this.#ask('GET', '');
  }

  /** Mutes, deafens, turns up or whispers; resolves to how the peer is now. */
  async turn(peer, { muted, deafened, gainDb, heardBy } = {}) {
    const body = { muted, deafened, gain_db: gainDb, heard_by: heardBy };
    const now = await this.#ask('POST', `/peers/${encodeURIComponent(peer)}/audio`, body);
    return { muted: now.muted, deafened: now.deafened, gainDb: now.gain_db, heardBy: now.heard_by };
  }

  /** Plays to everybody; resolves to the play's id. */
  async play(what) {
    return (await this.#ask('POST', '/play', playBody(what))).play_id;
  }

  stopPlay(playId) {
    return this.#ask('DELETE', `/play/${encodeURIComponent(playId)}`);
  }

  /** `start`, `pause`, `resume` or `stop`; resolves to the recording's id. */
  async record(action) {
    return (await this.#ask('POST', '/recording', { action })).recording_id;
  }

  /** Looks again and again, until `unwatch`. */
  watch(everyMs = 500) {
    this.unwatch();
    const look = async () => {
      try {
        const room = await this.info();
        if (this.#timer !== timer) return;
        this.emit('room', room);
        this.#tellTalkers(room.peers.filter((peer) => peer.audio?.speaking).map((peer) => peer.peer));
      } catch (error) {
        if (this.#timer === timer) this.emit('trouble', error);
      }
    };
    const timer = setInterval(look, everyMs);
    this.#timer = timer;
    look();
  }

  unwatch() {
    clearInterval(this.#timer);
    this.#timer = null;
  }

  #tellTalkers(names) {
    const key = JSON.stringify(names.sort());
    if (key === this.#talkers) return;
    this.#talkers = key;
    this.emit('talkers', names);
  }

  #ask(method, path, body) {
    const url = new URL(`rooms/${encodeURIComponent(this.#room)}${path}`, this.#base);
    return requestJson(method, url, { token: this.#token, body });
  }
}
