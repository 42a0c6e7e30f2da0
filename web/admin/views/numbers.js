// The number book: all numbers, where each comes from, and which do not count.

import { get } from '../api.js';
import { badge, empty, fill, h, icon, table } from '../dom.js';
import { count, counted, origin } from '../format.js';
import { complain, pager, searchBox, segments } from '../ui.js';

export const SECTION = 'numbers';
const LIMIT = 50;
const REFRESH_MS = 10_000;
const FILTERS = [['', 'All'], ['config', 'Configuration'], ['admin', 'This panel'], ['sync', 'Sync'], ['ignored', 'Ignored']];

export const editLink = (number) => `#/number/${encodeURIComponent(number)}`;
export const testLink = (number) => `#/test?number=${encodeURIComponent(number)}`;

export async function show(view) {
  const state = { search: view.query.search ?? '', app: view.query.app ?? '', show: view.query.show ?? '', offset: Number(view.query.offset) || 0 };
  const place = h('div', { class: 'card flush' });
  const list = table({ caption: 'Numbers', key: (number) => `${number.number}\n${number.origin}`, columns: COLUMNS, rowClass: (number) => (number.ignored ? 'ignored' : '') });
  const pages = pager((way) => change({ offset: Math.max(0, state.offset + way * LIMIT) }));
  const ofApp = h('p', { class: 'chip', hidden: !state.app }, 'of app ', h('strong', {}, state.app), ' ',
    h('a', { href: '#/numbers', 'aria-label': 'Show the numbers of all apps' }, icon('close')));

  const refresh = async () => {
    const query = { search: state.search, app: state.app, offset: state.offset, limit: LIMIT };
    if (state.show === 'ignored') query.ignored = true;
    else query.origin = state.show;
    const { numbers, total } = await get('numbers', query, { signal: view.signal });
    if (numbers.length === 0 && state.offset > 0 && total > 0) return change({ offset: 0 });
    if (numbers.length === 0) fill(place, nothing(state));
    else {
      if (list.element.parentNode !== place) fill(place, list.element);
      list.show(numbers);
    }
    const last = state.offset + numbers.length;
    const said = total === 0 ? '' : total <= LIMIT ? counted(total, 'number') : `${count(state.offset + 1)}–${count(last)} of ${counted(total, 'number')}`;
    pages.show({ said, before: state.offset > 0, after: last < total });
    return undefined;
  };
  const change = async (values) => {
    Object.assign(state, values);
    view.setQuery({ ...state, offset: state.offset || null });
    await refresh().catch(complain);
  };

  fill(place, h('p', { class: 'loading' }, 'Loading…'));
  view.root.append(
    view.head('Numbers', h('a', { class: 'button primary', href: '#/number' }, icon('plus'), h('span', {}, 'Add a number'))),
    h('div', { class: 'filters' },
      searchBox('Search numbers', state.search, (search) => change({ search, offset: 0 }), 'Number, app, client, hook or server'),
      segments('Which numbers', FILTERS, state.show, (show) => change({ show, offset: 0 })),
      ofApp),
    place, pages.element);
  await refresh();
  view.every(REFRESH_MS, refresh);
}

const COLUMNS = [
  { label: 'Number', className: 'main', version: (number) => number.number, nodes: (number) => h('a', { href: editLink(number.number) }, number.number) },
  { label: 'App', className: 'app', text: (number) => number.app_id },
  {
    label: 'Origin',
    version: (number) => [number.origin, number.ignored].join(),
    nodes: (number) => [
      badge(origin(number.origin)[0], number.origin === 'admin' ? 'info' : 'none', origin(number.origin)[1]),
      number.ignored && h('p', { class: 'ignored-reason' }, `Ignored: ${number.ignored}`),
    ],
  },
  { label: 'Who may call in', className: 'wide', version: (number) => JSON.stringify([number.subnets, number.auth]), nodes: (number) => callers(number) },
  { label: 'What happens', className: 'wide', version: (number) => JSON.stringify([number.answer, number.hook, number.client_id]), nodes: (number) => handling(number) },
  { label: 'Dials through', text: (number) => number.sip_server ?? '–' },
  { label: 'Test', hidden: true, className: 'act', version: (number) => number.number, nodes: (number) => h('a', { class: 'button quiet small', href: testLink(number.number), 'aria-label': `Test a call to ${number.number}` }, 'Test') },
];

function callers({ subnets, auth }) {
  if (subnets.length === 0) return badge('nobody', 'fair', 'The list of networks is empty, so every call is refused');
  const shown = subnets.slice(0, 2).join(', ');
  const more = subnets.length > 2 ? ` and ${count(subnets.length - 2)} more` : '';
  return [h('span', { title: subnets.slice(0, 40).join('\n') }, shown + more), auth && [' ', badge('password', 'info', `Callers log in as ${auth.username}`)]];
}

function handling({ answer, hook, client_id: client }) {
  if (answer === 'echo') return 'Echo test';
  if (answer?.room) return ['Into room ', h('span', { class: 'strong' }, answer.room)];
  if (hook) return ['Asks ', h('span', { class: 'url', title: hook }, hook.replace(/^https?:\/\//, ''))];
  if (client) return `Tells client ${client}`;
  return h('span', { class: 'soft' }, 'Waits for the app');
}

function nothing({ search, app, show: shown }) {
  if (search || app) return empty('No number matches', 'Try fewer characters. Spaces and dashes in numbers do not matter.');
  if (shown === 'ignored') return empty('No number is ignored', 'An entry is ignored where a stronger one has the same number: the configuration counts before this panel, this panel before the sync.');
  if (shown) return empty('No numbers of this origin', 'Numbers come from the configuration file, from this panel, or from a sync URL.');
  return empty('No numbers yet', 'A number says who may call it and what happens then: an app decides, or the call goes straight into a room. Add one here, in the configuration file, or let the gateway fetch them from a sync URL.',
    h('a', { class: 'button primary', href: '#/number' }, 'Add the first number'));
}
