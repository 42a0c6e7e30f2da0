// The requests of this page that need the app's secret.

import { RoomControl, requestJson } from '../sdk/ringwire.js';

const GATEWAY = new URL('../', import.meta.url);

export class Api {
  #key;

  constructor(key) {
    this.#key = key;
  }

  get ready() {
    return this.#key !== '';
  }

  /** Throws UNAUTHORIZED for a wrong key. */
  check() {
    return this.#ask('GET', 'rooms');
  }

  dial({ server, from, to, room }) {
    return this.#ask('POST', 'call/outgoing', {
      sip_server: server,
      from_number: from,
      to_number: to,
      streaming: { room, peer: 'phone', record: false },
    });
  }

  async roomToken(room, peer) {
    return (await this.#ask('POST', 'token/room', { room, peer })).token;
  }

  async notifyWs(client) {
    return (await this.#ask('POST', 'token/notify', { client_id: client })).notify_ws;
  }

  /** To see who is in a room, and who talks. */
  control(room) {
    return new RoomControl({ room, token: this.#key });
  }

  /** What the gateway knows of a call. */
  call(callWs) {
    const id = new URL(callWs, GATEWAY).pathname.split('/').at(-1);
    return this.#ask('GET', `call/${encodeURIComponent(id)}`);
  }

  #ask(method, path, body) {
    return requestJson(method, new URL(path, GATEWAY), { token: this.#key, body });
  }
}
