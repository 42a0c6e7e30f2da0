// Elements out of data. Text is only ever set as text, never as markup.

import { fullTime, relative } from './format.js';

const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element. Properties: `class`, `on` (listeners by event), `data` (for
 * data-…), anything else is an attribute; `true` is an empty one, and null,
 * undefined and false are left out. Children: nodes, text, arrays; null is skipped.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'class') element.className = value;
    else if (name === 'on') for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    else if (name === 'data') Object.assign(element.dataset, value);
    else if (name === 'value') element.value = value;
    else element.setAttribute(name, value === true ? '' : value);
  }
  element.append(...present(children));
  return element;
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}

/** Puts these children into an element in place of what was there. */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
  return element;
}

/** A picture of the sprite in index.html; it says nothing to a screen reader. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Sets a text only where it differs, so that nothing moves or is read out again. */
export function setText(node, text) {
  const wanted = String(text ?? '');
  if (node.textContent !== wanted) node.textContent = wanted;
}

/** A distance in time that stays true: main.js counts it on. */
export function ago(ms) {
  return h('span', { data: { at: ms }, title: fullTime(ms) }, relative(ms));
}

/** For screen readers only. */
export function spoken(text) {
  return h('span', { class: 'sr' }, text);
}

/** A short word in colour: `good`, `fair`, `poor`, `info` or `none`. */
export function badge(text, kind = 'none', title = null) {
  return h('span', { class: 'badge', data: { kind }, title }, text);
}

export function button(label, click, { kind = 'quiet', picture, name, type = 'button', ...rest } = {}) {
  const listeners = click ? { click } : {};
  return h('button', { type, class: `button ${kind}`, 'aria-label': name, on: listeners, ...rest }, picture && icon(picture), label && h('span', {}, label));
}

/** What a place says that has nothing to show yet: what it is for, what to do next. */
export function empty(title, text, ...actions) {
  return h('div', { class: 'empty' }, h('h2', {}, title), h('p', {}, text), actions.length > 0 && h('div', { class: 'actions' }, actions));
}

/** Terms and their values; values that are null are left out. */
export function facts(pairs) {
  const rows = pairs.filter(([, value]) => value !== null && value !== undefined && value !== false && value !== '');
  return h('dl', { class: 'facts' }, rows.map(([term, value]) => h('div', {}, h('dt', {}, term), h('dd', {}, value))));
}

/**
 * A list whose elements stay the same elements while their item is there: what
 * has the focus keeps it, and only what is new or gone moves anything.
 */
export function keyed(container, items, { key, create, update }) {
  const kept = container.keyedRows ?? new Map();
  const rows = new Map();
  for (const item of items) {
    const id = key(item);
    const row = kept.get(id) ?? create(item);
    kept.delete(id);
    update(row, item);
    rows.set(id, row);
  }
  for (const row of kept.values()) removeRow(row);
  let place = container.firstChild;
  for (const row of rows.values()) {
    if (row === place) place = place.nextSibling;
    else container.insertBefore(row, place);
  }
  container.keyedRows = rows;
}

/** The focus of a row that goes is handed on to its neighbour. */
function removeRow(row) {
  if (row.contains(document.activeElement)) {
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    const target = neighbour?.querySelector('a, button') ?? row.closest('main')?.querySelector('h1');
    target?.focus({ preventScroll: true });
  }
  row.remove();
}

/**
 * A table of such rows. A column has a `label` and one of
 * `text(item)`; `nodes(item)` with `version(item)`, made again when that
 * differs; `once(current)`, made once, where `current()` is the row's item.
 */
export function table({ caption, columns, key, rowClass = () => '' }) {
  const body = h('tbody', { role: 'rowgroup' });
  const head = columns.map(({ label, hidden, className }) => h('th', { scope: 'col', role: 'columnheader', class: className }, hidden ? spoken(label) : label));
  const element = h('table', { role: 'table' },
    h('caption', { class: 'sr' }, caption),
    h('thead', { role: 'rowgroup' }, h('tr', { role: 'row' }, head)),
    body);
  const create = (item) => {
    const row = h('tr', { role: 'row' }, columns.map(({ className, label, hidden }) => h('td', { role: 'cell', class: className, data: { label: hidden ? '' : label } })));
    row.versions = [];
    row.item = item;
    return row;
  };
  const update = (row, item) => {
    row.item = item;
    const wanted = rowClass(item);
    if (row.className !== wanted) row.className = wanted;
    columns.forEach((column, index) => {
      const cell = row.children[index];
      if (column.text) return setText(cell, column.text(item));
      const version = column.once ? 'once' : column.version(item);
      if (row.versions[index] === version) return undefined;
      row.versions[index] = version;
      return fill(cell, column.once ? column.once(() => row.item) : column.nodes(item));
    });
  };
  return { element: h('div', { class: 'table' }, element), show: (items) => keyed(body, items, { key, create, update }) };
}
