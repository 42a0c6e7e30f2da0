/** Events by name. A listener that throws does not keep others from hearing. */
export class Emitter {
  #listeners = new Map();

  /** Calls `listener` on every such event; the function returned ends that. */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    listeners.add(listener);
    this.#listeners.set(type, listeners);
    return () => this.off(type, listener);
  }

  /** Calls `listener` on the next such event. */
  once(type, listener) {
    const off = this.on(type, (detail) => {
      off();
      listener(detail);
    });
    return off;
  }

  /** Calls it no more. */
  off(type, listener) {
    this.#listeners.get(type)?.delete(listener);
  }

  /** Tells everybody who listens. Of use to this SDK only. */
  emit(type, detail) {
    for (const listener of [...(this.#listeners.get(type) ?? [])]) {
      try {
        listener(detail);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
