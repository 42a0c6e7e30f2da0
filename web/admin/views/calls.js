// Live calls: what goes on now, and a way to end it.

import { get, remove } from '../api.js';
import { badge, button, empty, fill, h, icon, setText, spoken, table } from '../dom.js';
import { callState, clock, count, counted, milliseconds, now, percent, security } from '../format.js';
import { live } from '../live.js';
import { EXPLANATION, rating, worst } from '../quality.js';
import { complain, confirm, notify, searchBox } from '../ui.js';
import { figures } from './figures.js';

export const SECTION = 'calls';
const LIMIT = 200;
const REFRESH_MS = 3000;
/** A call that has ended stays for a moment, so that nobody clicks on its neighbour. */
const LINGER_MS = 4000;
/** Peers of rooms are asked for up to this many calls; beyond, that costs more than it says. */
const ROOMS_UP_TO = 500;

export async function show(view) {
  const state = { search: view.query.search ?? '', shown: new Map(), rooms: new Map(), total: 0 };
  const list = table({
    caption: 'Live calls',
    key: (call) => call.call_id,
    rowClass: (call) => (call.gone ? 'gone' : ''),
    columns: columns(state),
  });
  const place = h('div', { class: 'card flush calls' });
  const said = h('p', { class: 'soft', role: 'status' });
  const search = searchBox('Search calls', state.search, (words) => {
    state.search = words;
    view.setQuery({ search: words });
    state.shown.clear();
    refresh().catch(complain);
  }, 'Number, room, address or call id');
  const tiles = figures(view.signal);
  view.root.append(view.head('Live calls', search), tiles, place, h('div', { class: 'below' }, said));

  let version = null;
  const refresh = async () => {
    const data = await get('calls', { search: state.search, limit: LIMIT }, { signal: view.signal });
    state.total = data.total ?? data.calls.length;
    state.rooms = await roomsOf(data.calls, state.total, view.signal);
    keep(state.shown, data.calls);
    draw();
  };
  const draw = () => {
    const calls = [...state.shown.values()];
    if (calls.length === 0) return fill(place, nothing(state.search));
    if (list.element.parentNode !== place) fill(place, list.element);
    list.show(calls);
    const more = state.total > LIMIT ? `The newest ${count(LIMIT)} of ${counted(state.total, 'call')} are shown; search for others.` : '';
    setText(said, more);
    return undefined;
  };
  live.addEventListener('snapshot', ({ detail }) => {
    if (detail.calls_version === version) return;
    version = detail.calls_version;
    refresh().catch(() => {});
  }, { signal: view.signal });
  fill(place, h('p', { class: 'loading' }, 'Loading…'));
  await refresh();
  view.every(REFRESH_MS, refresh);
}

/** The new calls, and for a moment those that have just gone. */
function keep(shown, calls) {
  const there = new Set(calls.map((call) => call.call_id));
  const gone = [...shown.values()].filter((call) => !there.has(call.call_id));
  const kept = [...shown.keys()];
  shown.clear();
  for (const call of calls) shown.set(call.call_id, call);
  for (const call of gone) {
    const since = call.gone ?? Date.now();
    if (Date.now() - since < LINGER_MS) shown.set(call.call_id, { ...call, gone: since, state: 'ended', ended_ms: call.ended_ms ?? now() });
  }
  // Where a gone call stood, it stays until it leaves.
  const order = [...shown.values()].sort((a, b) => b.created_ms - a.created_ms || kept.indexOf(a.call_id) - kept.indexOf(b.call_id));
  shown.clear();
  for (const call of order) shown.set(call.call_id, call);
}

const roomKey = (app, room) => `${app}\n${room}`;

/** Who else is in the rooms, as far as the calls do not say. */
export async function roomsOf(calls, total, signal) {
  const rooms = new Map();
  const isWanted = calls.some((call) => call.streaming && !call.others);
  if (!isWanted || total > ROOMS_UP_TO) return rooms;
  for (const room of (await get('rooms', {}, { signal })).rooms) rooms.set(roomKey(room.app_id, room.room), room.peers);
  return rooms;
}

/** The peers of the call's room besides itself. */
export function others(call, rooms) {
  if (call.others) return call.others;
  const peers = rooms.get(roomKey(call.app_id, call.streaming?.room)) ?? [];
  return peers.filter((peer) => peer.call_id !== call.call_id);
}

const kindOf = (peer) => (peer.kind === 'webrtc' ? 'browser' : 'phone');

