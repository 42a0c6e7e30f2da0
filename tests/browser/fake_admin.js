// The admin API inside the page, for tests of the panel alone: it keeps a small
// book, calls, records, recordings and deliveries, and can be told to misbehave. It is
// loaded before the page's own scripts; the pages come from the real gateway.

globalThis.fakeAdmin = (() => {
  const CSRF = 'csrf-of-the-fake';
  const realFetch = globalThis.fetch.bind(globalThis);
  const now = Date.now();
  const minutes = (count) => now - count * 60_000;
  const media = (values = {}) => ({
    codec: 'PCMA', local: '192.0.2.1:30000', remote: '198.51.100.7:4000', packets_received: 9400, bytes_received: 1_504_000,
    packets_sent: 9380, bytes_sent: 1_500_800, packets_lost: 3, jitter_ms: 2.1, round_trip_ms: 24.4, remote_packets_lost: 12, remote_jitter_ms: 3.4,
    last_packet_ms_ago: 8, mos: 4.4, mos_average: 4.38, mos_min: 4.1, remote_mos: 4.37, remote_mos_average: 4.3, remote_mos_min: 4.05, ...values,
  });
  const call = (values) => ({
    state: 'active', direction: 'incoming', held: false, security: 'sdes', srtp_suite: 'AES_CM_128_HMAC_SHA1_80', shard: 0, app_id: 'support',
    sip_call_id: `${values.call_id}@198.51.100.7`, peer_address: '198.51.100.7:5060', created_ms: minutes(4), answered_ms: minutes(3.8),
    streaming: { room: 'support-1', peer: 'caller', record: false }, media: media(), ...values,
  });
  const recording = (values) => ({
    app_id: 'support', call_id: 'r3', room: 'support-1', peer: 'caller', format: 'ogg_opus', channels: 'stereo', state: 'ready', reason: null,
    started_ms: minutes(60), ended_ms: minutes(58), duration_ms: 121_000, size: 968_000, sha256: '00', gaps: [], pauses: [], recovered: false,
    local: true, upload: 'none', upload_attempts: 0, upload_error: null, object: null, ...values,
  });
  const number = (values) => ({ app_id: 'root', subnets: [], origin: 'admin', ignored: null, editable: true, ...values });
  const fake = {
    requests: [],
    /** `[method and path, status, error, message]` of the next answer to it. */
    refuse: null,
    /** Whether the network is there. */
    reachable: true,
    setupNeeded: false,
    password: 'correct horse battery',
    streams: [],
    version: 1,
    apps: [
      { app_id: 'billing', origin: 'sync', ignored: null, numbers: 1, live_calls: 0, editable: false },
      { app_id: 'root', origin: 'config', ignored: null, numbers: 3, live_calls: 0, editable: false },
      { app_id: 'support', origin: 'admin', ignored: null, numbers: 2, live_calls: 3, created_ms: minutes(9000), editable: true },
    ],
    numbers: [
      number({ number: '+4930200100', app_id: 'support', subnets: ['198.51.100.0/24'], hook: 'https://support.example.com/calls', hook_content_type: 'Json', sip_server: 'trunk.example.com', register: true, max_calls: 30 }),
      number({ number: '+4930200101', app_id: 'support', subnets: ['198.51.100.0/24', '203.0.113.0/24', '2001:db8::/48'], auth: { username: 'desk-2', password_set: true, algorithms: ['MD5'] }, client_id: 'desk' }),
      number({ number: '+4930200300', app_id: 'billing', origin: 'sync', editable: false, subnets: ['203.0.113.8/32'], hook: 'https://billing.example.com/hook' }),
      number({ number: '600', origin: 'config', editable: false, subnets: ['0.0.0.0/0'], answer: 'echo' }),
      number({ number: '601', origin: 'config', editable: false, subnets: ['10.0.0.0/8'], answer: { room: 'lobby', peer: '{from}' } }),
      number({ number: '601', origin: 'sync', editable: false, subnets: ['10.0.0.0/8'], ignored: 'the configuration has the same number' }),
      number({ number: 'frontdesk', subnets: [] }),
    ],
    calls: [
      call({ call_id: 'c1', from_number: '+4915112345678', to_number: '+4930200100' }),
      call({ call_id: 'c2', direction: 'outgoing', from_number: '+4930200100', to_number: '+33140506070', security: 'dtls', created_ms: minutes(12), answered_ms: minutes(11.6), streaming: { room: 'support-2', peer: 'customer', record: false }, media: media({ codec: 'opus', packets_lost: 410, jitter_ms: 31, round_trip_ms: 212, remote_packets_lost: 155, mos: 3.52, mos_average: 3.6 }) }),
      call({ call_id: 'c3', direction: 'outgoing', state: 'ringing', from_number: '+4930200101', to_number: '+442079460000', created_ms: minutes(0.2), answered_ms: null, media: null, security: 'none', srtp_suite: null, streaming: { room: 'support-3', peer: 'customer', record: false } }),
      call({ call_id: 'c4', app_id: 'root', held: true, from_number: '1001', to_number: '601', created_ms: minutes(31), answered_ms: minutes(31), streaming: { room: 'lobby', peer: '1001', record: false }, security: 'none', srtp_suite: null, media: media({ codec: 'G722', packets_lost: 610, jitter_ms: 12, mos: 2.9, mos_average: 3.2 }) }),
    ],
    rooms: [
      { app_id: 'support', room: 'support-1', created_ms: minutes(4), shard: 0, peers: [{ peer: 'caller', call_id: 'c1', kind: 'sip', joined_ms: minutes(4) }, { peer: 'agent-anna', call_id: 'p1', kind: 'webrtc', joined_ms: minutes(3), media: media({ codec: 'PCMA', packets_lost: 0, jitter_ms: 1.2, round_trip_ms: 8, remote_packets_lost: 2 }) }] },
      { app_id: 'support', room: 'support-2', created_ms: minutes(12), shard: 0, peers: [{ peer: 'agent-ben', call_id: 'p2', kind: 'webrtc', joined_ms: minutes(11), media: media({ codec: 'opus' }) }] },
    ],
    records: Array.from({ length: 73 }, (_, index) => {
      const answered = index % 5 !== 3;
      const begin = minutes(40 + index * 7);
      return {
        ...call({ call_id: `r${index}`, direction: index % 3 === 0 ? 'outgoing' : 'incoming', from_number: `+49151123456${index + 10}`, to_number: '+4930200100' }),
        result: answered ? 'answered' : 'busy', created_ms: begin, answered_ms: answered ? begin + 6000 : null, ended_ms: begin + 20_000 + index * 3700,
        sip_code: answered ? 200 : 486, end_reason: answered ? 'remote' : 'failed', room: 'support-1', peer: 'caller',
      };
    }),
    recordings: [
      recording({ recording_id: 'a1', call_id: 'c1', state: 'recording', started_ms: minutes(3), ended_ms: null, duration_ms: 0, size: 0 }),
      recording({ recording_id: 'a2', upload: 'done', object: 'support/a2.ogg', pauses: [{ at_ms: 4000, duration_ms: 9000 }] }),
      recording({ recording_id: 'a3', call_id: null, room: 'lobby', peer: '', app_id: 'root', gaps: [{ at_ms: 20_000, duration_ms: 400 }], upload: 'pending', upload_attempts: 3, upload_error: 'the object store answered 503' }),
      recording({ recording_id: 'a4', call_id: 'r9', state: 'failed', reason: 'disk_full', duration_ms: 31_000, size: 248_000 }),
      recording({ recording_id: 'a5', call_id: 'r8', recovered: true, local: false, upload: 'done', object: 'support/a5.ogg' }),
    ],
    deliveries: [
      { id: 'h1', app_id: 'support', call_id: 'c1', url: 'https://support.example.com/calls', event: 'incoming.accepted', created_ms: minutes(3), attempts: 4, next_attempt_ms: now + 9000, expires_ms: now + 3_600_000, state: 'pending', last_error: 'the hook answered 502', last_status: 502, body: { timestamp: minutes(3), call_id: 'c1', incoming: { accepted: {} } }, last_response: '<html>Bad gateway</html>' },
      { id: 'h2', app_id: 'billing', call_id: 'r3', url: 'https://billing.example.com/hook', event: 'incoming.ended', created_ms: minutes(700), attempts: 31, next_attempt_ms: null, state: 'dead', last_error: 'connection refused', body: { timestamp: minutes(700), call_id: 'r3', incoming: { ended: {} } } },
      { id: 'h3', app_id: 'support', call_id: 'r1', url: 'https://support.example.com/calls', event: 'incoming.ended', created_ms: minutes(50), attempts: 1, state: 'delivered', last_status: 204, body: {} },
    ],
    sync: {
      enabled: true, interval_s: 30,
      numbers: { url: 'https://pbx.example.com/numbers', state: 'good', last_try_ms: now - 12_000, last_good_ms: now - 12_000, last_result: 'unchanged', records: 2, bad_records: 1, bad: [{ record: '+4930', field: 'subnets', problem: '"10.0.0.0/99" is not a network' }], duplicates: 0, failures: 0, next_try_ms: now + 18_000 },
      apps: { url: 'https://pbx.example.com/apps', state: 'failing', last_try_ms: now - 5000, last_good_ms: now - 400_000, last_result: 'failed', problem: 'the answer was 503.', records: 1, bad_records: 0, bad: [], duplicates: 0, failures: 3, next_try_ms: now + 25_000 },
    },
  };

  const loggedIn = () => sessionStorage.getItem('fakeAdmin') === 'in';
  const session = () => (loggedIn()
    ? { logged_in: true, setup_needed: false, csrf_token: CSRF, expires_ms: now + 3_600_000, idle_timeout_s: 900, password_changeable: true }
    : { logged_in: false, setup_needed: fake.setupNeeded });
  const enter = () => {
    sessionStorage.setItem('fakeAdmin', 'in');
    return session();
  };
  fake.expire = () => sessionStorage.removeItem('fakeAdmin');

  class Refusal extends Error {
    constructor(status, error, message) {
      super(message);
      Object.assign(this, { status, error });
    }
  }
  const missing = () => new Refusal(404, 'NOT_FOUND', 'it is not there');
  const one = (list, test) => list.find(test) ?? (() => { throw missing(); })();
  const has = (item, text) => JSON.stringify(item).toLowerCase().includes(text.toLowerCase());
  const hidden = (auth) => auth && { username: auth.username, password_set: true, algorithms: auth.algorithms };
  const checked = (record) => {
    const problem = (field, text) => { throw new Refusal(400, 'BAD_REQUEST', `${field}: ${text}`); };
    if (!record.number) problem('number', 'is missing; write the called number, e.g. "+4930123"');
    for (const subnet of record.subnets) if (!/^[0-9a-f.:]+(\/\d+)?$/i.test(subnet)) problem('subnets', `"${subnet}" is not an address or network; write 192.0.2.0/24`);
    if (record.hook && !/^https?:/.test(record.hook)) problem('hook', 'is not an http or https URL');
    return number({ ...record, auth: hidden(record.auth), sip_auth: hidden(record.sip_auth) });
  };
  const snapshot = () => ({
    now_ms: Date.now(), calls: fake.calls.length, rooms: fake.rooms.length, legs: fake.calls.length * 2, calls_by_app: {},
    rates: { call_events: 0.4, http_requests: 2, packets: 380 + 30 * Math.sin(Date.now() / 4000), hook_posts: 0, refused: 0.2 }, calls_version: fake.version,
  });

  const routes = {
    'GET session': () => session(),
    'POST login': ({ password }) => {
      if (password !== fake.password) throw new Refusal(401, 'LOGIN_FAILED', 'the password is wrong');
      return enter();
    },
    'POST setup': ({ code, password }) => {
      if (code !== '123456') throw new Refusal(403, 'SETUP_CODE_WRONG', 'the code is wrong');
      if (password.length < 12) throw new Refusal(400, 'BAD_REQUEST', 'password: needs at least 12 characters');
      Object.assign(fake, { password, setupNeeded: false });
      return enter();
    },
    'POST logout': () => fake.expire(),
    'GET apps': () => ({ apps: fake.apps }),
    'POST apps': ({ app_id }) => {
      if (!/^[\w-]+$/.test(app_id)) throw new Refusal(400, 'BAD_REQUEST', 'app_id: is missing; write letters, digits, - and _');
      fake.apps.push({ app_id, origin: 'admin', ignored: null, numbers: 0, live_calls: 0, created_ms: Date.now(), editable: true });
      return { app_id, app_secret: 'secret-shown-once' };
    },
    'PUT apps/*': ({ max_calls, max_calls_per_second }, [app_id]) => {
      Object.assign(one(fake.apps, (each) => each.app_id === app_id), { max_calls, max_calls_per_second });
    },
    'GET registrations': () => ({ registrations: fake.numbers.filter((each) => each.register).map((each) => ({ number: each.number, app_id: each.app_id, registrar: each.sip_server, address: '192.0.2.9:5060', state: 'failed', last_code: 401, registered_until_ms: null, next_attempt_ms: Date.now() + 40_000, problem: null })) }),
    'POST apps/*/rotate': ({ overlap_s }, [app_id]) => {
      const app = one(fake.apps, (each) => each.app_id === app_id);
      app.previous_secret_until_ms = Date.now() + overlap_s * 1000;
      return { app_id, app_secret: 'another-secret', previous_secret_until_ms: app.previous_secret_until_ms };
    },
    'DELETE apps/*': (_, [app_id]) => {
      if (one(fake.apps, (each) => each.app_id === app_id).numbers > 0) throw new Refusal(409, 'APP_IN_USE', 'the app has numbers; remove them first');
      fake.apps = fake.apps.filter((each) => each.app_id !== app_id);
    },
    'GET numbers': (_, __, { search = '', app, origin, ignored, offset, limit }) => {
      const found = fake.numbers.filter((each) => has(each, search) && (!app || each.app_id === app) && (!origin || each.origin === origin) && (!ignored || each.ignored));
      return { numbers: found.slice(Number(offset), Number(offset) + Number(limit)), total: found.length, offset: Number(offset), limit: Number(limit) };
    },
    'GET numbers/*': (_, [name]) => {
      const all = fake.numbers.filter((each) => each.number === name);
      if (all.length === 0) throw missing();
      return { number: all[0], others: all.slice(1) };
    },
    'POST numbers': (record) => {
      const made = checked(record);
      if (fake.numbers.some((each) => each.number === made.number && each.origin === 'admin')) throw new Refusal(409, 'EXISTS', 'there is such a number already');
      fake.numbers.unshift(made);
      return { number: made };
    },
    'PUT numbers/*': (record, [name]) => {
      const made = checked({ ...record, number: record.number || name });
      fake.numbers[fake.numbers.findIndex((each) => each.number === name && each.editable)] = made;
      return { number: made };
    },
    'DELETE numbers/*': (_, [name]) => {
      fake.numbers = fake.numbers.filter((each) => each.number !== name || !each.editable);
    },
    'POST numbers/test': ({ number: name, source }) => {
      if (!/^[\d.]+$|:/.test(source)) throw new Refusal(400, 'BAD_REQUEST', 'source: is not an IP address; write one such as 192.0.2.7');
      const found = fake.numbers.find((each) => each.number === name);
      const steps = [{ step: 'number', ok: true, text: `The number is compared as ${name.replace('+', '')}.` }];
      if (!found) return { accepted: false, sip_code: 404, conclusion: 'Nobody has this number.', steps: [...steps, { step: 'record', ok: false, text: 'No entry of the book has this number.' }], number: null };
      steps.push({ step: 'record', ok: true, text: `The entry from ${found.origin} counts.` }, { step: 'app', ok: null, text: `It belongs to the app ${found.app_id}.` });
      const accepted = found.subnets.length > 0;
      steps.push({ step: 'source', ok: accepted, text: accepted ? `${source} is inside ${found.subnets[0]}.` : `${source} is in none of the networks of this number: its list is empty.` });
      if (accepted) steps.push({ step: 'handling', ok: null, text: 'The hook is asked what to do.' });
      return { accepted, sip_code: accepted ? null : 403, conclusion: accepted ? 'The call would be accepted.' : 'The call would be refused: it comes from a network that may not call.', steps, number: found };
    },
    'GET calls': (_, __, { search = '' }) => {
      const found = fake.calls.filter((each) => has(each, search));
      return { calls: structuredClone(found), total: found.length, offset: 0, limit: 200 };
    },
    'GET calls/*': (_, [id]) => ({ call: one(fake.calls, (each) => each.call_id === id) }),
    'DELETE calls/*': (_, [id]) => {
      const ended = one(fake.calls, (each) => each.call_id === id);
      fake.calls = fake.calls.filter((each) => each !== ended);
      fake.records.unshift({ ...ended, result: 'answered', ended_ms: Date.now(), end_reason: 'local', sip_code: 200 });
      fake.tell();
    },
    'GET rooms': () => ({ rooms: fake.rooms }),
    'GET records': (_, __, { number: name, result, direction, cursor, limit }) => {
      const found = fake.records.filter((each) => (!name || [each.from_number, each.to_number].includes(name)) && (!result || each.result === result) && (!direction || each.direction === direction));
      const start = Number(cursor ?? 0);
      const end = start + Number(limit);
      return { records: found.slice(start, end), next: end < found.length ? String(end) : null };
    },
    'GET records/*': (_, [id]) => ({ record: one(fake.records, (each) => each.call_id === id) }),
    'GET recordings': (_, __, { room, app, call_id }) => ({
      recordings: structuredClone(fake.recordings.filter((each) => (!room || each.room === room) && (!app || each.app_id === app) && (!call_id || each.call_id === call_id))), next: null,
    }),
    // Players ask the gateway itself, where nobody is logged in.
    'GET recordings/*/audio': () => { throw new Refusal(410, 'RECORDING_GONE', 'the recording has no file'); },
    'DELETE recordings/*': (_, [id]) => {
      fake.recordings = fake.recordings.filter((each) => each !== one(fake.recordings, ({ recording_id }) => recording_id === id));
    },
    'GET hooks': (_, __, { state, call_id }) => {
      const found = fake.deliveries.filter((each) => (!state || each.state === state) && (!call_id || each.call_id === call_id));
      const counts = { pending: 0, dead: 0, delivered: 0 };
      for (const each of fake.deliveries) counts[each.state] += 1;
      return { deliveries: structuredClone(found), next: null, counts };
    },
    'GET hooks/*': (_, [id]) => ({ delivery: one(fake.deliveries, (each) => each.id === id) }),
    'POST hooks/*/retry': (_, [id]) => {
      Object.assign(one(fake.deliveries, (each) => each.id === id), { state: 'delivered', last_error: null, last_status: 204 });
    },
    'DELETE hooks/*': (_, [id]) => {
      const waiting = fake.deliveries.find((each) => each.id === id && each.state === 'pending');
      if (waiting) {
        Object.assign(waiting, { state: 'dead', last_error: 'dropped by operator' });
        return {};
      }
      fake.deliveries = fake.deliveries.filter((each) => each.id !== id);
    },
    'GET system': () => ({
      version: '0.1.0', started_ms: now - 3 * 86_400_000, uptime_s: 3 * 86_400, now_ms: Date.now(), draining: false, config_file: '/etc/ringwire/gateway.toml', data_dir: '/var/lib/ringwire', log_level: 'info',
      listeners: { api: '0.0.0.0:8008', admin: null, sip: ['udp 0.0.0.0:5060', 'tls 0.0.0.0:5061'] }, media: { backend: 'uring', rtp_ports: '30000-40000' }, limits: { max_calls: 10_000 },
      shards: [0, 1].map((shard) => ({ shard, core: shard, answers: true, calls: fake.calls.length / 2, rooms: 1, legs: fake.calls.length, sip_sessions: 2, free_port_pairs: 2496 })),
      book: { apps: 3, numbers: 6, ignored: 1 }, store: { changes_queued: 0, changes_failed: 0 }, hooks: { queued: 1 }, websockets: 5,
      sync: fake.sync, reload: { last_ms: null, needs_restart: [] }, warnings: ['The API listens without TLS on 0.0.0.0:8008: put a proxy with https in front of it.'],
    }),
    'POST sync': () => fake.sync,
    'POST reload': () => ({ changed: ['numbers'], needs_restart: ['rtp.ports'] }),
  };

  const OPEN = ['GET session', 'POST login', 'POST setup'];

  function answer(method, path, query, body, headers) {
    const words = path.split('/').map(decodeURIComponent);
    const [name, handler] = Object.entries(routes).find(([route]) => route === `${method} ${path}`)
      ?? Object.entries(routes).find(([route]) => matches(route, method, words)) ?? [];
    if (!handler) throw missing();
    if (!OPEN.includes(name) && !loggedIn()) throw new Refusal(401, 'NOT_LOGGED_IN', 'log in first');
    if (method !== 'GET' && !OPEN.includes(name) && headers['X-CSRF-Token'] !== CSRF) throw new Refusal(403, 'CSRF', 'the token is missing');
    if (fake.refuse?.[0] === `${method} ${path}`) {
      const [, status, error, message] = fake.refuse;
      fake.refuse = null;
      throw new Refusal(status, error, message);
    }
    const stars = name.split(' ')[1].split('/').flatMap((part, index) => (part === '*' ? [words[index]] : []));
    return handler(body, stars, query);
  }

  function matches(route, method, words) {
    const [wanted, pattern] = route.split(' ');
    const parts = pattern.split('/');
    return wanted === method && parts.length === words.length && parts.every((part, index) => part === '*' || part === words[index]);
  }

  globalThis.fetch = async (input, init = {}) => {
    const url = new URL(input, location.href);
    const [, path] = /^\/admin\/api\/(.*)$/.exec(url.pathname) ?? [];
    if (path === undefined) return realFetch(input, init);
    const method = init.method ?? 'GET';
    fake.requests.push(`${method} ${path}`);
    if (!fake.reachable) throw new TypeError('Failed to fetch');
    const reply = (status, envelope) => new Response(JSON.stringify(envelope), { status, headers: { 'Content-Type': 'application/json' } });
    try {
      const data = answer(method, path, Object.fromEntries(url.searchParams), init.body ? JSON.parse(init.body) : {}, init.headers ?? {});
      return reply(200, { status: true, data });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      return reply(error.status, { status: false, error: error.error, message: error.message });
    }
  };

  globalThis.EventSource = class extends EventTarget {
    constructor() {
      super();
      fake.streams.push(this);
      this.timer = setInterval(() => this.tell(), 1000);
      setTimeout(() => (fake.reachable && loggedIn() ? this.tell() : this.fail()), 20);
    }
    tell() {
      if (!fake.reachable) this.fail();
      else this.dispatchEvent(new MessageEvent('snapshot', { data: JSON.stringify(snapshot()) }));
    }
    fail() {
      this.close();
      this.onerror?.(new Event('error'));
    }
    close() {
      clearInterval(this.timer);
      fake.streams = fake.streams.filter((each) => each !== this);
    }
  };
  fake.tell = () => {
    fake.version += 1;
    for (const stream of fake.streams) stream.tell();
  };
  return fake;
})();
