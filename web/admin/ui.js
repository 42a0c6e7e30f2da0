// Dialogs, notices and forms.

import { sentence } from './api.js';
import { button, fill, h, icon, setText } from './dom.js';

const NOTICE_MS = 6000;

const notices = document.getElementById('notices');

/** Tells what was done, or what went wrong; bad news stays until it is closed. */
export function notify(text, kind = 'good') {
  const close = button(null, () => notice.remove(), { kind: 'icon', picture: 'close', name: 'Dismiss message' });
  const notice = h('div', { class: 'notice', data: { kind }, role: kind === 'poor' ? 'alert' : 'status' }, h('p', {}, text), close);
  notices.append(notice);
  while (notices.children.length > 4) notices.firstChild.remove();
  if (kind !== 'poor') setTimeout(() => notice.remove(), NOTICE_MS);
}

export const complain = (error) => notify(sentence(error), 'poor');

/** A modal dialog; resolves to what `close` was called with, or to null when it is left. */
export function dialog(title, build, { closable = true } = {}) {
  return new Promise((resolve) => {
    const heading = h('h2', { id: 'dialog-title' }, title);
    const element = h('dialog', { 'aria-labelledby': 'dialog-title' });
    let result = null;
    const close = (value) => {
      result = value;
      element.close();
    };
    element.append(heading, build(close));
    if (!closable) stayOpen(element);
    element.addEventListener('close', () => {
      element.remove();
      resolve(result);
    });
    document.body.append(element);
    element.showModal();
  });
}

/** Escape does not close this dialog. */
export function stayOpen(element) {
  element.oncancel = (event) => event.preventDefault();
  // What such a handler returns counts, too: false would swallow every key.
  element.onkeydown = (event) => {
    if (event.key === 'Escape') event.preventDefault();
  };
}

/** Asks before something that cannot be undone; resolves to true or false. */
export async function confirm(title, text, label) {
  const answer = await dialog(title, (close) => h('div', {},
    h('p', {}, text),
    h('div', { class: 'actions end' },
      button('Cancel', () => close(false), { autofocus: true }),
      button(label, () => close(true), { kind: 'danger' }))));
  return answer === true;
}

/** Shows a secret for this one time. */
export function showSecret(title, name, secret, text) {
  return dialog(title, (close) => {
    const field = h('input', { class: 'secret', readonly: true, value: secret, 'aria-label': name, spellcheck: 'false' });
    const said = h('span', { role: 'status', class: 'soft' });
    const copy = async () => {
      field.select();
      try {
        await navigator.clipboard.writeText(secret);
        setText(said, 'Copied');
      } catch {
        // Without https there is no clipboard; the text is selected.
        setText(said, 'Press Ctrl+C to copy');
      }
    };
    return h('div', {},
      h('p', {}, text),
      h('div', { class: 'copy' }, field, button('Copy', copy, { kind: 'primary', picture: 'copy' })),
      h('div', { class: 'actions end' }, said, button('I have kept it', () => close(true))));
  }, { closable: false });
}

let fieldCount = 0;

/**
 * A labelled input. `input` is any form element; `help` stands below, and a
 * problem in place of nothing, tied to the input for screen readers.
 */
export function field(name, label, input, help = null) {
  fieldCount += 1;
  const id = `field-${fieldCount}`;
  input.id = id;
  input.name = name;
  input.setAttribute('aria-describedby', `${id}-help ${id}-problem`);
  return h('div', { class: 'field', data: { field: name } },
    h('label', { for: id }, label),
    input,
    h('p', { class: 'help', id: `${id}-help` }, help),
    h('p', { class: 'problem', id: `${id}-problem` }));
}

export function text(options = {}) {
  return h('input', { type: 'text', autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', ...options });
}

/** A whole number, or nothing. */
export const limit = (value) => h('input', { type: 'number', min: '1', step: '1', inputmode: 'numeric', autocomplete: 'off', value: value ?? '' });

/** What stands there; what is no number is sent as it is, and refused by name. */
export const limitOf = (input) => (input.value === '' ? undefined : Number(input.value));

export function select(choices, value, options = {}) {
  const element = h('select', options, choices.map(([name, label]) => h('option', { value: name }, label)));
  element.value = value ?? choices[0][0];
  return element;
}

/**
 * A form whose submission is `send()`. What it throws is shown beside the field
 * it names, or above the buttons; meanwhile it cannot be sent twice.
 */
export function form({ label, submit, send, cancel, kind = 'primary' }, ...content) {
  const message = h('p', { class: 'form-problem', role: 'alert' });
  const go = button(submit, null, { kind, type: 'submit' });
  const element = h('form', { 'aria-label': label, novalidate: true, autocomplete: 'off' }, content, message,
    h('div', { class: 'actions' }, go, cancel));
  element.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (go.getAttribute('aria-disabled') === 'true') return;
    // Not `disabled`, which would drop the focus.
    go.setAttribute('aria-disabled', 'true');
    clearProblems(element, message);
    try {
      await send();
    } catch (error) {
      showProblem(element, message, error);
    } finally {
      go.removeAttribute('aria-disabled');
    }
  });
  return element;
}

