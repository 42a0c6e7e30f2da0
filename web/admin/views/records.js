// Call records: every call that ended, the newest first.

import { address, get } from '../api.js';
import { badge, button, empty, facts, fill, h, icon, spoken, table } from '../dom.js';
import { RESULT_NAMES, callResult, clock, day, days, endReason, fullTime, security, sipCode, time } from '../format.js';
import { complain, cursorPages, field, searchBox, select } from '../ui.js';
import { legFigures, qualityNote } from './call.js';
import { stateOf } from './calls.js';
import { ofCall as recordingsOf } from './recordings.js';

export const SECTION = 'records';
const LIMIT = 50;

export async function show(view) {
  if (view.rest[0]) return one(view, view.rest[0]);
  const query = { number: '', from: '', to: '', direction: '', result: '', app: '', ...view.query };
  const place = h('div', { class: 'card flush' });
  const list = table({ caption: 'Call records', key: (record) => record.call_id, columns: COLUMNS });
  const csv = h('a', { class: 'button quiet', download: `ringwire-calls-${day(new Date())}.csv` }, icon('down'), h('span', {}, 'CSV'));
  const pages = cursorPages({
    load: (cursor) => {
      const asked = filters(query);
      csv.href = address('records.csv', asked);
      return get('records', { ...asked, limit: LIMIT, cursor }, { signal: view.signal });
    },
    show: ({ records }) => {
      if (records.length === 0) return fill(place, nothing(query));
      if (list.element.parentNode !== place) fill(place, list.element);
      return list.show(records);
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
  view.root.append(
    view.head('Call records', button('Refresh', () => pages.refresh().catch(complain), { picture: 'again' }), csv),
    h('div', { class: 'filters' },
      searchBox('Search by number', query.number, (number) => change({ number }), 'Calling or called number'),
      pick('from', 'From', h('input', { type: 'date', value: query.from })),
      pick('to', 'To', h('input', { type: 'date', value: query.to })),
      pick('direction', 'Direction', select([['', 'Both'], ['incoming', 'Incoming'], ['outgoing', 'Outgoing']], query.direction)),
      pick('result', 'Result', select([['', 'Any'], ...RESULT_NAMES], query.result))),
    place, pages.element);
  try {
    await pages.refresh();
  } catch (error) {
    if (error.status !== 404) throw error;
    fill(place, empty('This gateway keeps no call records', 'Records are off in its configuration.'));
  }
  return undefined;
}

const filters = ({ number, from, to, direction, result, app }) => ({ number, direction, result, app, ...days(from, to) });

const COLUMNS = [
  { label: 'Began', className: 'when', text: (record) => time(record.created_ms) },
  {
    label: 'Result',
    className: 'state',
    version: (record) => [record.direction, callResult(record)[0]].join(),
    nodes: (record) => [stateOf({ ...record, state: 'ended' })[0], badge(...callResult(record))],
  },
  {
    label: 'From and to',
    className: 'main',
    version: (record) => record.call_id,
    nodes: (record) => h('a', { href: `#/records/${encodeURIComponent(record.call_id)}`, class: 'numbers' },
      h('span', {}, record.from_number || 'unknown'), h('span', { class: 'arrow', 'aria-hidden': 'true' }, ' → '), spoken(' to '), h('span', {}, record.to_number || 'unknown')),
  },
  { label: 'App', className: 'app', text: (record) => record.app_id },
  { label: 'Talked', className: 'number', text: (record) => talked(record) },
  { label: 'How it ended', className: 'wide', text: (record) => ended(record) },
];

const talked = (record) => (record.answered_ms && record.ended_ms ? clock(record.ended_ms - record.answered_ms) : '–');

/** Before an answer the SIP status says most, afterwards the reason. */
function ended(record) {
  if (record.error) return record.error;
  if (!record.answered_ms && record.sip_code >= 300) return sipCode(record.sip_code);
  return endReason(record.end_reason) ?? '–';
}

async function one(view, id) {
  view.root.append(view.head('Call record', h('a', { class: 'button quiet', href: '#/records' }, 'All records')));
  let record;
  try {
    ({ record } = await get(['records', id], {}, { signal: view.signal }));
  } catch (error) {
    if (error.status !== 404) throw error;
    view.root.append(empty('There is no record of this call', 'It may be too old, or it has not ended yet.', h('a', { class: 'button quiet', href: `#/call/${encodeURIComponent(id)}` }, 'Look among the live calls')));
    return;
  }
  const hookLink = h('a', { href: `#/hooks?call=${encodeURIComponent(id)}` }, 'Show');
  view.root.append(
    h('section', { class: 'card', 'aria-label': 'Overview' },
      h('div', { class: 'sheet-head' },
        h('p', { class: 'big' }, record.from_number || 'unknown', h('span', { class: 'arrow', 'aria-hidden': 'true' }, ' → '), spoken(' to '), record.to_number || 'unknown'),
        badge(...callResult(record)),
        h('p', { class: 'big soft' }, talked(record))),
      facts([
        ['Direction', record.direction === 'incoming' ? 'Incoming' : 'Outgoing'],
        ['App', record.app_id],
        ['Room', record.room],
        ['Name in the room', record.peer],
        ['Began', fullTime(record.created_ms)],
        ['Rang', record.ringing_ms && fullTime(record.ringing_ms)],
        ['Answered', record.answered_ms && fullTime(record.answered_ms)],
        ['Ended', record.ended_ms && fullTime(record.ended_ms)],
        ['How it ended', endReason(record.end_reason)],
        ['What went wrong', record.error],
        ['SIP status', sipCode(record.sip_code)],
        ['Signalling peer', record.peer_address],
        ['Protection', security(record.security, record.srtp_suite)],
        ['Codec', record.media?.codec],
        ['Hook deliveries', hookLink],
        ['Call id', h('code', {}, record.call_id)],
        ['SIP Call-ID', record.sip_call_id && h('code', {}, record.sip_call_id)],
      ])),
    h('section', { class: 'card' }, h('h2', {}, 'Sound'), legFigures(record.media), qualityNote()),
    recordingsOf(view, id));
}

function nothing({ number, from, to, direction, result }) {
  if (number || from || to || direction || result) return empty('No call matches', 'Numbers are compared whole, without + and separators. Widen the dates or take another result.');
  return empty('No calls yet', 'When a call ends, its record is here: who, when, how long, how it sounded and why it ended.', h('a', { class: 'button quiet', href: '#/calls' }, 'Live calls'));
}
