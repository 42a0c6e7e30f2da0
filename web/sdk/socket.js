// A WebSocket of the gateway in its JSON form, that comes back by itself.

import { ConnectionError, GatewayError } from './errors.js';
import { request } from './http.js';

const NORMAL = 1000;
const TRY_AGAIN_LATER = 1013;
const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 5000;

export class LiveSocket {
  #url;
  #handlers;
  #patience;
  #socket = null;
  #timer = null;
  #attempt = 0;
  #downSince = null;
  #closed = false;

  /**
   * `handlers`: `message(object)`, `up()`, `down()`, and once, at the end,
   * `ended(error | null)`: null when the server closed it in good order.
   * `patience`: for how many milliseconds to try to come back.
   */
  constructor(url, handlers, patience) {
    this.#url = new URL(url);
    this.#url.searchParams.set('format', 'json');
    this.#handlers = handlers;
    this.#patience = patience;
    this.#open();
  }

  /** False when it is not open just now. */
  send(object) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(object));
    return true;
  }

  /** Closes for good, without telling `ended`. */
  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }

  #open() {
    const url = new URL(this.#url);
    url.protocol = url.protocol === 'https:' ? 'wss:' : 'ws:';
    const socket = new WebSocket(url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#attempt = 0;
      this.#downSince = null;
      if (!this.#closed) this.#handlers.up?.();
    };
    socket.onmessage = ({ data }) => {
      if (!this.#closed) this.#handlers.message(JSON.parse(data));
    };
    socket.onclose = ({ code, reason }) => {
      if (!this.#closed && socket === this.#socket) this.#lost(code, reason);
    };
  }

  async #lost(code, reason) {
    if (code === NORMAL) return this.#end(null);
    if (code === TRY_AGAIN_LATER) return this.#end(new GatewayError('TOO_MANY_SOCKETS', reason, 429));
    if (this.#downSince === null) {
      this.#downSince = Date.now();
      this.#handlers.down?.();
    }
    // A WebSocket does not say why it was refused; the same as a page does.
    const refusal = await this.#refusal();
    if (this.#closed) return;
    if (refusal) return this.#end(refusal);
    if (Date.now() - this.#downSince >= this.#patience) {
      return this.#end(new ConnectionError('CONNECTION_LOST', 'the gateway cannot be reached any more'));
    }
    const delay = Math.min(FIRST_DELAY_MS * 2 ** this.#attempt++, LONGEST_DELAY_MS);
    this.#timer = setTimeout(() => this.#open(), delay * (0.75 + Math.random() / 2));
  }

  async #refusal() {
    try {
      await request('GET', this.#url);
    } catch (error) {
      if ([401, 403, 404, 429].includes(error.status)) return error;
    }
    return null;
  }

  #end(error) {
    this.close();
    this.#handlers.ended(error);
  }
}
