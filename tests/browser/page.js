// Put into every page before its own scripts, by driver.js.

// A steady tone is just what noise suppression takes away.
const getUserMedia = navigator.mediaDevices?.getUserMedia.bind(navigator.mediaDevices);
if (getUserMedia) {
  navigator.mediaDevices.getUserMedia = (constraints) => getUserMedia({
    ...constraints,
    audio: constraints.audio && { echoCancellation: false, noiseSuppression: false, autoGainControl: false },
  });
}

/** What has the focus, and whether one sees that it has. */
globalThis.focused = () => {
  const element = document.activeElement;
  const { outlineStyle, outlineWidth } = getComputedStyle(element);
  const outlined = outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2;
  const underlined = () => getComputedStyle(element.parentElement).boxShadow !== 'none';
  return {
    id: element.id,
    html: element.outerHTML.slice(0, 120),
    // Between the last and the first is the browser's own: then nothing has it.
    visible: element === document.body || (element.id === 'number' ? underlined() : outlined),
  };
};

/** What getStats tells of the audio that comes in. */
globalThis.inbound = async (connection) => {
  const all = [...(await connection.getStats()).values()];
  const audio = all.filter((entry) => entry.type === 'inbound-rtp' && entry.kind === 'audio');
  const { ssrc, packetsLost, packetsReceived } = audio[0] ?? {};
  return { streams: audio.length, ssrc, lost: packetsLost, received: packetsReceived };
};

/**
 * Waits up to 15 s for a tone, then listens to it for 2 s: { hertz, purity,
 * silent }, of the worst window. Tells what was strongest if it never comes.
 */
globalThis.listen = async (stream, wanted, { clean = 0.95, gaps = 0.02 } = {}) => {
  const context = new AudioContext({ sampleRate: 48000 });
  await context.resume();
  // Chromium gives WebAudio nothing of a remote stream that no element plays.
  const element = new Audio();
  element.srcObject = stream;
  element.muted = true;
  await element.play();
  const analyser = new AnalyserNode(context, { fftSize: 32768, smoothingTimeConstant: 0 });
  context.createMediaStreamSource(stream).connect(analyser);
  const samples = new Float32Array(analyser.fftSize);
  const decibels = new Float32Array(analyser.frequencyBinCount);
  const bin = 48000 / analyser.fftSize;
  const look = () => {
    analyser.getFloatTimeDomainData(samples);
    analyser.getFloatFrequencyData(decibels);
    const power = decibels.map((value) => 10 ** (value / 10));
    const first = Math.ceil(50 / bin);
    let peak = first;
    let all = 0;
    for (let n = first; n < power.length; n += 1) {
      all += power[n];
      if (power[n] > power[peak]) peak = n;
    }
    const hertz = peak * bin;
    let near = 0;
    for (let n = first; n < power.length; n += 1) if (Math.abs(n * bin - hertz) <= hertz * 0.02) near += power[n];
    let silent = 0;
    const frames = Math.floor(samples.length / 960);
    for (let frame = 0; frame < frames; frame += 1) {
      let energy = 0;
      for (let n = frame * 960; n < (frame + 1) * 960; n += 1) energy += samples[n] ** 2;
      if (Math.sqrt(energy / 960) < 0.00316) silent += 1;
    }
    return { hertz, purity: all > 0 ? near / all : 0, silent: silent / frames };
  };
  const good = ({ hertz, purity, silent }) => Math.abs(hertz - wanted) <= wanted * 0.02 && purity > clean && silent < gaps;
  const window = (analyser.fftSize / 48000) * 1000;
  try {
    let heard = look();
    for (const deadline = performance.now() + 15000; !good(heard); heard = look()) {
      if (performance.now() > deadline) return heard;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    for (let count = 0; count < 3; count += 1) {
      await new Promise((resolve) => setTimeout(resolve, window));
      const next = look();
      heard = { hertz: good(next) ? heard.hertz : next.hertz, purity: Math.min(heard.purity, next.purity), silent: Math.max(heard.silent, next.silent) };
    }
    return heard;
  } finally {
    element.srcObject = null;
    await context.close();
  }
};

/** Whether these frequencies, and none of the others, are strong at once within so many milliseconds. */
globalThis.awaitTone = async (stream, wanted, ms, others = []) => {
  const context = new AudioContext({ sampleRate: 48000 });
  await context.resume();
  const analyser = new AnalyserNode(context, { fftSize: 4096, smoothingTimeConstant: 0 });
  context.createMediaStreamSource(stream).connect(analyser);
  const decibels = new Float32Array(analyser.frequencyBinCount);
  const bin = 48000 / analyser.fftSize;
  for (const deadline = performance.now() + ms; performance.now() < deadline; ) {
    analyser.getFloatFrequencyData(decibels);
    const loudest = decibels.reduce((most, value) => Math.max(most, value), -200);
    const over = (hertz, least) => Math.max(...decibels.slice(Math.floor(hertz / bin) - 1, Math.ceil(hertz / bin) + 2)) > loudest + least;
    const strong = (hertz) => over(hertz, -12);
    const audible = (hertz) => over(hertz, -25);
    if (loudest > -60 && wanted.every(strong) && !others.some(audible)) return true;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  return false;
};
