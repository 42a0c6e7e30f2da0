// The page: who is logged in, which view is shown, and whether it is current.

import { get, isAborted, onLoggedOut, onReached, post, sentence, useSession } from './api.js';
import { empty, fill, h, setText } from './dom.js';
import { clock, count, now, relative, time } from './format.js';
import { live } from './live.js';
import { complain, notify } from './ui.js';
import * as apps from './views/apps.js';
import * as call from './views/call.js';
import * as calls from './views/calls.js';
import * as hooks from './views/hooks.js';
import { askForLogin } from './views/login.js';
import * as number from './views/number.js';
import * as numbers from './views/numbers.js';
import * as password from './views/password.js';
import * as recordings from './views/recordings.js';
import * as records from './views/records.js';
import * as system from './views/system.js';
import * as test from './views/test.js';

/** Views by the first words of the hash; a view shows `rest` of it. */
const VIEWS = [
  ['calls', calls], ['call', call], ['numbers', numbers], ['number', number], ['test', test], ['apps', apps],
  ['records', records], ['recordings', recordings], ['hooks', hooks], ['system', system], ['password', password],
];

const $ = (id) => document.getElementById(id);
const main = $('view');
let leave = new AbortController();
let session = null;
/** The login that is being asked for. */
let loginPending = null;

async function start() {
  try {
    session = await get('session', {}, { open: true });
  } catch (error) {
    fill(main, empty('The gateway does not answer', sentence(error), retryButton()));
    return;
  }
  useSession({ token: session.csrf_token });
  if (session.logged_in) document.body.dataset.session = 'in';
  else await logIn(session);
  addEventListener('hashchange', () => route({ moved: true }));
  live.start();
  await route({ moved: false });
}

function retryButton() {
  return h('button', { type: 'button', class: 'button primary', on: { click: () => location.reload() } }, 'Try again');
}

/** Covers the page, which stays as it is, until somebody has logged in. */
function logIn(state, reason = null) {
  loginPending ??= (async () => {
    live.stop();
    document.body.dataset.session = 'out';
    session = await askForLogin($('login'), state, reason);
    useSession({ token: session.csrf_token });
    document.body.dataset.session = 'in';
    live.start();
    loginPending = null;
  })();
  return loginPending;
}

onLoggedOut(async () => {
  // Another tab may have logged in meanwhile, or changed the password.
  const state = await get('session', {}, { open: true });
  if (state.logged_in) return useSession({ token: state.csrf_token });
  return logIn(state, 'Your session has ended. Log in to go on where you were.');
});
onReached((good) => live.reached(good));

async function route({ moved }) {
  const [where, query = ''] = location.hash.replace(/^#\/?/, '').split('?');
  const [name, ...rest] = where.split('/').map(decode);
  const [, shown] = VIEWS.find(([word]) => word === name) ?? [];
  if (!shown) return location.replace('#/calls');
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  for (const link of document.querySelectorAll('nav a')) {
    const isHere = link.hash === `#/${shown.SECTION}`;
    if (isHere) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
    if (isHere) link.scrollIntoView({ block: 'nearest', inline: 'center' });
  }
  const view = {
    root: h('div', { class: 'view' }),
    rest,
    query: Object.fromEntries(new URLSearchParams(query)),
    signal,
    session,
    head: (title, ...actions) => heading(title, actions, moved),
    setQuery: (values) => setQuery(where, values),
    every: (ms, task) => every(ms, task, signal),
  };
  fill(main, view.root);
  if (moved) scrollTo(0, 0);
  try {
    await shown.show(view);
  } catch (error) {
    if (!isAborted(error) && !signal.aborted) fill(view.root, heading('This could not be shown', [], moved), empty('What happened', sentence(error), retryButton()));
  }
  return undefined;
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** A view's title; after a move it has the focus, so that it is read out. */
function heading(title, actions, focus) {
  const h1 = h('h1', { tabindex: '-1' }, title);
  document.title = `${title} · ringwire`;
  if (focus) queueMicrotask(() => h1.focus({ preventScroll: true }));
  return h('div', { class: 'view-head' }, h1, actions.length > 0 && h('div', { class: 'actions' }, actions));
}

/** What was searched for is in the address, without a step in the history. */
function setQuery(where, values) {
  const given = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== '');
  const query = given.length > 0 ? `?${new URLSearchParams(given)}` : '';
  history.replaceState(null, '', `#/${where}${query}`);
}

/** Runs a task now and then while the view is shown and somebody looks; its errors do not end it. */
async function every(ms, task, signal) {
  const wait = () => new Promise((resolve) => setTimeout(resolve, ms));
  let trouble = null;
  while (!signal.aborted) {
    if (!document.hidden && document.body.dataset.session === 'in') {
      try {
        await task();
        trouble = null;
      } catch (error) {
        // Said once, not every few seconds; that nothing is reached stands in the header.
        if (!isAborted(error) && error.code !== 'UNREACHABLE' && trouble !== error.message) complain(error);
        trouble = error.message;
      }
    }
    await wait();
  }
}

function showFreshness() {
  const { state, since } = live;
  $('fresh').dataset.state = state;
  const words = {
    off: 'Not connected',
    connecting: 'Connecting…',
    live: 'Live',
    stale: `Stale since ${time(since)}`,
  };
  setText($('fresh-text'), words[state]);
  $('fresh').title = state === 'stale' ? 'The gateway is not reached; what is shown may be old. Trying again…' : '';
}

live.addEventListener('state', showFreshness);
live.addEventListener('lost', async () => {
  // A stream that is refused does not say why: the session does.
  const state = await get('session', {}, { open: true }).catch(() => null);
  if (state && !state.logged_in) logIn(state, 'Your session has ended. Log in to go on where you were.');
});
live.addEventListener('snapshot', ({ detail }) => {
  setText($('count-calls'), detail.calls > 0 ? count(detail.calls) : '');
});
live.addEventListener('logged_out', async () => {
  const state = await get('session', {}, { open: true }).catch(() => ({}));
  if (!state.logged_in) logIn(state, 'Your session has ended. Log in to go on where you were.');
  else live.start();
});

// The hash is the place in the page, so this link moves the focus by itself.
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});

// Durations and distances in time count by themselves.
setInterval(() => {
  for (const timer of document.querySelectorAll('[data-since]')) setText(timer, clock(now() - Number(timer.dataset.since)));
  for (const timer of document.querySelectorAll('[data-at]')) setText(timer, relative(Number(timer.dataset.at)));
}, 1000);

$('logout').addEventListener('click', async () => {
  try {
    await post('logout', {}, { open: true });
  } catch (error) {
    if (error.code !== 'NOT_LOGGED_IN') return complain(error);
  }
  // Nothing of the session stays in the page.
  leave.abort();
  live.stop();
  fill(main);
  location.reload();
  return undefined;
});

start().catch((error) => notify(sentence(error), 'poor'));
