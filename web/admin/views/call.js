// One live call: both legs, what each says of the sound, and its end.

import { get } from '../api.js';
import { badge, button, empty, facts, fill, h, spoken } from '../dom.js';
import { callState, clock, count, endReason, fullTime, milliseconds, now, percent, security, sipCode } from '../format.js';
import { EXPLANATION, ofLeg, rating } from '../quality.js';
import { hangUp, others, roomsOf } from './calls.js';

export const SECTION = 'calls';
const REFRESH_MS = 2000;

export async function show(view) {
  const [id] = view.rest;
  const back = h('a', { class: 'button quiet', href: '#/calls' }, 'All calls');
  const end = button('Hang up', () => hangUp(state.call), { kind: 'danger', picture: 'hangup' });
  const head = view.head('Call', back, end);
  const body = h('div', {});
  const state = { call: null, drawn: '' };
  view.root.append(head, body);
  end.hidden = true;

  const refresh = async () => {
    if (state.call?.state === 'ended') return;
    const { call } = await get(['calls', id], {}, { signal: view.signal });
    const rooms = call.state === 'ended' ? new Map() : await roomsOf([call], 1, view.signal);
    state.call = call;
    const peers = others(call, rooms);
    end.hidden = ['ended', 'ending'].includes(call.state);
    const drawn = JSON.stringify([call, peers]);
    if (drawn !== state.drawn) fill(body, sheet(call, peers));
    state.drawn = drawn;
  };
  try {
    await refresh();
  } catch (error) {
    if (error.status !== 404) throw error;
    fill(body, empty('This call is not there any more', 'Live calls are known for a minute after their end; its record may still be there.',
      h('a', { class: 'button primary', href: `#/records/${encodeURIComponent(id)}` }, 'Look for its record')));
    return;
  }
  view.every(REFRESH_MS, async () => {
    try {
      await refresh();
    } catch (error) {
      if (error.status !== 404) throw error;
      end.hidden = true;
      state.call = { ...state.call, state: 'ended' };
    }
  });
}

function sheet(call, peers) {
  const [word, kind] = callState(call);
  const running = call.answered_ms && !call.ended_ms;
  return [
    h('section', { class: 'card', 'aria-label': 'Overview' },
      h('div', { class: 'sheet-head' },
        h('p', { class: 'big' }, call.from_number || 'unknown', h('span', { class: 'arrow', 'aria-hidden': 'true' }, ' → '), spoken(' to '), call.to_number || 'unknown'),
        badge(word, kind),
        call.answered_ms && h('p', { class: 'big soft' }, h('span', { data: running ? { since: call.answered_ms } : {} }, clock((call.ended_ms ?? now()) - call.answered_ms)))),
      facts([
        ['Direction', call.direction === 'incoming' ? 'Incoming' : 'Outgoing'],
        ['App', call.app_id],
        ['Room', call.streaming?.room],
        ['Began', fullTime(call.created_ms)],
        ['Answered', call.answered_ms && fullTime(call.answered_ms)],
        ['Ended', call.ended_ms && fullTime(call.ended_ms)],
        ['How it ended', endReason(call.end_reason)],
        ['SIP status', sipCode(call.sip_code)],
        ['Signalling peer', call.peer_address],
        ['Call id', h('code', {}, call.call_id)],
        ['SIP Call-ID', call.sip_call_id && h('code', {}, call.sip_call_id)],
        ['Shard', call.shard],
      ])),
    h('div', { class: 'legs' },
      leg(call.streaming?.peer ?? 'Telephone', 'Telephone (SIP)', call.media, security(call.security, call.srtp_suite)),
      peers.map((peer) => leg(peer.peer, peer.kind === 'webrtc' ? 'Browser (WebRTC)' : 'Telephone (SIP)', peer.media,
        peer.kind === 'webrtc' ? security('dtls') : null, peer))),
    qualityNote(),
  ];
}

/** Where the figures of quality come from. */
export function qualityNote() {
  return h('p', { class: 'soft note' }, EXPLANATION);
}

function leg(name, kind, media, protection, peer = null) {
  const isCall = peer?.kind === 'sip' && peer.call_id;
  return h('section', { class: 'card leg', 'aria-label': `Leg ${name}` },
    h('div', { class: 'card-head' }, h('h2', {}, name), h('span', { class: 'soft' }, kind)),
    legFigures(media),
    facts([
      ['Codec', media?.codec],
      ['Protection', protection],
      ['Our address', media?.local],
      ['Its address', media?.remote],
      ['Last packet', media?.last_packet_ms_ago !== undefined && media?.last_packet_ms_ago !== null ? `${milliseconds(media.last_packet_ms_ago)} ago` : null],
      ['Its call', isCall && h('a', { href: `#/call/${encodeURIComponent(peer.call_id)}` }, 'Show')],
    ]));
}

/** What one leg's media did, both ways; also for records. */
export function legFigures(media) {
  if (!media) return h('p', { class: 'soft' }, 'No sound has been agreed on yet.');
  const { from, to } = ofLeg(media);
  const row = (label, way, packets) => h('tr', {},
    h('th', { scope: 'row' }, label),
    h('td', {}, way && way.mos !== null ? badge(way.mos.toFixed(1), rating(way.mos)) : '–'),
    h('td', {}, way ? percent(way.loss) : '–'),
    h('td', {}, way ? milliseconds(way.jitter) : '–'),
    h('td', {}, count(packets)));
  return h('div', { class: 'scroll', tabindex: '0', role: 'group', 'aria-label': 'Quality in both directions' }, h('table', { class: 'plain' },
    h('thead', {}, h('tr', {}, ['Direction', 'MOS', 'Loss', 'Jitter', 'Packets'].map((label) => h('th', { scope: 'col' }, label)))),
    h('tbody', {}, row('From it', from, media.packets_received), row('To it', to, media.packets_sent))),
  h('p', { class: 'soft' }, Number.isFinite(media.round_trip_ms) ? `Round trip ${milliseconds(media.round_trip_ms)}` : 'Round trip: not reported by this side'));
}