function columns(state) {
  return [
    { label: 'State', className: 'state', version: (call) => [call.state, call.held, call.direction].join(), nodes: (call) => stateOf(call) },
    { label: 'From and to', className: 'main', version: (call) => `${call.from_number} ${call.to_number}`, nodes: (call) => numbersOf(call) },
    { label: 'App', className: 'app', text: (call) => call.app_id ?? '' },
    {
      label: 'Room',
      className: 'wide',
      version: (call) => JSON.stringify([call.state, call.streaming, others(call, state.rooms)]),
      nodes: (call) => roomOf(call, state.rooms),
    },
    { label: 'Codec', className: 'codec', version: (call) => [call.media?.codec, call.security].join(), nodes: (call) => soundOf(call) },
    { label: 'Time', className: 'number', version: (call) => [call.answered_ms, call.ended_ms].join(), nodes: (call) => durationOf(call) },
    { label: 'Quality', className: 'quality', version: (call) => qualityWords(call).join(), nodes: (call) => qualityOf(call) },
    { label: 'Hang up', hidden: true, className: 'act', once: (current) => hangUpButton(current) },
  ];
}

export function stateOf(call) {
  const [word, kind] = callState(call);
  const incoming = call.direction === 'incoming';
  const way = h('span', { class: `way ${call.direction}`, title: incoming ? 'Incoming' : 'Outgoing' }, icon(incoming ? 'in' : 'out'), spoken(incoming ? 'Incoming, ' : 'Outgoing, '));
  return [way, badge(word, kind)];
}

export function numbersOf(call) {
  return h('a', { href: `#/call/${encodeURIComponent(call.call_id)}`, class: 'numbers' },
    h('span', {}, call.from_number || 'unknown'), h('span', { class: 'arrow', 'aria-hidden': 'true' }, ' → '), spoken(' to '), h('span', {}, call.to_number || 'unknown'));
}

function roomOf(call, rooms) {
  if (!call.streaming) return h('span', { class: 'soft' }, call.state === 'active' ? 'no room' : 'not in a room yet');
  const peers = others(call, rooms);
  const company = peers.length === 0 ? 'alone' : `with ${peers.map((peer) => `${peer.peer} (${kindOf(peer)})`).join(', ')}`;
  return [h('span', { class: 'strong' }, call.streaming.room), ' ', h('span', { class: 'second' }, company)];
}

function soundOf(call) {
  const encrypted = call.security && call.security !== 'none';
  const words = security(call.security, call.srtp_suite);
  return [h('span', {}, call.media?.codec ?? '–'), encrypted && h('span', { class: 'lock', title: words }, icon('lock'), spoken(` ${words}`))];
}

export function durationOf(call) {
  const begin = call.answered_ms;
  if (!begin) return h('span', { class: 'soft' }, '–', spoken(' not answered'));
  if (call.ended_ms) return clock(call.ended_ms - begin);
  return h('span', { data: { since: begin } }, clock(now() - begin));
}

/** MOS, its colour and its reasons as shown; what is not measured is not shown. */
function qualityWords(call) {
  const way = worst(call.media);
  if (!way) return ['–'];
  const reasons = [`${percent(way.loss)} lost · ${milliseconds(way.jitter)} jitter`];
  if (way.roundTrip !== null) reasons.push(`${milliseconds(way.roundTrip)} round trip`);
  return [way.mos.toFixed(1), rating(way.mos), ...reasons];
}

function qualityOf(call) {
  const [score, kind, ...reasons] = qualityWords(call);
  if (!kind) return h('span', { class: 'soft' }, '–');
  return [badge(score, kind, EXPLANATION), h('span', { class: 'second' }, reasons.map((words) => [' ', h('span', {}, words)]))];
}

function hangUpButton(current) {
  const { from_number: from, to_number: to } = current();
  return button(null, () => hangUp(current()), { kind: 'danger small', picture: 'hangup', name: `Hang up ${from || 'unknown'} to ${to || 'unknown'}`, title: 'Hang up' });
}

/** Asks, and ends the call. */
export async function hangUp(call) {
  const who = `${call.from_number || 'unknown'} → ${call.to_number || 'unknown'}`;
  const sure = await confirm('Hang up this call?', `${who}, app ${call.app_id}. Both sides hear the call end at once.`, 'Hang up');
  if (!sure) return false;
  try {
    await remove(['calls', call.call_id]);
    notify(`Hung up ${who}.`);
    return true;
  } catch (error) {
    if (error.code !== 'CALL_NOT_FOUND') complain(error);
    else notify('This call had ended already.', 'info');
    return false;
  }
}

function nothing(search) {
  if (search) return empty('No live call matches', 'Calls that have ended are among the call records.', h('a', { class: 'button quiet', href: `#/records?number=${encodeURIComponent(search)}` }, 'Search the records'));
  return empty('Nobody is on the phone', 'Calls appear here the moment they begin. For the first one, add a number that a trunk or phone may call, then test whether a call to it would be accepted.',
    h('a', { class: 'button primary', href: '#/numbers' }, 'Numbers'), h('a', { class: 'button quiet', href: '#/test' }, 'Test a call'));
}
