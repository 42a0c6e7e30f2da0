// Hook deliveries: events on their way to apps, and those that did not arrive.

import { get, post, remove } from '../api.js';
import { ago, badge, button, empty, facts, fill, h, setText, table } from '../dom.js';
import { count, fullTime, relative, time } from '../format.js';
import { complain, confirm, cursorPages, notify, segments } from '../ui.js';

export const SECTION = 'hooks';
const LIMIT = 50;
const REFRESH_MS = 4000;
const FILTERS = [['', 'All'], ['pending', 'On their way'], ['dead', 'Given up'], ['delivered', 'Delivered']];

function stateWord({ state, attempts, last_error: error }) {
  if (state === 'delivered') return ['Delivered', 'good'];
  if (state === 'dead') return ['Given up', 'poor'];
  if (state === 'sending') return ['Being sent', 'info'];
  return state === 'failed' || error || attempts > 0 ? ['Failing', 'fair'] : ['Waiting', 'info'];
}

export async function show(view) {
  if (view.rest[0]) return one(view, view.rest[0]);
  const query = { state: '', app: '', call: '', ...view.query };
  const place = h('div', { class: 'card flush' });
  const summary = h('p', { class: 'soft', role: 'status' });
  const again = () => pages.refresh().catch(complain);
  const list = table({ caption: 'Hook deliveries', key: (delivery) => delivery.id, columns: columns(again) });
  const pages = cursorPages({
    load: (before) => get('hooks', { state: query.state, app: query.app, call_id: query.call, limit: LIMIT, before }, { signal: view.signal }),
    show: ({ deliveries, counts }) => {
      if (counts) setText(summary, `${count(counts.pending)} on their way · ${count(counts.dead)} given up`);
      if (deliveries.length === 0) return fill(place, nothing(query));
      if (list.element.parentNode !== place) fill(place, list.element);
      return list.show(deliveries);
    },
  });
  const choose = (state) => {
    query.state = state;
    view.setQuery(query);
    pages.first().catch(complain);
  };
  fill(place, h('p', { class: 'loading' }, 'Loading…'));
  view.root.append(view.head('Hook deliveries'),
    h('div', { class: 'filters' }, segments('Which deliveries', FILTERS, query.state, choose), summary,
      query.call && h('p', { class: 'chip' }, 'of call ', h('code', {}, query.call.slice(0, 12)), ' ', h('a', { href: '#/hooks' }, 'Show all'))),
    place, pages.element);
  try {
    await pages.refresh();
  } catch (error) {
    if (error.status !== 404) throw error;
    fill(place, empty('This gateway keeps no hook deliveries', 'They are off in its configuration.'));
    return undefined;
  }
  view.every(REFRESH_MS, pages.refresh);
  return undefined;
}

function columns(again) {
  return [
    { label: 'State', className: 'state', version: (delivery) => stateWord(delivery).join(), nodes: (delivery) => badge(...stateWord(delivery)) },
    { label: 'Event', className: 'main', version: (delivery) => delivery.event, nodes: (delivery) => h('a', { href: `#/hooks/${encodeURIComponent(delivery.id)}` }, delivery.event || 'event') },
    { label: 'To', className: 'wide', version: (delivery) => delivery.url, nodes: (delivery) => h('span', { class: 'url', title: delivery.url }, delivery.url) },
    { label: 'App', className: 'app', text: (delivery) => delivery.app_id },
    { label: 'Happened', className: 'when', text: (delivery) => time(delivery.created_ms) },
    { label: 'Attempts', className: 'number', text: (delivery) => count(delivery.attempts) },
    { label: 'Last problem', className: 'wide', text: (delivery) => problem(delivery) },
    { label: 'Actions', hidden: true, className: 'act', version: (delivery) => delivery.state, nodes: (delivery) => (delivery.state === 'delivered' ? '' : actions(delivery, again)) },
  ];
}

function problem({ last_error: error, last_status: status, state, next_attempt_ms: next }) {
  const words = error ?? (status >= 300 ? `answered ${status}` : null);
  if (!words) return '–';
  return state === 'pending' && next ? `${words}; next try ${relative(next)}` : words;
}

