// The fields of a number as a form, and the record that they say.

import { h, setText } from '../dom.js';
import { field, limit, limitOf, select, text } from '../ui.js';

const ANSWERS = [['ask', 'The app decides (hook, WebSocket or API)'], ['room', 'Goes straight into a room'], ['echo', 'Echo test: callers hear themselves']];
const ALGORITHMS = [['MD5', 'MD5 (every phone)'], ['SHA-256', 'SHA-256 (new phones)'], ['MD5,SHA-256', 'Both offered']];
const REGISTER = [['', 'No'], ['yes', 'Yes: it sends us the calls to this number']];
const SRTP = [['', 'As the gateway is configured'], ['off', 'Off'], ['optional', 'Optional'], ['required', 'Required']];
const KEYING = [['', 'As the gateway is configured'], ['sdes', 'SDES'], ['dtls', 'DTLS']];
const DTMF = [['', 'As the gateway is configured'], ['auto', 'Whatever the phone takes'], ['events', 'Telephone events (RFC 4733)'], ['info', 'SIP INFO'], ['tones', 'Tones in the sound']];

/** `read()` makes the record; `saved(record)` takes over what the gateway kept. */
export function recordFields(record, apps, { isNew }) {
  const known = [...new Set([...apps, record.app_id].filter(Boolean))];
  const inputs = {
    number: text({ value: record.number ?? '', placeholder: '+4930123456', inputmode: 'tel', autofocus: isNew }),
    app: select(known.map((app) => [app, app]), record.app_id),
    subnets: h('textarea', { rows: 3, spellcheck: 'false', placeholder: '192.0.2.0/24', value: record.subnets.join('\n') }),
    authUser: text({ value: record.auth?.username ?? '' }),
    authPassword: secret(record.auth),
    algorithms: select(ALGORITHMS, record.auth?.algorithms?.join(',') || 'MD5'),
    answer: select(ANSWERS, record.answer?.room ? 'room' : record.answer ?? 'ask'),
    room: text({ value: record.answer?.room ?? '', placeholder: 'support' }),
    peer: text({ value: record.answer?.peer ?? '', placeholder: '{from}' }),
    hook: text({ value: record.hook ?? '', type: 'url', placeholder: 'https://example.com/calls' }),
    hookType: select([['Json', 'JSON'], ['Protobuf', 'Protobuf']], record.hook_content_type ?? 'Json'),
    client: text({ value: record.client_id ?? '', placeholder: 'desk' }),
    server: text({ value: record.sip_server ?? '', placeholder: 'sip.example.com' }),
    proxy: text({ value: record.sip_proxy ?? '' }),
    sipUser: text({ value: record.sip_auth?.username ?? '' }),
    sipPassword: secret(record.sip_auth),
    register: select(REGISTER, record.register ? 'yes' : ''),
    maxCalls: limit(record.max_calls),
    maxRate: limit(record.max_calls_per_second),
    srtp: select(SRTP, record.srtp ?? ''),
    keying: select(KEYING, record.srtp_keying ?? ''),
    dtmf: select(DTMF, record.dtmf ?? ''),
    ringback: text({ value: soundText(record.ringback), placeholder: 'ringback.wav' }),
    hold: text({ value: soundText(record.hold_music), placeholder: 'https://example.com/hold.mp3' }),
  };
  const reach = h('p', { class: 'help', role: 'status' });
  const showReach = () => setText(reach, reachOf(lines(inputs.subnets.value)));
  inputs.subnets.addEventListener('input', showReach);
  showReach();
  const room = h('div', { class: 'row' },
    field('answer.room', 'Room', inputs.room, 'May hold {call_id}, {from} and {to}.'),
    field('answer.peer', 'Name in the room', inputs.peer, 'Left empty, the gateway’s default.'));
  const showRoom = () => {
    room.hidden = inputs.answer.value !== 'room';
  };
  inputs.answer.addEventListener('change', showRoom);
  showRoom();
  const elements = [
    group('Number', h('div', { class: 'row' },
      field('number', 'Number', inputs.number, 'As it is called, digits or a name. A leading + and separators do not matter.'),
      field('app_id', 'App', inputs.app, 'Whose number it is.'))),
    group('Incoming calls',
      field('subnets', 'Networks that may call', inputs.subnets, 'One address or network in a line.'), reach,
      h('div', { class: 'row three' },
        field('auth.username', 'Callers log in as', inputs.authUser, 'Empty: no password is asked for.'),
        field('auth.password', 'Password', inputs.authPassword, keptHelp(record.auth)),
        field('auth.algorithms', 'Digest', inputs.algorithms)),
      h('div', { class: 'row' }, field('answer', 'What happens', inputs.answer)),
      room,
      h('div', { class: 'row three' },
        field('hook', 'Hook', inputs.hook, 'Told of every event of a call; may answer it.'),
        field('hook_content_type', 'Hook body', inputs.hookType),
        field('client_id', 'Client to tell', inputs.client, 'The client_id of a notify WebSocket, of the softphone for example.'))),
    group('Outgoing calls',
      h('div', { class: 'row' },
        field('sip_server', 'SIP server', inputs.server, 'host, host:port or a sip: or sips: URI. Calls from this number are dialled there.'),
        field('sip_proxy', 'Outbound proxy', inputs.proxy, 'Only if your provider names one.')),
      h('div', { class: 'row' },
        field('sip_auth.username', 'User name', inputs.sipUser, 'What the server asks for.'),
        field('sip_auth.password', 'Password', inputs.sipPassword, keptHelp(record.sip_auth))),
      h('div', { class: 'row' },
        field('register', 'Register there', inputs.register, 'The user name is registered, or the number without one. The server’s address may then call this number.'))),
    group('Limits', h('div', { class: 'row' },
      field('max_calls', 'Calls at a time', inputs.maxCalls, 'Incoming and outgoing together. Empty: as configured.'),
      field('max_calls_per_second', 'Calls that begin per second', inputs.maxRate, 'Empty: as configured.'))),
    group('Sounds', h('div', { class: 'row' },
      field('ringback', 'While it rings', inputs.ringback, 'What callers hear, before the answer too: an asset of the app, or a URL. Empty: the tone of their network.'),
      field('hold_music', 'Alone in a room', inputs.hold, 'What somebody hears who waits there.'))),
    group('Encryption of the sound', h('div', { class: 'row' },
      field('srtp', 'SRTP', inputs.srtp), field('srtp_keying', 'Keys', inputs.keying))),
    group('Keypad', field('dtmf', 'How keys are sent', inputs.dtmf)),
  ];
  return {
    elements,
    read: () => recordOf(inputs),
    saved(number) {
      for (const [input, auth] of [[inputs.authPassword, number.auth], [inputs.sipPassword, number.sip_auth]]) {
        input.value = '';
        input.placeholder = auth?.password_set ? 'unchanged' : '';
      }
    },
  };
}

