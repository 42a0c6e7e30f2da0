// Logging in, and the first password of a new gateway.

import { post } from '../api.js';
import { fill, h } from '../dom.js';
import { field, form, stayOpen, text } from '../ui.js';

/**
 * Shows the form in the dialog `place`, which covers everything, open dialogs
 * included; resolves to the session. The focus returns to where it was.
 */
export async function askForLogin(place, state, reason) {
  stayOpen(place);
  const session = await new Promise((resolve) => {
    const change = (next) => fill(place, card(next.setup_needed ? setup(resolve, change) : login(resolve, change, reason)));
    change(state);
    place.showModal();
  });
  place.close();
  fill(place);
  return session;
}

function card({ title, words, element }) {
  queueMicrotask(() => element.querySelector('input').focus());
  return h('div', { class: 'card login' },
    h('img', { src: 'icon.svg', alt: '', width: 52, height: 52 }),
    h('h1', {}, title),
    h('p', { class: 'soft' }, words),
    element);
}

function login(done, change, reason) {
  const password = text({ type: 'password', autocomplete: 'current-password', required: true });
  // Password managers look for a user name.
  const user = h('input', { type: 'text', autocomplete: 'username', value: 'admin', hidden: true, 'aria-hidden': 'true', tabindex: '-1' });
  const send = async () => {
    try {
      done(await post('login', { password: password.value }, { open: true }));
    } catch (error) {
      if (error.code === 'PASSWORD_NOT_SET') return change({ setup_needed: true });
      password.select();
      if (error.code === 'TOO_MANY_LOGINS' && error.retryAfter) error.message = `Too many attempts. Try again in ${error.retryAfter} seconds.`;
      if (error.code === 'LOGIN_FAILED') error.message = 'This is not the password.';
      throw error;
    }
    return undefined;
  };
  return {
    title: 'Log in',
    words: reason ?? 'Administration of this gateway.',
    element: form({ label: 'Log in', submit: 'Log in', send }, user, field('password', 'Password', password)),
  };
}

function setup(done, change) {
  const code = text({ autocomplete: 'one-time-code', required: true });
  const password = text({ type: 'password', autocomplete: 'new-password', required: true });
  const again = text({ type: 'password', autocomplete: 'new-password', required: true });
  const send = async () => {
    if (password.value !== again.value) {
      throw Object.assign(new Error(), { field: 'again', problem: 'The two passwords differ.' });
    }
    try {
      done(await post('setup', { code: code.value.trim(), password: password.value }, { open: true }));
    } catch (error) {
      if (error.code === 'PASSWORD_SET') return change({ setup_needed: false });
      if (error.code === 'SETUP_CODE_WRONG') Object.assign(error, { field: 'code', problem: 'This is not the code. It is in the file that the gateway’s log names.' });
      throw error;
    }
    return undefined;
  };
  return {
    title: 'Set up this gateway',
    words: 'Nobody has set a password yet. The gateway wrote a setup code into a file of its data directory, which its log names: it proves that the gateway is yours.',
    element: form({ label: 'First password', submit: 'Set password and log in', send },
      field('code', 'Setup code', code),
      field('password', 'New password', password, 'At least 12 characters.'),
      field('again', 'The same again', again)),
  };
}
