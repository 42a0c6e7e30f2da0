// Speech for tests/browser/quality.rs: from this page's microphone into a room
// and, beside it, from this page to itself; what comes of both is recorded
// sample by sample. Put into the page before its own scripts.

/** How long sound waits in the browser's jitter buffers (milliseconds): most of what a busy machine is late by. */
const BUFFER_MS = 300;
/** Sound that waits to be recorded: 60 s in frames of 10 ms. */
const WAITING = 6000;

/** A stream in which nothing is said. */
globalThis.silence = () => {
  globalThis.quietContext ??= new AudioContext({ sampleRate: 48000 });
  const nothing = new ConstantSourceNode(quietContext, { offset: 0 });
  const destination = quietContext.createMediaStreamDestination();
  // Without a source nothing is sent at all.
  nothing.connect(destination);
  nothing.start();
  return destination.stream;
};

/** A connection of this page to itself that sends this track. */
async function toItself(track) {
  const near = new RTCPeerConnection();
  const far = new RTCPeerConnection();
  near.onicecandidate = ({ candidate }) => far.addIceCandidate(candidate);
  far.onicecandidate = ({ candidate }) => near.addIceCandidate(candidate);
  const sender = near.addTrack(track);
  const heard = new Promise((resolve) => { far.ontrack = resolve; });
  await near.setLocalDescription();
  await far.setRemoteDescription(near.localDescription);
  await far.setLocalDescription();
  await near.setRemoteDescription(far.localDescription);
  return { near, far, sender, track: (await heard).track };
}

/**
 * All samples of a track from now on: 16 bits, one channel, 48 kHz. An element
 * has to play one remote track, then Chromium has sound of all of them; with a
 * second element both have gaps. The SDK plays the room.
 */
class Recorder {
  #samples = [];
  #reader;
  #ended;

  constructor(track) {
    this.#reader = new MediaStreamTrackProcessor({ track: track.clone(), maxBufferSize: WAITING }).readable.getReader();
    this.#ended = this.#read();
  }

  async #read() {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return;
      if (value.sampleRate !== 48000) throw new Error(`${value.sampleRate} Hz`);
      const left = new Float32Array(value.numberOfFrames);
      value.copyTo(left, { planeIndex: 0, format: 'f32-planar' });
      value.close();
      this.#samples.push(Int16Array.from(left, (sample) => Math.max(-32768, Math.min(32767, Math.round(sample * 32768)))));
    }
  }

  /** Ends, and gives the samples' octets in base64. */
  async stop() {
    await this.#reader.cancel();
    await this.#ended;
    const bytes = new Uint8Array(await new Blob(this.#samples).arrayBuffer());
    let text = '';
    for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
    return btoa(text);
  }
}

/** Connects the page to itself, and waits until sound comes both from there and from the room. */
globalThis.prepareToTalk = async (room) => {
  globalThis.itself = await toItself(silence().getAudioTracks()[0]);
  for (const connection of [room.connection, itself.far]) {
    for (const receiver of connection.getReceivers()) receiver.jitterBufferTarget = BUFFER_MS;
  }
  const received = async (connection) => (await inbound(connection)).received ?? 0;
  for (const deadline = performance.now() + 20000; ; ) {
    // Four seconds of sound, so that the jitter buffers have come to rest.
    if (await received(room.connection) > 200 && await received(itself.far) > 200) return;
    if (performance.now() > deadline) throw new Error('no sound comes');
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
};

/** How many samples were made up so far, of the room and of itself. */
async function concealed(room) {
  const each = [room.connection, itself.far].map(async (connection) => {
    const all = [...(await connection.getStats()).values()];
    return all.find(({ type }) => type === 'inbound-rtp').concealedSamples;
  });
  return Promise.all(each);
}

/** Opens the microphone, which hears its file from the beginning, and says it to the room and to itself. */
globalThis.talk = async (room) => {
  globalThis.concealedBefore = await concealed(room);
  globalThis.recorders = [room.remoteStream.getAudioTracks()[0], itself.track].map((track) => new Recorder(track));
  globalThis.microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
  const [track] = microphone.getAudioTracks();
  const senders = [room.connection.getSenders()[0], itself.sender];
  await Promise.all(senders.map((sender) => sender.replaceTrack(track)));
};

/** Is quiet again: what was heard of the room and of itself, and how many samples of each were made up. */
globalThis.stopTalking = async (room) => {
  const [ofRoom, ofItself] = await Promise.all(recorders.map((recorder) => recorder.stop()));
  const [quiet] = silence().getAudioTracks();
  for (const sender of [room.connection.getSenders()[0], itself.sender]) await sender.replaceTrack(quiet);
  for (const track of microphone.getTracks()) track.stop();
  const now = await concealed(room);
  return { ofRoom, ofItself, concealed: now.map((samples, n) => samples - concealedBefore[n]) };
};
