/** How loud a stream is. All meters share one AudioContext. */

let context = null;

export class Meter {
  #source;
  #analyser;
  #samples;

  constructor(stream) {
    context ??= new AudioContext({ latencyHint: 'playback' });
    Meter.resume();
    this.#source = context.createMediaStreamSource(stream);
    this.#analyser = context.createAnalyser();
    this.#analyser.fftSize = 1024;
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source.connect(this.#analyser);
  }

  /** Browsers start it only after the user did something. */
  static async resume() {
    if (context?.state === 'suspended') await context.resume().catch(() => {});
  }

  /** From 0 (silence, or below -60 dBFS) to 1 (as loud as can be). */
  level() {
    this.#analyser.getFloatTimeDomainData(this.#samples);
    let energy = 0;
    for (const sample of this.#samples) energy += sample * sample;
    const decibels = 10 * Math.log10(energy / this.#samples.length + 1e-12);
    return Math.min(1, Math.max(0, (decibels + 60) / 60));
  }

  close() {
    this.#source.disconnect();
  }
}