function group(title, ...content) {
  return h('fieldset', {}, h('legend', {}, title), content);
}

/** A password is never sent to us; an empty one keeps what there is. */
function secret(auth) {
  return text({ type: 'password', autocomplete: 'new-password', placeholder: auth?.password_set ? 'unchanged' : '' });
}

function keptHelp(auth) {
  return auth?.password_set ? 'One is set. Leave it empty to keep it.' : null;
}

/** An asset's name or a URL, as one text. */
export const soundText = (sound) => sound?.asset ?? sound?.url ?? '';

const lines = (value) => value.split(/[\n,]/).map((line) => line.trim()).filter(Boolean);

/** Says out loud what the list means. */
function reachOf(subnets) {
  if (subnets.length === 0) return 'The list is empty: nobody can call this number.';
  if (subnets.some((subnet) => /\/0$/.test(subnet))) return 'The whole internet can call this number. Let callers log in with a password below.';
  return '';
}

function recordOf(inputs) {
  const value = (input) => input.value.trim() || undefined;
  const sound = (input) => {
    const named = value(input);
    return named && (/^[a-z]+:\/\//i.test(named) ? { url: named } : { asset: named });
  };
  const login = (user, password, rest = {}) => {
    if (!value(user) && !password.value) return undefined;
    return { username: user.value.trim(), ...(password.value ? { password: password.value } : {}), ...rest };
  };
  const answers = { ask: 'ask', echo: 'echo', room: { room: inputs.room.value.trim(), peer: value(inputs.peer) } };
  return {
    number: inputs.number.value.trim(),
    app_id: inputs.app.value,
    subnets: lines(inputs.subnets.value),
    auth: login(inputs.authUser, inputs.authPassword, { algorithms: inputs.algorithms.value.split(',') }),
    answer: answers[inputs.answer.value],
    hook: value(inputs.hook),
    hook_content_type: value(inputs.hook) && inputs.hookType.value,
    client_id: value(inputs.client),
    sip_server: value(inputs.server),
    sip_proxy: value(inputs.proxy),
    sip_auth: login(inputs.sipUser, inputs.sipPassword),
    register: inputs.register.value === 'yes' || undefined,
    max_calls: limitOf(inputs.maxCalls),
    max_calls_per_second: limitOf(inputs.maxRate),
    srtp: value(inputs.srtp),
    srtp_keying: value(inputs.keying),
    dtmf: value(inputs.dtmf),
    ringback: sound(inputs.ringback),
    hold_music: sound(inputs.hold),
  };
}
