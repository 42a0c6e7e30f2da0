// One number: made, changed, removed, or shown where it is not ours to change.

import { get, post, put, remove } from '../api.js';
import { badge, button, empty, facts, fill, h } from '../dom.js';
import { fullTime, now, origin, relative, security } from '../format.js';
import { complain, confirm, form, notify } from '../ui.js';
import { recordFields, soundText } from './number-fields.js';
import { editLink, testLink } from './numbers.js';

export const SECTION = 'numbers';

export async function show(view) {
  const [wanted] = view.rest;
  const apps = (await get('apps', {}, { signal: view.signal })).apps.filter((app) => !app.ignored).map((app) => app.app_id);
  if (!wanted) return make(view, apps, { subnets: [], app_id: view.query.app ?? 'root' }, 'Add a number');
  let found;
  try {
    found = await get(['numbers', wanted], {}, { signal: view.signal });
  } catch (error) {
    if (error.status !== 404) throw error;
    const add = h('a', { class: 'button primary', href: '#/number' }, 'Add a number');
    view.root.append(view.head(wanted), empty('This number is not in the book', 'It may have been removed, or the sync URL no longer has it.', add));
    return undefined;
  }
  const all = [found.number, ...found.others];
  const ours = all.find((number) => number.editable);
  if (view.query.copy !== undefined && !ours) return make(view, apps, found.number, `Override ${wanted}`);
  const standing = await registration(view, ours ?? found.number);
  return ours ? edit(view, apps, ours, all, standing) : readOnly(view, found.number, all, standing);
}

const REGISTERED = { registered: 'good', trying: 'info', leaving: 'info', failed: 'poor' };

/** How the number's registration stands; nothing where it has none. */
async function registration(view, record) {
  if (!record.register) return null;
  const { registrations } = await get('registrations', {}, { signal: view.signal });
  const found = registrations.find((one) => one.number === record.number);
  if (!found) return null;
  const { state, last_code: code, registered_until_ms: until, next_attempt_ms: next, problem } = found;
  const words = [
    code && `the last answer was ${code}`,
    until > now() && `registered until ${fullTime(until)}`,
    next && `next attempt ${relative(next)}`,
    problem,
  ].filter(Boolean).join('; ');
  return h('p', { class: 'registration' }, badge(state, REGISTERED[state] ?? 'info'), ` at ${found.registrar}${words && `: ${words}`}`);
}

/** Another entry of this number, and which of them counts. */
function siblings(all, shown) {
  const rest = all.filter((number) => number !== shown);
  if (rest.length === 0 && !shown.ignored) return null;
  const word = (number) => origin(number.origin)[0];
  const counts = all.find((number) => !number.ignored);
  return h('div', { class: 'banner', data: { kind: shown.ignored ? 'fair' : 'info' } },
    shown.ignored ? `This entry is ignored: ${shown.ignored}.` : `This entry counts. There is another of the same number from ${rest.map(word).join(' and ')}.`,
    counts && counts !== shown ? ` What counts is the entry from ${word(counts)}.` : '');
}

function make(view, apps, record, title) {
  const fields = recordFields(record, apps, { isNew: true });
  const send = async () => {
    const { number } = await post('numbers', fields.read());
    notify(`${number.number} is in the book and counts from now on.`);
    location.hash = editLink(number.number);
  };
  view.root.append(view.head(title), h('div', { class: 'card' },
    form({ label: title, submit: 'Add number', send, cancel: h('a', { class: 'button quiet', href: '#/numbers' }, 'Cancel') }, fields.elements)));
}

function edit(view, apps, record, all, standing) {
  const fields = recordFields(record, apps, { isNew: false });
  const send = async () => {
    const { number } = await put(['numbers', record.number], fields.read());
    notify(`${number.number} is saved and counts for the next call.`);
    if (number.number !== record.number) location.replace(editLink(number.number));
    else fields.saved(number);
  };
  const drop = async () => {
    const last = all.length === 1;
    const sure = await confirm(`Remove ${record.number}?`, last ? 'Calls to it are refused with 404 from then on. Calls that are on go on.' : 'The other entry of the same number counts from then on. Calls that are on go on.', 'Remove');
    if (!sure) return;
    try {
      await remove(['numbers', record.number]);
      notify(`${record.number} is removed.`);
      location.hash = '#/numbers';
    } catch (error) {
      complain(error);
    }
  };
  view.root.append(
    view.head(record.number, h('a', { class: 'button quiet', href: testLink(record.number) }, 'Test a call'), button('Remove', drop, { kind: 'danger' })),
    ...[siblings(all, record), standing].filter(Boolean),
    h('div', { class: 'card' }, form({ label: 'Number', submit: 'Save', send, cancel: h('a', { class: 'button quiet', href: '#/numbers' }, 'Back to the list') }, fields.elements)));
}

function readOnly(view, record, all, standing) {
  const isSync = record.origin === 'sync';
  const override = isSync && h('a', { class: 'button quiet', href: `${editLink(record.number)}?copy` }, 'Override here');
  const words = isSync
    ? 'This number comes from the sync URL and is changed there. An entry made here overrides it.'
    : 'This number is set in the configuration file. Change it there and reload the configuration under System.';
  view.root.append(
    view.head(record.number, override, h('a', { class: 'button quiet', href: testLink(record.number) }, 'Test a call')),
    h('div', { class: 'banner', data: { kind: 'info' } }, words),
    ...[siblings(all, record), standing].filter(Boolean),
    fill(h('div', { class: 'card' }), sheet(record)));
}

function sheet(record) {
  const answer = record.answer?.room ? `Into room ${record.answer.room}` : record.answer === 'echo' ? 'Echo test' : 'The app is asked';
  return facts([
    ['App', record.app_id],
    ['Origin', badge(origin(record.origin)[0])],
    ['Who may call in', record.subnets.length > 0 ? record.subnets.join(', ') : 'nobody: the list of networks is empty'],
    ['Callers log in as', record.auth?.username],
    ['What happens', answer],
    ['Name in the room', record.answer?.peer],
    ['Hook', record.hook],
    ['Hook body', record.hook && (record.hook_content_type ?? 'Json')],
    ['Client told', record.client_id],
    ['Dials through', record.sip_server],
    ['Outbound proxy', record.sip_proxy],
    ['Dials as', record.sip_auth?.username],
    ['While it rings', soundText(record.ringback)],
    ['Alone in a room', soundText(record.hold_music)],
    ['Registered there', record.register ? 'yes' : null],
    ['Calls at a time', record.max_calls],
    ['Calls per second', record.max_calls_per_second],
    ['Encryption', record.srtp],
    ['Keys are sent as', record.dtmf],
    ['Keys', record.srtp && record.srtp !== 'off' ? security(record.srtp_keying) : null],
  ]);
}
