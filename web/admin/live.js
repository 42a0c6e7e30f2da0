// What the gateway tells by itself: a snapshot a second, and whether it still does.

import { address } from './api.js';
import { useClock } from './format.js';

const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 15_000;
/** Two minutes at one a second. */
const HISTORY = 120;

/** Events: `snapshot` (its data), `state` (`off`, `connecting`, `live`, `stale`), `logged_out`. */
class Live extends EventTarget {
  #source = null;
  #retry = null;
  #wait = RETRY_MIN_MS;
  #ticker = null;
  state = 'off';
  /** Since when what is shown is old, milliseconds since the Unix epoch. */
  since = null;
  snapshot = null;
  history = [];

  start() {
    this.stop();
    this.#ticker = setInterval(() => this.#tick(), 1000);
    this.#connect();
  }

  stop() {
    clearTimeout(this.#retry);
    clearInterval(this.#ticker);
    this.#source?.close();
    this.#source = null;
    this.#become('off');
  }

  /** A request reached the gateway, or did not. */
  reached(good) {
    if (!good && this.state === 'live') this.#lost();
  }

  #connect() {
    clearTimeout(this.#retry);
    this.#source?.close();
    if (this.state === 'off') this.#become('connecting');
    const source = new EventSource(address('events'));
    this.#source = source;
    source.addEventListener('snapshot', (event) => {
      this.snapshot = JSON.parse(event.data);
      this.#wait = RETRY_MIN_MS;
      useClock(this.snapshot.now_ms);
      this.#become('live');
      this.#tell('snapshot', this.snapshot);
    });
    source.addEventListener('logged_out', () => {
      this.stop();
      this.#tell('logged_out');
    });
    source.onerror = () => source === this.#source && this.#lost();
  }

  /** The browser's own retry gives up at the first answer that is no stream. */
  #lost() {
    this.#source?.close();
    this.#source = null;
    this.#become('stale');
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#connect(), this.#wait);
    this.#wait = Math.min(RETRY_MAX_MS, this.#wait * 2);
    this.#tell('lost');
  }

  #become(state) {
    if (state === 'stale') this.since ??= Date.now();
    else if (state === 'live') this.since = null;
    if (this.state === state) return;
    this.state = state;
    this.#tell('state', state);
  }

  #tick() {
    if (this.state !== 'live') return;
    this.history.push({ calls: this.snapshot.calls, packets: this.snapshot.rates?.packets ?? 0 });
    if (this.history.length > HISTORY) this.history.shift();
    this.#tell('tick');
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

export const live = new Live();
addEventListener('online', () => live.state === 'stale' && live.start());
