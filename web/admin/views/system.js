// System: what the gateway is, how loaded it is, where its numbers come from.

import { asSentence, get, post } from '../api.js';
import { ago, badge, button, empty, facts, fill, h, icon, table } from '../dom.js';
import { count, counted, fullTime, span } from '../format.js';
import { complain, notify } from '../ui.js';

export const SECTION = 'system';
const REFRESH_MS = 3000;
const STATES = { waiting: ['Waiting', 'info'], good: ['Good', 'good'], failing: ['Failing', 'poor'] };
const PARTS = { warnings, load, sources, gateway };

export async function show(view) {
  const reload = button('Reload configuration', () => work(reload, reloadNow), { picture: 'again' });
  const sync = button('Sync now', () => work(sync, syncNow), { picture: 'again' });
  const places = Object.fromEntries(Object.keys(PARTS).map((name) => [name, h('div', {})]));
  const drawn = {};
  const shards = table({ caption: 'Shards', key: (shard) => String(shard.shard), columns: SHARD_COLUMNS });
  const refresh = async () => {
    const system = await get('system', {}, { signal: view.signal });
    sync.hidden = !system.sync?.enabled;
    for (const [name, part] of Object.entries(PARTS)) {
      const { version, nodes } = part(system, shards);
      // What did not change is left alone, and so are focus and selection in it.
      if (drawn[name] !== version) fill(places[name], nodes());
      drawn[name] = version;
    }
    shards.show(system.shards ?? []);
  };
  const work = async (pressed, task) => {
    pressed.setAttribute('aria-disabled', 'true');
    try {
      await task();
      await refresh();
    } catch (error) {
      complain(error);
    } finally {
      pressed.removeAttribute('aria-disabled');
    }
  };
  view.root.append(view.head('System', h('a', { class: 'button quiet', href: '#/password' }, 'Change password'), sync, reload), ...Object.values(places));
  await refresh();
  view.every(REFRESH_MS, refresh);
}

async function reloadNow() {
  const { changed = [], needs_restart: restart = [] } = await post('reload');
  const said = changed.length > 0 ? `Reloaded: ${changed.join(', ')} changed.` : 'Reloaded: nothing had changed.';
  notify(restart.length > 0 ? `${said} A restart is needed for ${restart.join(', ')}.` : said, restart.length > 0 ? 'fair' : 'good');
}

async function syncNow() {
  const sync = await post('sync');
  const bad = [sync.numbers, sync.apps].filter((source) => source?.state === 'failing');
  if (bad.length > 0) notify(`The sync failed: ${bad.map((source) => asSentence(source.problem)).join(' ')}`, 'poor');
  else notify('The sync is done.');
}

function warnings(system) {
  const all = [...(system.warnings ?? [])];
  if (system.draining) all.unshift('The gateway is shutting down: it takes no new calls.');
  const restart = system.reload?.needs_restart ?? [];
  if (restart.length > 0) all.push(`The configuration has changed where only a restart helps: ${restart.join(', ')}.`);
  return {
    version: JSON.stringify(all),
    nodes: () => all.map((words) => h('div', { class: 'banner', data: { kind: 'fair' } }, icon('warn'), h('p', {}, words))),
  };
}

const SHARD_COLUMNS = [
  { label: 'Shard', className: 'main', text: (shard) => `Shard ${shard.shard}` },
  { label: 'Core', className: 'number', text: (shard) => shard.core ?? '–' },
  { label: 'State', version: (shard) => String(shard.answers), nodes: (shard) => (shard.answers ? badge('answers', 'good') : badge('does not answer', 'poor')) },
  { label: 'Calls', className: 'number', text: (shard) => count(shard.calls) },
  { label: 'Rooms', className: 'number', text: (shard) => count(shard.rooms) },
  { label: 'Media legs', className: 'number', text: (shard) => count(shard.legs) },
  { label: 'SIP sessions', className: 'number', text: (shard) => count(shard.sip_sessions) },
  { label: 'Free port pairs', className: 'number', text: (shard) => count(shard.free_port_pairs) },
];

