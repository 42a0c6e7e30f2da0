// Requests to the gateway: where it is, and errors as ours.

import { ConnectionError, StateError, gatewayError } from './errors.js';

/** The gateway that served this module, unless the caller names another. */
export function gatewayUrl(gateway) {
  const url = new URL(gateway ?? '../', import.meta.url);
  if (!url.pathname.endsWith('/')) url.pathname += '/';
  return url;
}

/**
 * A URL below the gateway. Paths that the gateway hands out begin with a
 * slash; behind a proxy with a prefix they are still below `base`.
 */
export function below(base, path) {
  return /^[a-z]+:/i.test(path) ? new URL(path) : new URL(path.replace(/^\/+/, ''), base);
}

/** One request. Throws GatewayError, ConnectionError or StateError. */
export async function request(method, url, { token, type, body, signal, ifMatch, keepalive = false } = {}) {
  const headers = {};
  if (token) headers.Authorization = `Bearer ${token}`;
  if (type) headers['Content-Type'] = type;
  if (ifMatch) headers['If-Match'] = ifMatch;
  let response;
  try {
    response = await fetch(url, { method, headers, body, signal, keepalive, cache: 'no-store' });
  } catch (error) {
    if (signal?.aborted) throw new StateError('ABORTED', 'given up', { cause: error });
    throw new ConnectionError('UNREACHABLE', 'the gateway cannot be reached', { cause: error });
  }
  if (!response.ok) throw await gatewayError(response);
  return response;
}

/** A JSON request to the gateway's REST API; resolves to its `data`. */
export async function requestJson(method, url, { token, body, signal } = {}) {
  const response = await request(method, url, {
    token,
    signal,
    ...(body === undefined ? {} : { type: 'application/json', body: JSON.stringify(body) }),
  });
  const envelope = await response.json();
  return envelope.data;
}

/** Resolves after this many milliseconds. */
export function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
