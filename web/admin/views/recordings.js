// Recordings of calls and rooms: found, heard, fetched and removed.

import { ApiError, address, check, get, remove } from '../api.js';
import { badge, button, empty, fill, h, icon, setText, spoken, table } from '../dom.js';
import { bytes, clock, count, counted, days, milliseconds, time } from '../format.js';
import { complain, confirm, cursorPages, field, notify, searchBox, select } from '../ui.js';

export const SECTION = 'recordings';
const LIMIT = 50;
const REFRESH_MS = 5000;
/** Gaps and pauses that are told one by one. */
const TOLD_SPANS = 10;

const REASONS = { disk_full: 'Disk full', write_failed: 'Not written', codec_failed: 'Not encoded', lost: 'Lost' };

export async function show(view) {
  const query = { room: '', from: '', to: '', app: '', call: '', ...view.query };
  const place = h('div', { class: 'card flush recordings' });
  const player = makePlayer(view.signal);
  const again = () => pages.refresh().catch(complain);
  const list = listOf({ player, again });
  const pages = cursorPages({
    load: (cursor) => get('recordings', { ...filters(query), limit: LIMIT, cursor }, { signal: view.signal }),
    show: ({ recordings }) => {
      if (recordings.length === 0) return fill(place, nothing(query));
      if (list.element.parentNode !== place) fill(place, list.element);
      return list.show(recordings);
    },
  });
  const change = (values) => {
    Object.assign(query, values);
    view.setQuery(query);
    pages.first().catch(complain);
  };
  const pick = (name, label, input) => {
    input.addEventListener('change', () => change({ [name]: input.value }));
    return field(name, label, input);
  };
  fill(place, h('p', { class: 'loading' }, 'Loading…'));
  const { apps } = await get('apps', {}, { signal: view.signal });
  const names = [...new Set([...apps.map((app) => app.app_id), query.app])].filter(Boolean).sort();
  view.root.append(view.head('Recordings'),
    h('div', { class: 'filters' },
      searchBox('Search by room', query.room, (room) => change({ room }), 'Name of the room'),
      pick('app', 'App', select([['', 'All'], ...names.map((name) => [name, name])], query.app)),
      pick('from', 'From', h('input', { type: 'date', value: query.from })),
      pick('to', 'To', h('input', { type: 'date', value: query.to })),
      query.call && h('p', { class: 'chip' }, 'of call ', h('code', {}, query.call.slice(0, 12)), ' ', h('a', { href: '#/recordings' }, 'Show all'))),
    place, pages.element, player.element);
  await pages.refresh();
  view.every(REFRESH_MS, pages.refresh);
}

/** The recordings of one call, for its record; empty where there are none. */
export function ofCall(view, id) {
  const place = h('div', {});
  const player = makePlayer(view.signal);
  const again = async () => {
    const { recordings } = await get('recordings', { call_id: id, limit: LIMIT }, { signal: view.signal });
    if (recordings.length === 0) return fill(place);
    if (!list.element.isConnected) fill(place, h('section', { class: 'card flush recordings' }, h('h2', { class: 'inset' }, 'Recordings'), list.element), player.element);
    return list.show(recordings);
  };
  const list = listOf({ player, again: () => again().catch(complain), inCall: true });
  view.every(REFRESH_MS, again);
  return place;
}

function filters({ room, from, to, app, call }) {
  const { since, until } = days(from, to);
  return { room, app, call_id: call, from: since, to: until };
}

const listOf = (way) => table({ caption: 'Recordings', key: (recording) => recording.recording_id, columns: columns(way) });

function columns({ player, again, inCall = false }) {
  return [
    { label: 'Began', className: 'when', text: (recording) => time(recording.started_ms) },
    { label: 'State', className: 'state', version: (recording) => stateWord(recording).join(), nodes: (recording) => badge(...stateWord(recording)) },
    { label: 'Room and peer', className: 'main', version: (recording) => recording.recording_id, nodes: ({ room, peer }) => [room, peer && second(peer)] },
    { label: inCall ? 'App' : 'App and call', className: 'app', version: (recording) => recording.recording_id, nodes: ({ app_id: app, call_id: id }) => [app, !inCall && second(id ? recordLink(id) : 'whole room')] },
    { label: 'Length', className: 'number', version: ({ state, duration_ms: length, size }) => [state, length, size].join(), nodes: (recording) => (isOver(recording) ? [clock(recording.duration_ms), second(bytes(recording.size))] : '–') },
    { label: 'Gaps', className: 'number', version: ({ gaps, pauses }) => JSON.stringify([gaps, pauses]), nodes: losses },
    { label: 'Upload', version: (recording) => uploadWord(recording).join(), nodes: (recording) => uploadBadge(...uploadWord(recording)) },
    { label: 'Actions', hidden: true, className: 'act', version: ({ state, local, size }) => [state, local, size].join(), nodes: (recording) => actions(recording, player, again) },
  ].filter(Boolean);
}

