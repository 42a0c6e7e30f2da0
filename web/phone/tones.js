// What a phone sounds like while it waits: ringing for both directions, keys.

const KEYS = '123A456B789C*0#D';
const ROWS = [697, 770, 852, 941];
const COLUMNS = [1209, 1336, 1477, 1633];

let context = null;
let stopCurrent = () => {};

/** The caller's ringing tone (ETSI: 425 Hz, one second in five). */
export function startRingback() {
  start((gain, at) => pulse(gain, at, 1, 0.05), [425], 5);
}

/** Somebody calls. */
export function startRinging() {
  start((gain, at) => {
    pulse(gain, at, 0.4, 0.09);
    pulse(gain, at + 0.6, 0.4, 0.09);
  }, [440, 554], 3);
}

export function stop() {
  stopCurrent();
  stopCurrent = () => {};
}

/** The short sound of a key. */
export function click(key) {
  const index = KEYS.indexOf(key);
  if (index < 0) return;
  const { gain, end } = voices([ROWS[index >> 2], COLUMNS[index & 3]]);
  pulse(gain, context.currentTime, 0.1, 0.03);
  setTimeout(end, 300);
}

function start(phrase, hertz, every) {
  stop();
  const { gain, end } = voices(hertz);
  const play = () => phrase(gain, context.currentTime + 0.05);
  play();
  const timer = setInterval(play, every * 1000);
  stopCurrent = () => {
    clearInterval(timer);
    end();
  };
}

function voices(hertz) {
  context ??= new AudioContext();
  context.resume().catch(() => {});
  const gain = context.createGain();
  gain.gain.value = 0;
  gain.connect(context.destination);
  const oscillators = hertz.map((frequency) => {
    const oscillator = new OscillatorNode(context, { frequency });
    oscillator.connect(gain);
    oscillator.start();
    return oscillator;
  });
  const end = () => {
    for (const oscillator of oscillators) oscillator.stop();
    gain.disconnect();
  };
  return { gain, end };
}

function pulse(gain, at, seconds, loudness) {
  gain.gain.setTargetAtTime(loudness, at, 0.01);
  gain.gain.setTargetAtTime(0, at + seconds, 0.02);
}
