// What is on the page, out of what the phone is doing.

const KEYS = [
  ['1', ''], ['2', 'ABC'], ['3', 'DEF'], ['4', 'GHI'], ['5', 'JKL'], ['6', 'MNO'],
  ['7', 'PQRS'], ['8', 'TUV'], ['9', 'WXYZ'], ['*', ''], ['0', '+'], ['#', ''],
];
const SPOKEN = { '*': 'star', '#': 'hash' };
const PRESENCE = {
  off: ['ready', 'Ready'],
  connecting: ['trouble', 'Connecting…'],
  waiting: ['waiting', 'Ready for calls'],
  reconnecting: ['trouble', 'Reconnecting…'],
  trouble: ['trouble', 'Cannot receive calls'],
  closed: ['trouble', 'Cannot receive calls'],
  key: ['off', 'Not signed in'],
};
/** Half a minute at ten a second. */
const GRAPH_POINTS = 300;

export const $ = (id) => document.getElementById(id);

/** Builds a keypad; `press` hears of digits, `long` of a 0 held down. */
export function buildKeypad(element, press, long = () => {}) {
  for (const [key, letters] of KEYS) {
    const button = document.createElement('button');
    button.type = 'button';
    button.dataset.key = key;
    button.setAttribute('aria-label', SPOKEN[key] ?? key);
    const small = document.createElement('small');
    small.textContent = letters;
    button.append(key, small);
    let held = null;
    let wasHeld = false;
    button.onpointerdown = () => {
      wasHeld = false;
      held = setTimeout(() => {
        wasHeld = true;
        long(key);
      }, 600);
    };
    button.onpointerup = button.onpointerleave = () => clearTimeout(held);
    button.onclick = () => wasHeld || press(key);
    element.append(button);
  }
}

/** Lets a key typed on the keyboard look pressed. */
export function flash(element, key) {
  const button = [...element.children].find((child) => child.dataset.key === key);
  button?.classList.add('pressed');
  setTimeout(() => button?.classList.remove('pressed'), 120);
}

let shown = 'idle';
/** The session of the call view: after one comes another without a view between. */
let shownSession = null;

function show(view) {
  if (view === shown) return false;
  for (const name of ['idle', 'incoming', 'call']) $(`view-${name}`).hidden = name !== view;
  shown = view;
  return true;
}

export function showIdle() {
  show('idle');
  $('quality').hidden = true;
  document.title = 'Softphone · ringwire';
}

export function showTones(visible) {
  $('tones').hidden = !visible;
  $('keys').setAttribute('aria-expanded', String(visible));
  $('view-call').classList.toggle('with-tones', visible);
}

export function showSession(session) {
  if (session.phase === 'incoming') return showIncoming(session);
  const first = show('call') || session !== shownSession;
  shownSession = session;
  const ended = session.phase === 'ended';
  const reconnecting = session.connection === 'reconnecting' && !ended;
  const text = reconnecting ? 'Reconnecting…' : session.text;
  if (first) resetCall();
  if ($('phase').textContent !== text) announce(`${text}, ${session.who}`);
  const muted = String(session.muted);
  if (!first && $('mute').getAttribute('aria-pressed') !== muted) announce(session.muted ? 'Muted' : 'Unmuted');
  $('phase').textContent = text;
  $('phase').classList.toggle('live', session.phase === 'answered' && !reconnecting);
  $('who').textContent = session.who;
  showInitial($('initial'), session.who);
  const avatar = $('avatar').classList;
  avatar.toggle('ringing', ['preparing', 'calling', 'ringing'].includes(session.phase));
  avatar.toggle('ended', ended && !session.failed);
  avatar.toggle('failed', ended && Boolean(session.failed));
  $('meter-out-label').textContent = session.direction === 'in' ? 'Caller' : 'Callee';
  $('meters').style.visibility = ended ? 'hidden' : '';
  $('controls').hidden = ended;
  $('after').hidden = !ended;
  if (ended) showTones(false);
  $('mute').setAttribute('aria-pressed', muted);
  $('mute').disabled = $('keys').disabled = !session.media;
  const recorded = String(session.recorded);
  if (!first && $('record').getAttribute('aria-pressed') !== recorded) announce(session.recorded ? 'Recording' : 'Not recording');
  $('record').setAttribute('aria-pressed', recorded);
  $('record').disabled = session.phase !== 'answered';
  $('record-label').textContent = session.recorded ? 'Recording' : 'Record';
  $('mute-label').textContent = session.muted ? 'Unmute' : 'Mute';
  $('mute-icon').setAttribute('href', session.muted ? '#i-mic-off' : '#i-mic');
  $('quality').hidden = session.connection === 'none' || ended;
  showSecurity(session);
  document.title = `${text} ${session.who} · Softphone`;
  if (ended) $('done').focus();
  else if (first) $('hangup').focus();
  showTimer(session);
}

function showIncoming(session) {
  const first = show('incoming');
  $('incoming-who').textContent = session.who;
  showInitial($('incoming-initial'), session.who);
  $('incoming-to').textContent = session.to ? `for ${session.to}` : '';
  document.title = `Incoming call: ${session.who}`;
  if (!first) return;
  announce(`${session.text}, ${session.who}`);
  $('accept').focus();
}

function resetCall() {
  showTones(false);
  $('talkers').replaceChildren();
  $('typed').textContent = '';
  $('rating').textContent = 'measuring';
  $('rating').dataset.rating = 'none';
  for (const id of ['q-loss', 'q-jitter', 'q-rtt', 'q-codec']) $(id).textContent = '–';
  graph.in = [];
  graph.out = [];
  showLevels({ input: 0, output: 0 });
}