function clearProblems(element, message) {
  fill(message);
  for (const problem of element.querySelectorAll('.problem')) setText(problem, '');
  for (const input of element.querySelectorAll('[aria-invalid]')) input.removeAttribute('aria-invalid');
}

function showProblem(element, message, error) {
  const place = error.field && placeOf(element, error.field);
  if (!place) return setText(message, sentence(error));
  const input = place.querySelector('input, select, textarea');
  place.closest('details')?.setAttribute('open', '');
  input.setAttribute('aria-invalid', 'true');
  setText(place.querySelector('.problem'), `This ${error.problem}`.replace(/^This (?!is |has |must |needs |cannot |does )/, ''));
  input.focus();
  return undefined;
}

/** The field of this name, or the one it is a part of. */
function placeOf(element, name) {
  const fields = [...element.querySelectorAll('.field')];
  const plain = name.replace(/\[\d+\]/g, '');
  for (let wanted = plain; wanted; wanted = wanted.slice(0, Math.max(0, wanted.lastIndexOf('.')))) {
    const place = fields.find(({ dataset }) => dataset.field === wanted || dataset.field.startsWith(`${wanted}.`));
    if (place) return place;
  }
  return null;
}

/** A search box that tells its text a moment after it was typed. */
export function searchBox(label, value, changed, placeholder) {
  let timer = null;
  const input = text({ type: 'search', placeholder, 'aria-label': label, value: value ?? '' });
  input.addEventListener('input', () => {
    clearTimeout(timer);
    timer = setTimeout(() => changed(input.value.trim()), 250);
  });
  return h('div', { class: 'search' }, icon('search'), input);
}

/** Choices of which one holds, as buttons side by side. */
export function segments(label, choices, current, chosen) {
  const group = h('div', { class: 'segments', role: 'group', 'aria-label': label });
  for (const [name, words] of choices) {
    group.append(h('button', {
      type: 'button',
      'aria-pressed': String(name === current),
      data: { name },
      on: { click: () => {
        for (const other of group.children) other.setAttribute('aria-pressed', String(other.dataset.name === name));
        chosen(name);
      } },
    }, words));
  }
  return group;
}

/** Where in a list this page is, and the ways on. */
export function pager(go) {
  const words = h('span', { class: 'soft', 'aria-live': 'polite' });
  const earlier = button('Previous', () => go(-1), { picture: 'left' });
  const later = button('Next', () => go(1), { picture: 'right' });
  const element = h('div', { class: 'pager' }, words, earlier, later);
  return {
    element,
    show({ said, before, after }) {
      setText(words, said);
      earlier.disabled = !before;
      later.disabled = !after;
      element.classList.toggle('single', !before && !after);
    },
  };
}

/**
 * Pages that follow each other by cursor: `load(cursor)` fetches one, with the
 * cursor of the `next`; `show(data)` puts it on the page.
 */
export function cursorPages({ load, show }) {
  /** Where the pages before this one began. */
  const earlier = [];
  let here = null;
  let next = null;
  let asked = 0;
  const refresh = async () => {
    asked += 1;
    const turn = asked;
    const data = await load(here);
    // Another page, or another search, was asked for meanwhile.
    if (turn !== asked) return;
    next = data.next ?? null;
    show(data);
    const said = earlier.length > 0 ? `Page ${earlier.length + 1}` : next !== null ? 'The newest' : '';
    bar.show({ said, before: earlier.length > 0, after: next !== null });
  };
  const bar = pager((way) => {
    if (way > 0) earlier.push(here);
    here = way > 0 ? next : earlier.pop() ?? null;
    refresh().then(() => scrollTo(0, 0), complain);
  });
  const first = () => {
    earlier.length = 0;
    here = null;
    return refresh();
  };
  return { element: bar.element, refresh, first };
}