const second = (...content) => h('span', { class: 'second' }, content);
const recordLink = (id) => h('a', { href: `#/records/${encodeURIComponent(id)}` }, spoken('Record of call '), h('code', {}, id.slice(0, 8)));
const uploadBadge = (word, ...rest) => (rest.length > 0 ? badge(word, ...rest) : word);
const isOver = ({ state }) => state !== 'recording';
const nameOf = ({ room, peer, started_ms: began }) => `${[room, peer].filter(Boolean).join(' · ')}, ${time(began)}`;
const audioOf = ({ recording_id: id }) => ['recordings', id, 'audio'];

function stateWord({ state, reason, recovered }) {
  if (state === 'recording') return ['Recording', 'info'];
  if (state === 'failed') return [REASONS[reason] ?? 'Failed', 'poor', 'What was recorded up to then is there'];
  return recovered ? ['Cut off', 'fair', 'The gateway was killed meanwhile; the file ends where it was'] : ['Ready', 'good'];
}

/** Where the file is, as a word and perhaps a badge's colour and explanation. */
function uploadWord({ upload, upload_error: error, upload_attempts: attempts, local, object }) {
  if (upload === 'done') return local ? ['Uploaded', 'good', object] : ['In the store', 'none', object];
  if (upload === 'pending') return error ? ['Failing', 'fair', `${counted(attempts, 'attempt')}: ${error}`] : ['Waiting', 'info'];
  return ['–'];
}

function losses({ gaps, pauses }) {
  if (gaps.length + pauses.length === 0) return '–';
  const total = gaps.reduce((sum, gap) => sum + gap.duration_ms, 0);
  const told = (word, spans) => spans.slice(0, TOLD_SPANS).map((each) => `${word} at ${clock(each.at_ms)} of ${milliseconds(each.duration_ms)}`);
  return h('span', { title: [...told('Gap', gaps), ...told('Pause', pauses)].join('\n') },
    gaps.length > 0 && `${count(gaps.length)} · ${milliseconds(total)}`,
    pauses.length > 0 && second(counted(pauses.length, 'pause')));
}

function actions(recording, player, again) {
  if (!isOver(recording)) return '';
  const name = nameOf(recording);
  const canBeHeard = recording.local && recording.size > 0;
  return [
    canBeHeard && button('Play', () => player.play(recording), { kind: 'quiet small', picture: 'play', name: `Play ${name}` }),
    canBeHeard && h('a', { class: 'button quiet small', href: address(audioOf(recording)), download: '', 'aria-label': `Download ${name}`, title: 'Download' }, icon('down')),
    button('Delete', () => discard(recording, player, again), { kind: 'danger small', name: `Delete ${name}` }),
  ];
}

async function discard(recording, player, again) {
  const where = recording.upload === 'done' ? 'here and in the object store' : 'from the disk';
  const sure = await confirm('Delete this recording?', `${nameOf(recording)}: the file is removed ${where}, and nobody can hear it again.`, 'Delete');
  if (!sure) return;
  player.stop(recording);
  try {
    await remove(['recordings', recording.recording_id]);
    notify('The recording is deleted.');
  } catch (error) {
    complain(error);
  }
  again();
}

/** One player for a list, so that only one recording is heard at a time. */
function makePlayer(signal) {
  const what = h('p', { class: 'strong' });
  const audio = h('audio', { controls: true, preload: 'metadata' });
  const element = h('section', { class: 'card player', 'aria-label': 'Player', hidden: true },
    what, audio, button(null, () => stop(), { kind: 'icon', picture: 'close', name: 'Close the player' }));
  let current = null;
  let triedAgain = false;

  const play = (recording) => {
    current = recording;
    triedAgain = false;
    setText(what, nameOf(recording));
    audio.setAttribute('aria-label', nameOf(recording));
    audio.src = address(audioOf(recording));
    element.hidden = false;
    resume();
  };
  // What goes wrong is told by the `error` event; where a browser wants a
  // click first, the controls are there for it.
  const resume = () => audio.play().catch(() => {});
  const stop = (recording = current) => {
    if (!current || recording.recording_id !== current.recording_id) return;
    current = null;
    element.hidden = true;
    audio.pause();
    audio.removeAttribute('src');
    audio.load();
  };
  audio.addEventListener('error', async () => {
    const failed = current;
    if (!failed) return;
    const place = audio.currentTime;
    try {
      // The element does not say why; this does, or asks to log in again.
      await check(audioOf(failed), { signal });
      if (current !== failed) return;
      if (triedAgain) throw new ApiError('NOT_PLAYED', 'this browser cannot play the recording; download it');
      triedAgain = true;
      audio.load();
      audio.currentTime = place;
      resume();
    } catch (error) {
      stop(failed);
      if (!signal.aborted) complain(error);
    }
  });
  signal.addEventListener('abort', () => stop());
  return { element, play, stop };
}

function nothing({ room, from, to, app, call }) {
  if (room || from || to || app || call) return empty('No recording matches', 'The name of a room is compared whole. Widen the dates or take another app.');
  return empty('No recordings yet', 'A call or a room is recorded when its app asks for it. What was recorded can be heard, fetched and deleted here.');
}
