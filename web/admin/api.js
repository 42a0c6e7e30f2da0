// Requests of this page: the session's CSRF token, and errors in plain words.

const BASE = new URL('api/', import.meta.url);
const TIMEOUT_MS = 30_000;

/** What the gateway refused, or that it was not to be reached. */
export class ApiError extends Error {
  constructor(code, message, { status = 0, retryAfter = null } = {}) {
    super(message);
    this.code = code;
    this.status = status;
    this.retryAfter = retryAfter;
    // A 400 begins with the name of the field.
    const [, field, problem] = /^([a-z_]+(?:\.[a-z_]+|\[\d+\])*): ([^]*)$/.exec(message) ?? [];
    this.field = status === 400 ? field ?? null : null;
    this.problem = problem ?? message;
  }
}

let csrfToken = null;
/** Asks the user to log in again; resolves when that is done. */
let logInAgain = () => Promise.reject(new ApiError('NOT_LOGGED_IN', 'The session has ended.'));
/** Hears whether the gateway answers. */
let heard = () => {};

export function useSession({ token }) {
  csrfToken = token;
}

export function onLoggedOut(ask) {
  logInAgain = ask;
}

export function onReached(listener) {
  heard = listener;
}

/** A path below the API with its query; null and '' are left out. */
export function path(parts, query = {}) {
  const text = [parts].flat().map(encodeURIComponent).join('/');
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== '');
  return given.length > 0 ? `${text}?${new URLSearchParams(given)}` : text;
}

/** The address of a path, for links and EventSource. */
export function address(parts, query) {
  return new URL(path(parts, query), BASE).href;
}

export const get = (parts, query, { signal } = {}) => request('GET', path(parts, query), { signal });
export const post = (parts, body, options = {}) => request('POST', path(parts), { body, ...options });
export const put = (parts, body, options = {}) => request('PUT', path(parts), { body, ...options });
export const remove = (parts, options = {}) => request('DELETE', path(parts), options);

/** Resolves if there is a file at this path, and else says why not. */
export const check = (parts, { signal } = {}) => request('GET', path(parts), { signal, file: true });

/**
 * Resolves to `data`. `open`: a request that needs no session, and asks for
 * none. `file`: the answer is one, and its first byte is enough.
 */
async function request(method, relative, { body, signal, open = false, file = false } = {}) {
  for (;;) {
    const response = await send(method, relative, { body, signal, file });
    if (file && response.ok) return undefined;
    const envelope = await response.json().catch(() => null);
    if (response.ok && envelope?.status === true) return envelope.data ?? {};
    const error = failure(response, envelope);
    if (error.code !== 'NOT_LOGGED_IN' || open) throw error;
    await logInAgain();
    signal?.throwIfAborted();
  }
}

async function send(method, relative, { body, signal, file }) {
  const headers = file ? { Range: 'bytes=0-0' } : {};
  if (method !== 'GET' && csrfToken) headers['X-CSRF-Token'] = csrfToken;
  if (method !== 'GET' && method !== 'DELETE') headers['Content-Type'] = 'application/json';
  const limits = [AbortSignal.timeout(TIMEOUT_MS), signal].filter(Boolean);
  try {
    const response = await fetch(new URL(relative, BASE), {
      method,
      headers,
      body: headers['Content-Type'] && JSON.stringify(body ?? {}),
      signal: AbortSignal.any(limits),
      cache: 'no-store',
      credentials: 'same-origin',
    });
    heard(true);
    return response;
  } catch (error) {
    signal?.throwIfAborted();
    heard(false);
    throw new ApiError('UNREACHABLE', 'The gateway cannot be reached. Check that it runs and that you are on its network; this page tries again by itself.');
  }
}

function failure(response, envelope) {
  const retryAfter = Number(response.headers.get('Retry-After')) || null;
  const { status } = response;
  if (!envelope?.error) return new ApiError('UNKNOWN', `The gateway answered ${status} without saying why.`, { status, retryAfter });
  return new ApiError(envelope.error, envelope.message ?? envelope.error, { status, retryAfter });
}

/** Whether a request was given up because its view was left. */
export function isAborted(error) {
  return error?.name === 'AbortError';
}

/** An error as a sentence. */
export function sentence(error) {
  const words = {
    CSRF: 'This tab’s session is not the current one. Reload the page and try again.',
    CALL_NOT_FOUND: 'This call is not there any more.',
    RECORDING_NOT_FOUND: 'This recording is not there any more.',
  };
  if (!(error instanceof ApiError)) return `Something went wrong in this page: ${error?.message ?? error}`;
  return asSentence(words[error.code] ?? error.message);
}

/** The gateway's messages begin small and end without a full stop. */
export function asSentence(message) {
  const text = String(message ?? '');
  const upper = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(upper) ? upper : `${upper}.`;
}