function load(system, shards) {
  return { version: 'once', nodes: () => h('section', { class: 'card flush', 'aria-label': 'Load' }, h('h2', { class: 'inset' }, 'Load of the shards'), shards.element) };
}

function gateway(system) {
  const { listeners = {}, media = {}, store = {}, hooks = {}, limits = {}, book = {}, reload = {} } = system;
  const rows = [
    ['Version', system.version],
    ['Runs since', `${fullTime(system.started_ms)} (${span(system.uptime_s)})`],
    ['Media backend', media.backend],
    ['RTP ports', media.rtp_ports],
    ['Calls at most', Number.isFinite(limits.max_calls) ? count(limits.max_calls) : null],
    ['API', listeners.api],
    ['Admin', listeners.admin ?? (listeners.api ? 'with the API' : null)],
    ['SIP', listeners.sip?.join(', ')],
    ['Book', `${counted(book.numbers, 'number')} of ${counted(book.apps, 'app')}, ${count(book.ignored)} ignored`],
    ['Database', `${count(store.changes_queued)} changes queued, ${count(store.changes_failed)} failed`],
    ['Hooks queued', count(hooks.queued)],
    ['WebSockets', count(system.websockets)],
    ['Configuration', system.config_file ?? 'environment only'],
    ['Last reload', reload.last_ms ? fullTime(reload.last_ms) : 'since the start: none'],
    ['Data', system.data_dir],
    ['Log level', system.log_level],
  ];
  return { version: JSON.stringify(rows), nodes: () => h('section', { class: 'card', 'aria-label': 'Gateway' }, h('h2', {}, 'Gateway'), facts(rows)) };
}

function sources({ sync = {} }) {
  const shown = [['Numbers', sync.numbers], ['Apps', sync.apps]].filter(([, source]) => source);
  if (!sync.enabled || shown.length === 0) {
    return { version: 'off', nodes: () => h('section', { class: 'card' }, empty('No sync URL is set', 'The gateway can fetch its numbers and apps from a web service of yours: set [sync] in the configuration and reload it.')) };
  }
  return { version: JSON.stringify(shown), nodes: () => h('div', { class: 'legs' }, shown.map(([name, source]) => sourceCard(name, source, sync.interval_s))) };
}

const when = (ms) => (ms ? ago(ms) : 'never');
/** Lists of bad entries that are open stay so when they are made again. */
const opened = new Set();

function sourceCard(name, source, interval) {
  const bad = source.bad ?? [];
  return h('section', { class: 'card', 'aria-label': `Sync of ${name.toLowerCase()}` },
    h('div', { class: 'card-head' }, h('h2', {}, `Sync of ${name.toLowerCase()}`), badge(...(STATES[source.state] ?? [source.state, 'none']))),
    source.problem && h('div', { class: 'banner', data: { kind: 'poor' } }, `${asSentence(source.problem)} The last good table is kept.`),
    facts([
      ['URL', h('span', { class: 'url' }, source.url)],
      ['Every', `${interval} s`],
      ['Last good', source.from_store && !source.last_good_ms ? 'kept from before the start' : when(source.last_good_ms)],
      ['Last result', source.last_result],
      ['Next try', source.next_try_ms ? ago(source.next_try_ms) : null],
      ['Entries', count(source.records)],
      ['Twice the same', source.duplicates > 0 ? count(source.duplicates) : null],
      ['Failures in a row', source.failures > 0 ? count(source.failures) : null],
      ['Bad entries', source.bad_records > 0 ? count(source.bad_records) : null],
    ]),
    bad.length > 0 && h('details', { open: opened.has(name), on: { toggle: ({ target }) => (target.open ? opened.add(name) : opened.delete(name)) } }, h('summary', {}, 'Which entries are bad'),
      h('ul', { class: 'bad' }, bad.map((entry) => h('li', {}, h('strong', {}, entry.record), ` ${entry.field}: ${entry.problem}`)))));
}
