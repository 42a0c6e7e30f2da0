// Times, amounts and states in words.

import { sipReason } from './sdk/sip-codes.js';

const two = (number) => String(number).padStart(2, '0');
const group = new Intl.NumberFormat('en-GB', { maximumFractionDigits: 0 });

/** How much later the gateway's clock is than the browser's, milliseconds. */
let clockOffset = 0;

export function useClock(gatewayNow) {
  if (gatewayNow) clockOffset = gatewayNow - Date.now();
}

export const now = () => Date.now() + clockOffset;

/** 1:02:03 or 02:03. */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  return hours > 0 ? `${hours}:${two(minutes)}:${two(seconds % 60)}` : `${two(minutes)}:${two(seconds % 60)}`;
}

/** 14:03:12, with the day where it is not today. */
export function time(ms) {
  if (!ms) return '–';
  const date = new Date(ms);
  const clockTime = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':');
  return date.toDateString() === new Date(now()).toDateString() ? clockTime : `${day(date)} ${clockTime}`;
}

/** 2026-11-25, in the browser's zone. */
export function day(date) {
  return [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
}

/** From the beginning of one day a user names to the end of another, in the browser's zone. */
export function days(from, to) {
  const start = (text, later) => {
    const date = new Date(`${text}T00:00:00`);
    date.setDate(date.getDate() + later);
    return date.getTime();
  };
  return { since: from ? start(from, 0) : null, until: to ? start(to, 1) : null };
}

/** A point in time as an element that shows the whole of it when hovered. */
export function fullTime(ms) {
  return ms ? new Date(ms).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium' }) : '–';
}

/** "3 minutes ago", "in 20 seconds". */
export function relative(ms) {
  if (!ms) return 'never';
  const seconds = Math.round((ms - now()) / 1000);
  if (Math.abs(seconds) < 2) return 'now';
  const words = span(Math.abs(seconds));
  return seconds < 0 ? `${words} ago` : `in ${words}`;
}

/** "3 minutes", of seconds. */
export function span(seconds) {
  const units = [['day', 86_400], ['hour', 3600], ['minute', 60], ['second', 1]];
  const [name, size] = units.find(([, unit]) => seconds >= unit) ?? units.at(-1);
  const count = Math.floor(seconds / size);
  return `${count} ${name}${count === 1 ? '' : 's'}`;
}

export const count = (number) => (Number.isFinite(number) ? group.format(number) : '–');

/** "1 call", "2 calls". */
export const counted = (number, word) => `${count(number)} ${word}${number === 1 ? '' : 's'}`;

export function rate(perSecond) {
  if (!Number.isFinite(perSecond)) return '–';
  return perSecond >= 10 || perSecond === 0 ? group.format(perSecond) : perSecond.toFixed(1);
}

export const milliseconds = (ms) => (Number.isFinite(ms) ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : '–');

/** "1.2 MB". */
export function bytes(size) {
  const units = [['GB', 1e9], ['MB', 1e6], ['kB', 1e3]];
  const [name, unit] = units.find(([, each]) => size >= each) ?? ['B', 1];
  const amount = size / unit;
  return `${unit > 1 && amount < 10 ? amount.toFixed(1) : Math.round(amount)} ${name}`;
}

/** "0.4 %" of a share. */
export function percent(share) {
  if (!Number.isFinite(share)) return '–';
  if (share > 0 && share < 0.001) return '< 0.1 %';
  return `${(share * 100).toFixed(share > 0 && share < 0.1 ? 1 : 0)} %`;
}

const STATES = {
  trying: ['Connecting', 'info'],
  ringing: ['Ringing', 'info'],
  early: ['Early media', 'info'],
  active: ['Talking', 'good'],
  ending: ['Ending', 'none'],
  ended: ['Ended', 'none'],
};

/** A call's state in a word, and the colour of its badge. */
export function callState(call) {
  if (call.state === 'active' && call.held) return ['On hold', 'fair'];
  return STATES[call.state] ?? [call.state ?? 'Unknown', 'none'];
}

const RESULTS = {
  open: ['In progress', 'info'],
  answered: ['Answered', 'good'],
  no_answer: ['No answer', 'fair'],
  busy: ['Busy', 'fair'],
  cancelled: ['Given up', 'fair'],
  rejected: ['Declined', 'poor'],
  failed: ['Failed', 'poor'],
  lost: ['Cut off', 'poor'],
};
export const RESULT_NAMES = Object.entries(RESULTS).map(([name, [word]]) => [name, word]);

/** How a finished call went. */
export function callResult(record) {
  if (record.result) return RESULTS[record.result] ?? [record.result, 'none'];
  if (record.answered_ms) return RESULTS.answered;
  return record.ended_ms ? RESULTS.failed : RESULTS.open;
}

const ENDS = {
  local: 'Hung up by the application or here',
  remote: 'Hung up by the other side',
  lost: 'The other side stopped answering',
  cancelled: 'The calling side gave up before an answer',
  failed: 'The call could not be set up',
  rejected: 'The called side declined',
  no_answer: 'Nobody answered in time',
  media_timeout: 'No sound came from the other side for too long',
  security_failed: 'The encryption of the sound could not be agreed on',
  draining: 'The gateway was shutting down',
  shutdown: 'The gateway was shut down',
};

export const endReason = (word) => (word ? ENDS[word] ?? word.replaceAll('_', ' ') : null);

/** "486 · Busy". */
export const sipCode = (code) => (code ? `${code} · ${sipReason(code)}` : null);

const SECURITY = {
  none: 'Not encrypted',
  sdes: 'Encrypted (SRTP, keys by SDES)',
  dtls: 'Encrypted (SRTP, keys by DTLS)',
};
export const security = (word, suite) => [SECURITY[word] ?? word ?? null, suite].filter(Boolean).join(', ');

const ORIGINS = {
  config: ['configuration', 'Set in the configuration file; change it there'],
  admin: ['this panel', 'Made here or over the admin API'],
  sync: ['sync', 'Comes from the sync URL; changes there arrive by themselves'],
};

/** Where an entry comes from: its badge's text and explanation. */
export const origin = (word) => ORIGINS[word] ?? [word, ''];