function showSecurity({ line, connection }) {
  $('secure').hidden = connection !== 'connected';
  const own = 'Encrypted from you to the gateway (DTLS-SRTP)';
  const kind = typeof line === 'string' ? line : line?.kind;
  const rest = { sdes: '; phone line encrypted (SDES-SRTP)', dtls: '; phone line encrypted (DTLS-SRTP)', none: '; phone line not encrypted' };
  $('secure-text').textContent = own + (rest[kind] ?? '');
}

export function showTimer(session) {
  const { answeredAt, endedAt } = session;
  $('timer').textContent = answeredAt ? clock((endedAt ?? Date.now()) - answeredAt) : '';
}

/** From here up somebody speaks, where only his loudness is known. */
const SPEAKS = 0.15;
const talkers = { levels: { input: 0, output: 0 } };

/** Everybody in the call, and who speaks. A relayed room does not say: then our own meters do. */
export function showTalkers({ peers, sound }) {
  const talks = ({ peer, audio }) => {
    if (sound === 'mixed' && audio) return audio.speaking === true;
    const { input, output } = talkers.levels;
    return (peer === 'browser' ? input : output) > SPEAKS;
  };
  $('talkers').replaceChildren(...peers.map((peer) => {
    const item = document.createElement('li');
    item.dataset.peer = peer.peer;
    item.dataset.talking = String(talks(peer));
    item.textContent = peer.peer === 'browser' ? 'You' : peer.peer;
    if (peer.audio?.muted) item.textContent += ' (muted)';
    return item;
  }));
}

const graph = { in: [], out: [] };

export function showLevels({ input, output }) {
  talkers.levels = { input, output };
  for (const [name, level] of [['in', input], ['out', output]]) {
    const meter = $(`meter-${name}`);
    meter.firstElementChild.style.transform = `scaleX(${level.toFixed(3)})`;
    meter.setAttribute('aria-valuenow', Math.round(level * 100));
    const points = graph[name];
    points.push(level);
    if (points.length > GRAPH_POINTS) points.shift();
    const offset = GRAPH_POINTS - points.length;
    $(`graph-${name}`).setAttribute('d', points.map((point, n) => `${n ? 'L' : 'M'}${offset + n} ${(54 - point * 52).toFixed(1)}`).join(''));
  }
}

export function showQuality({ lossPercent, jitterMs, roundTripMs, codec, rating }) {
  $('q-loss').textContent = lossPercent === null ? '–' : `${lossPercent.toFixed(1)} %`;
  $('q-jitter').textContent = jitterMs === null ? '–' : `${Math.round(jitterMs)} ms`;
  $('q-rtt').textContent = roundTripMs === null ? '–' : `${Math.round(roundTripMs)} ms`;
  $('q-codec').textContent = codec ?? '–';
  $('rating').textContent = rating === 'silent' ? 'nothing heard' : rating;
  $('rating').dataset.rating = rating;
}

export function showPresence(state) {
  const [kind, text] = PRESENCE[state];
  $('presence').dataset.state = kind;
  $('presence-text').textContent = text;
}

export function showNotice(text, { kind = 'error', action = null, run = null } = {}) {
  $('notice').dataset.kind = kind;
  $('notice-text').textContent = text;
  $('notice-action').hidden = !action;
  $('notice-action').textContent = action ?? '';
  $('notice-action').onclick = () => {
    hideNotice();
    run?.();
  };
  $('notice').hidden = false;
}

export function hideNotice() {
  $('notice').hidden = true;
}

export function showRecent(calls, dial) {
  $('recent').replaceChildren(...calls.slice(0, 6).map((call) => recentCall(call, dial)));
  $('recent-empty').hidden = calls.length > 0;
  $('forget').hidden = calls.length === 0;
}

function recentCall(call, dial) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = call.answered ? '' : 'missed';
  button.setAttribute('aria-label', `${call.who}, ${call.text}. Call`);
  const way = document.createElement('span');
  way.className = 'way';
  way.innerHTML = `<svg aria-hidden="true"><use href="#i-${call.direction === 'in' ? 'in' : 'out'}"/></svg>`;
  const middle = document.createElement('span');
  const who = document.createElement('strong');
  who.textContent = call.who;
  const text = document.createElement('small');
  text.textContent = call.answered ? `${call.text} · ${clock(call.duration)}` : call.text;
  middle.append(who, text);
  const time = document.createElement('time');
  time.textContent = new Date(call.at).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
  button.append(way, middle, time);
  button.onclick = () => dial(call.who);
  const item = document.createElement('li');
  item.append(button);
  return item;
}

export function announce(text) {
  $('announce').textContent = text;
}

/** The first letter of a name; a silhouette for a number. */
function showInitial(element, who) {
  const letter = /^\p{L}/u.exec(who)?.[0].toUpperCase() ?? '';
  if (element.textContent === letter && element.childNodes.length > 0) return;
  element.parentElement.classList.toggle('nameless', letter === '');
  if (letter) element.textContent = letter;
  else element.innerHTML = '<svg aria-hidden="true"><use href="#i-person"/></svg>';
}

function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const two = (n) => String(n).padStart(2, '0');
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${two(minutes)}:${two(seconds % 60)}`
    : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(seconds % 60)}`;
}
