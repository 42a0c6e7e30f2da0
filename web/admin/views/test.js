// Test a call: would a call from this address to this number be accepted, and why not.

import { post } from '../api.js';
import { badge, fill, h, spoken } from '../dom.js';
import { sipCode } from '../format.js';
import { field, form, text } from '../ui.js';
import { editLink } from './numbers.js';

export const SECTION = 'test';

const STEPS = {
  ban: 'Scanner ban',
  load: 'Load',
  number: 'Number',
  record: 'Entry in the book',
  app: 'App',
  source: 'Where it comes from',
  authentication: 'Password',
  limits: 'Limits',
  handling: 'What happens then',
};

export function show(view) {
  const number = text({ value: view.query.number ?? '', placeholder: '+4930123456', inputmode: 'tel' });
  const source = text({ value: view.query.source ?? '', placeholder: '192.0.2.7', inputmode: 'decimal' });
  const from = text({ value: view.query.from ?? '' });
  const result = h('div', { class: 'result', 'aria-live': 'polite' });
  const send = async () => {
    const asked = { number: number.value.trim(), source: source.value.trim(), from: from.value.trim() || undefined };
    view.setQuery(asked);
    fill(result);
    fill(result, verdict(await post(['numbers', 'test'], asked, { signal: view.signal })));
  };
  const element = form({ label: 'Test a call', submit: 'Test', send }, h('div', { class: 'row three' },
    field('number', 'Called number', number, 'As the caller dials it.'),
    field('source', 'Caller’s address', source, 'IP address the call would come from.'),
    field('from', 'Calling number', from, 'Optional.')));
  view.root.append(view.head('Test a call'),
    h('div', { class: 'card' }, h('p', { class: 'soft lead' }, 'No call is made: the gateway walks through what it would do with this call right now, and stops where it would refuse it.'), element),
    result);
  if (view.query.number && view.query.source) element.requestSubmit();
}

function verdict({ accepted, sip_code: code, conclusion, steps, number }) {
  const word = accepted ? 'Accepted' : 'Refused';
  return h('section', { class: 'card', 'aria-label': 'Result' },
    h('div', { class: 'sheet-head' }, h('h2', { class: 'big' }, badge(word, accepted ? 'good' : 'poor')), h('p', { class: 'strong' }, conclusion)),
    !accepted && code && h('p', { class: 'soft' }, `The caller gets SIP ${sipCode(code)}.`),
    h('ol', { class: 'steps' }, steps.map((step) => stepOf(step))),
    number && h('p', {}, h('a', { class: 'button quiet', href: editLink(number.number) }, `Open ${number.number}`)));
}

function stepOf({ step, ok, text: words }) {
  const state = ok === true ? 'good' : ok === false ? 'poor' : 'info';
  const said = { good: 'passed: ', poor: 'refused: ', info: 'note: ' }[state];
  return h('li', { data: { kind: state } }, h('strong', {}, STEPS[step] ?? step), spoken(`, ${said}`), h('p', {}, words));
}
