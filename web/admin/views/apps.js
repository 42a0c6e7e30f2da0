// Apps: the tenants and their secrets.

import { get, post, put, remove } from '../api.js';
import { badge, button, empty, fill, h, spoken, table } from '../dom.js';
import { count, fullTime, now, origin, relative } from '../format.js';
import { complain, confirm, dialog, field, form, limit, limitOf, notify, select, showSecret, text } from '../ui.js';

export const SECTION = 'apps';
const ROOT = 'root';
const REFRESH_MS = 5000;
const OVERLAPS = [['0', 'not at all: it ends now'], ['3600', 'for one hour'], ['86400', 'for one day'], ['604800', 'for one week'], ['2592000', 'for 30 days']];

export async function show(view) {
  const place = h('div', { class: 'card flush' });
  const refresh = async () => {
    const { apps } = await get('apps', {}, { signal: view.signal });
    if (list.element.parentNode !== place) fill(place, list.element);
    list.show(apps);
    more.hidden = apps.some((app) => app.app_id !== ROOT);
  };
  const again = () => refresh().catch(complain);
  const list = table({ caption: 'Apps', key: (app) => `${app.app_id}\n${app.origin}`, columns: columns(again), rowClass: (app) => (app.ignored ? 'ignored' : '') });
  const more = h('div', { class: 'card', hidden: true }, empty('Only the root app is there', 'An app is a tenant: it has numbers, calls and rooms of its own, and a secret that its programs use as Bearer token. Make one for each team or customer, so that each sees only its own calls.'));
  const create = button('New app', () => createApp(again), { kind: 'primary', picture: 'plus' });
  fill(place, h('p', { class: 'loading' }, 'Loading…'));
  view.root.append(view.head('Apps', create), place, more);
  await refresh();
  view.every(REFRESH_MS, refresh);
}

function columns(again) {
  return [
    { label: 'App', className: 'main', text: (app) => app.app_id },
    {
      label: 'Origin',
      version: (app) => [app.origin, app.ignored].join(),
      nodes: (app) => [badge(origin(app.origin)[0], app.origin === 'admin' ? 'info' : 'none', origin(app.origin)[1]), app.ignored && h('p', { class: 'ignored-reason' }, `Ignored: ${app.ignored}`)],
    },
    { label: 'Numbers', className: 'number', version: (app) => String(app.numbers), nodes: (app) => h('a', { href: `#/numbers?app=${encodeURIComponent(app.app_id)}` }, count(app.numbers), spoken(` numbers of ${app.app_id}`)) },
    { label: 'Live legs', className: 'number', text: (app) => count(app.live_calls) },
    { label: 'Limits', className: 'wide', text: (app) => limitsOf(app) },
    { label: 'Old secret', className: 'wide', version: (app) => (app.previous_secret_until_ms > now() ? relative(app.previous_secret_until_ms) : ''), nodes: (app) => oldSecret(app) },
    { label: 'Made', text: (app) => (app.created_ms ? fullTime(app.created_ms) : '–') },
    { label: 'Actions', hidden: true, className: 'act', version: (app) => [app.editable, app.max_calls, app.max_calls_per_second].join(), nodes: (app) => actions(app, again) },
  ];
}

function limitsOf({ max_calls: calls, max_calls_per_second: rate }) {
  const words = [calls && `${count(calls)} at a time`, rate && `${count(rate)} per second`].filter(Boolean);
  return words.length > 0 ? words.join(', ') : '–';
}

/** The inputs of an app's limits, and what they say. */
function limitFields(app) {
  const [calls, rate] = [limit(app.max_calls), limit(app.max_calls_per_second)];
  return {
    read: () => ({ max_calls: limitOf(calls), max_calls_per_second: limitOf(rate) }),
    element: h('div', { class: 'row' },
      field('max_calls', 'Calls at a time', calls, 'Empty: as configured for every app.'),
      field('max_calls_per_second', 'Calls that begin per second', rate, 'Empty: as configured for every app.')),
  };
}

async function changeLimits(app, again) {
  const changed = await dialog(`Limits of ${app.app_id}`, (close) => {
    const limits = limitFields(app);
    const send = async () => {
      await put(['apps', app.app_id], limits.read());
      close(true);
    };
    return form({ label: 'Limits', submit: 'Save', send, cancel: button('Cancel', () => close(null)) }, limits.element);
  });
  if (!changed) return;
  notify(`The limits of ${app.app_id} count from the next call on.`);
  again();
}

function oldSecret(app) {
  return app.previous_secret_until_ms > now() ? badge(`works, ends ${relative(app.previous_secret_until_ms)}`, 'fair', fullTime(app.previous_secret_until_ms)) : h('span', { class: 'soft' }, '–');
}

function actions(app, again) {
  if (!app.editable) return h('span', { class: 'soft' }, '–', spoken(' not to be changed here'));
  return [
    button('New secret', () => rotate(app, again), { kind: 'quiet small', picture: 'again', name: `New secret for ${app.app_id}` }),
    button('Limits', () => changeLimits(app, again), { kind: 'quiet small', name: `Limits of ${app.app_id}` }),
    button('Remove', () => drop(app, again), { kind: 'danger small', name: `Remove ${app.app_id}` }),
  ];
}

async function createApp(again) {
  const made = await dialog('New app', (close) => {
    const id = text({ placeholder: 'acme', autofocus: true });
    const limits = limitFields({});
    const send = async () => close(await post('apps', { app_id: id.value.trim(), ...limits.read() }));
    return form({ label: 'New app', submit: 'Create', send, cancel: button('Cancel', () => close(null)) },
      field('app_id', 'App id', id, 'Letters, digits, - and _. It stands in logs and records, and cannot be changed later.'),
      limits.element);
  });
  if (!made) return;
  again();
  await showSecret(`Secret of ${made.app_id}`, 'Secret', made.app_secret, 'The app’s programs send this as Bearer token. It is shown this once: the gateway does not show it again. If it is lost, make a new one.');
}

async function rotate(app, again) {
  const made = await dialog(`New secret for ${app.app_id}`, (close) => {
    const overlap = select(OVERLAPS, '3600');
    const send = async () => close(await post(['apps', app.app_id, 'rotate'], { overlap_s: Number(overlap.value) }));
    return form({ label: 'New secret', submit: 'Make a new secret', send, cancel: button('Cancel', () => close(null)) },
      field('overlap_s', 'The old one still works', overlap, 'Long enough to give the new one to every program that uses it.'));
  });
  if (!made) return;
  again();
  const until = made.previous_secret_until_ms > now() ? `The old one works until ${fullTime(made.previous_secret_until_ms)}.` : 'The old one does not work any more.';
  await showSecret(`New secret of ${made.app_id}`, 'Secret', made.app_secret, `It is shown this once. ${until}`);
}

async function drop(app, again) {
  const sure = await confirm(`Remove ${app.app_id}?`, 'Its secret stops working at once, and its programs are refused. Calls that are on go on.', 'Remove');
  if (!sure) return;
  try {
    await remove(['apps', app.app_id]);
    notify(`${app.app_id} is removed.`);
    again();
  } catch (error) {
    complain(error);
  }
}