function actions(delivery, again) {
  return [
    delivery.state === 'pending'
      ? button('Try now', () => retry(delivery, again), { kind: 'quiet small', picture: 'again', name: `Try ${delivery.event} now` })
      : button('Retry', () => retry(delivery, again), { kind: 'quiet small', picture: 'again', name: `Retry ${delivery.event}` }),
    button('Drop', () => drop(delivery, again), { kind: 'danger small', name: `Drop ${delivery.event}` }),
  ];
}

async function retry(delivery, again) {
  try {
    await post(['hooks', delivery.id, 'retry']);
    notify('It is being tried again.');
  } catch (error) {
    complain(error);
  }
  again();
}

async function drop(delivery, again) {
  const event = `${delivery.event} of ${fullTime(delivery.created_ms)}`;
  const words = delivery.state === 'pending'
    ? `It is not tried any more, and stays here as given up: ${event}. What follows of its call goes on.`
    : `The app is never told: ${event}.`;
  const sure = await confirm('Drop this delivery?', words, 'Drop');
  if (!sure) return;
  try {
    await remove(['hooks', delivery.id]);
    notify('It is dropped.');
  } catch (error) {
    complain(error);
  }
  again();
}

async function one(view, id) {
  const body = h('div', {});
  const state = { drawn: '' };
  view.root.append(view.head('Hook delivery', h('a', { class: 'button quiet', href: '#/hooks' }, 'All deliveries')), body);
  const refresh = async () => {
    const { delivery } = await get(['hooks', id], {}, { signal: view.signal });
    const drawn = JSON.stringify(delivery);
    if (drawn !== state.drawn) fill(body, sheet(delivery, () => refresh().catch(gone)));
    state.drawn = drawn;
  };
  const gone = (error) => {
    if (error.status !== 404) throw error;
    fill(body, empty('This delivery is not there any more', 'Delivered ones are kept for a while, dropped ones are not.', h('a', { class: 'button quiet', href: '#/hooks' }, 'All deliveries')));
  };
  await refresh().catch(gone);
  view.every(REFRESH_MS, () => refresh().catch(gone));
}

function sheet(delivery, again) {
  return [
    h('section', { class: 'card', 'aria-label': 'Overview' },
      h('div', { class: 'sheet-head' }, h('p', { class: 'big' }, delivery.event || 'Event'), badge(...stateWord(delivery)),
        delivery.state !== 'delivered' && h('div', { class: 'actions' }, actions(delivery, again))),
      facts([
        ['To', delivery.url],
        ['App', delivery.app_id],
        ['Call', h('a', { href: `#/records/${encodeURIComponent(delivery.call_id)}` }, h('code', {}, delivery.call_id))],
        ['Happened', fullTime(delivery.created_ms)],
        ['Attempts', count(delivery.attempts)],
        ['Next try', delivery.state === 'pending' && delivery.next_attempt_ms ? ago(delivery.next_attempt_ms) : null],
        ['Given up', delivery.state === 'pending' && delivery.expires_ms ? ago(delivery.expires_ms) : null],
        ['Last changed', delivery.changed_ms && fullTime(delivery.changed_ms)],
        ['Last problem', delivery.last_error],
        ['Last answer', delivery.last_status && `HTTP ${delivery.last_status}`],
        ['X-Hook-Id', h('code', {}, delivery.id)],
      ])),
    block('Body', pretty(delivery.body)),
    block('Last response', delivery.last_response ? pretty(delivery.last_response) : 'No answer has been kept.'),
  ];
}

function block(title, words) {
  return h('section', { class: 'card' }, h('h2', {}, title), h('pre', { tabindex: '0', 'aria-label': title }, words));
}

/** JSON with line breaks; anything else as it is. */
function pretty(body) {
  if (body === null || body === undefined) return 'Not shown by this gateway.';
  try {
    return JSON.stringify(typeof body === 'string' ? JSON.parse(body) : body, null, 2);
  } catch {
    return String(body);
  }
}

function nothing({ state, call }) {
  if (state === 'dead') return empty('Nothing was given up', 'Every event arrived, or is still being tried.');
  if (state || call) return empty('No such deliveries', 'Choose another state above.');
  return empty('No deliveries', 'Events of calls are posted to the hook of their number or call. Those that did not arrive are tried again, and are here with what the hook answered.',
    h('a', { class: 'button quiet', href: '#/numbers' }, 'Give a number a hook'));
}
