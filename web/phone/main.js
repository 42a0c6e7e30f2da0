// Buttons and keys to the phone, and the phone's news to the page.

import { explain } from '../sdk/ringwire.js';
import { Api } from './api.js';
import { Phone } from './phone.js';
import { load, recent, save } from './settings.js';
import { click } from './tones.js';
import * as view from './view.js';

const { $ } = view;
const CLOSE_AFTER_MS = 6000;

const phone = new Phone();
const { settings, number } = load();
let closing = null;
let last = null;

function fillSettings() {
  for (const name of ['key', 'server', 'from', 'client']) $(name).value = settings[name];
  $('waiting').checked = settings.waiting;
  $('settings-summary').textContent = [settings.from, settings.server].filter(Boolean).join(' at ');
}

/** Signs in with what the settings say; tells on the page how it went. */
async function connect() {
  const api = new Api(settings.key);
  phone.use(api);
  if (!api.ready) {
    $('settings').open = true;
    return view.showPresence('key');
  }
  try {
    await api.check();
  } catch (error) {
    $('settings').open = true;
    view.showPresence('key');
    return trouble(error);
  }
  view.hideNotice();
  view.showPresence('off');
  if (settings.waiting && settings.client) phone.waitFor(settings.client);
  else phone.waitFor(null);
}

function dial(to) {
  const wanted = to.trim();
  if (!wanted) return $('number').focus();
  if (!settings.key || !settings.from) {
    $('settings').open = true;
    (settings.key ? $('from') : $('key')).focus();
    return view.showNotice('Fill in your gateway key and your number first.', { kind: 'hint' });
  }
  last = wanted;
  view.hideNotice();
  phone.dial(wanted, settings);
}

function trouble(error) {
  view.showNotice(error.code ? explain(error) : error.message);
}

function close() {
  clearTimeout(closing);
  if (phone.session) return;
  view.showIdle();
  $('number').focus();
}

function pressDuringCall(key) {
  if (!phone.key(key)) return;
  click(key);
  view.flash($('keypad-call'), key);
  $('typed').textContent = ($('typed').textContent + key).slice(-18);
}

function pressOnPad(key) {
  click(key);
  view.flash($('keypad-idle'), key);
  $('number').value += key;
}

phone.on('change', view.showSession);
phone.on('levels', view.showLevels);
phone.on('quality', view.showQuality);
phone.on('room', view.showTalkers);
phone.on('presence', view.showPresence);
phone.on('trouble', trouble);
phone.on('playback', (allowed) => {
  if (allowed) return view.hideNotice();
  view.showNotice('Your browser holds the sound back.', { kind: 'hint', action: 'Play sound', run: () => phone.resumePlayback() });
});
phone.on('over', (session) => {
  const { who, direction, text, answeredAt, endedAt, since, failed } = session;
  recent.add({ who, direction, text, at: since, answered: Boolean(answeredAt), duration: answeredAt ? endedAt - answeredAt : 0 });
  view.showRecent(recent.get(), dial);
  last = who;
  clearTimeout(closing);
  // What went wrong stays until it was read.
  if (!failed) closing = setTimeout(close, CLOSE_AFTER_MS);
});

view.buildKeypad($('keypad-idle'), pressOnPad, (key) => key === '0' && ($('number').value += '+'));
view.buildKeypad($('keypad-call'), pressDuringCall);
view.showRecent(recent.get(), dial);
fillSettings();
$('number').value = number;

$('view-idle').onsubmit = (event) => {
  event.preventDefault();
  dial($('number').value);
};
$('erase').onclick = () => {
  $('number').value = $('number').value.slice(0, -1);
  $('number').focus();
};
$('accept').onclick = () => phone.accept();
$('reject').onclick = () => phone.reject();
$('hangup').onclick = () => phone.hangUp();
$('mute').onclick = () => phone.mute(!phone.session?.muted);
$('record').onclick = () => phone.record();
$('keys').onclick = () => view.showTones($('tones').hidden);
$('again').onclick = () => {
  clearTimeout(closing);
  dial(last);
};
$('done').onclick = close;
$('forget').onclick = () => {
  recent.clear();
  view.showRecent([], dial);
};
$('notice-close').onclick = view.hideNotice;
$('settings-form').onsubmit = (event) => {
  event.preventDefault();
  for (const name of ['key', 'server', 'from', 'client']) settings[name] = $(name).value.trim();
  settings.waiting = $('waiting').checked;
  save(settings);
  fillSettings();
  $('settings').open = false;
  connect();
};

addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const { session } = phone;
  const typing = event.target instanceof HTMLInputElement;
  if (event.key === 'Escape' && session) return phone.hangUp();
  if (typing) return;
  if (event.key.toLowerCase() === 'm' && session) return phone.mute(!session.muted);
  if (!/^[0-9*#]$/.test(event.key)) return;
  if (session) pressDuringCall(event.key);
  else if (!$('view-idle').hidden) pressOnPad(event.key);
});
setInterval(() => phone.session && view.showTimer(phone.session), 500);

// Tests and curious people look at the phone through this.
globalThis.ringwirePhone = phone;
await connect();
await phone.resume();
