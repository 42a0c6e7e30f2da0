// A gateway inside the page, for tests of the SDK alone: it answers the
// requests for peers of rooms with a second RTCPeerConnection that says a tone,
// and can be told to misbehave. Everything else goes to the real one.

globalThis.fakeGateway = (() => {
  const realFetch = globalThis.fetch.bind(globalThis);
  const fake = { requests: [], matched: [], sessions: 1, peers: [], next: null, events: null, hertz: 600 };

  const answerer = async (peer, sdp) => {
    await peer.setRemoteDescription({ type: 'offer', sdp });
    await peer.setLocalDescription();
    if (peer.iceGatheringState !== 'complete') {
      await new Promise((resolve) => {
        peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && resolve();
      });
    }
    return peer.localDescription.sdp;
  };

  const newPeer = () => {
    const peer = new RTCPeerConnection();
    const context = new AudioContext();
    const oscillator = new OscillatorNode(context, { frequency: fake.hertz });
    const out = context.createMediaStreamDestination();
    oscillator.connect(new GainNode(context, { gain: 0.3 })).connect(out);
    oscillator.start();
    peer.addTrack(out.stream.getAudioTracks()[0], out.stream);
    fake.peers.push(peer);
    return peer;
  };

  const envelope = (status, error) => new Response(JSON.stringify({ status: false, error, message: error }), {
    status,
    headers: { 'Content-Type': 'application/json' },
  });

  globalThis.fetch = async (input, init = {}) => {
    const url = new URL(input instanceof Request ? input.url : input, location.href);
    if (!/^\/rooms\/[^/]+\/peers\//.test(url.pathname)) return realFetch(input, init);
    fake.requests.push(`${init.method} ${url.pathname}`);
    if (init.method === 'PATCH') fake.matched.push(init.headers['If-Match'] ?? null);
    if (fake.next) {
      const [status, error] = fake.next;
      fake.next = null;
      return envelope(status, error);
    }
    if (init.method === 'DELETE') return new Response(null, { status: 200 });
    const peer = init.method === 'POST' ? newPeer() : fake.peers.at(-1);
    if (init.headers['If-Match'] === '*') fake.sessions += 1;
    const sdp = await answerer(peer, init.body);
    return new Response(sdp, {
      status: init.method === 'POST' ? 201 : 200,
      headers: {
        'Content-Type': 'application/sdp',
        ETag: `"${fake.sessions}"`,
        Location: `${url.pathname}/${fake.peers.length}`,
      },
    });
  };

  globalThis.EventSource = class extends EventTarget {
    static CLOSED = 2;
    readyState = 1;
    constructor() {
      super();
      fake.events = (type, data) => this.dispatchEvent(new MessageEvent(type, { data: JSON.stringify(data) }));
    }
    close() {
      this.readyState = 2;
    }
  };

  return fake;
})();
