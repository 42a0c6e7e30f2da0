// Changing the password.

import { post, useSession } from '../api.js';
import { empty, h } from '../dom.js';
import { field, form, notify, text } from '../ui.js';

export const SECTION = 'system';

export function show(view) {
  view.root.append(view.head('Password', h('a', { class: 'button quiet', href: '#/system' }, 'Back to System')));
  if (!view.session.password_changeable) {
    view.root.append(empty('The password is in the configuration', 'Change [admin] password there and reload the configuration under System.'));
    return;
  }
  const current = text({ type: 'password', autocomplete: 'current-password' });
  const wanted = text({ type: 'password', autocomplete: 'new-password' });
  const send = async () => {
    try {
      useSession({ token: (await post('password', { current: current.value, new: wanted.value })).csrf_token });
    } catch (error) {
      if (error.code === 'PASSWORD_WRONG') Object.assign(error, { field: 'current', problem: 'This is not the current password.' });
      throw error;
    }
    current.value = '';
    wanted.value = '';
    notify('The password is changed. All other sessions have ended.');
  };
  view.root.append(h('div', { class: 'card narrow' }, form({ label: 'Password', submit: 'Change password', send },
    field('current', 'Current password', current),
    field('new', 'New password', wanted, 'At least 12 characters. Everybody else who is logged in has to log in again.'))));
}
