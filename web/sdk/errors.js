// What can go wrong, each with a `code` for programs and `explain` for people.

/** Everything this SDK throws or emits as an error. */
export class RingwireError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = new.target.name;
    this.code = code;
  }
}

/** The gateway refused a request: `code` and `message` are the gateway's own. */
export class GatewayError extends RingwireError {
  constructor(code, message, status, retryAfter = null) {
    super(code, message);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

/** No microphone: `MICROPHONE_DENIED`, `_MISSING`, `_BUSY`, `_UNAVAILABLE`. */
export class MicrophoneError extends RingwireError {}

/** The gateway or the media cannot be reached: `UNREACHABLE`, `CONNECTION_LOST`, `NO_MEDIA`. */
export class ConnectionError extends RingwireError {}

/** What was asked needs something that is no longer, or not yet, there: `CLOSED`, `NO_DTMF`, `ABORTED`. */
export class StateError extends RingwireError {}

/** A GatewayError made of a response whose body is the envelope, or is not. */
export async function gatewayError(response) {
  let body = null;
  try {
    body = await response.json();
  } catch {
    // A proxy between us and the gateway answers in its own words.
  }
  const seconds = Number(response.headers.get('Retry-After'));
  return new GatewayError(
    body?.error ?? `HTTP_${response.status}`,
    body?.message ?? `the gateway answered ${response.status}`,
    response.status,
    Number.isFinite(seconds) && seconds > 0 ? seconds : null,
  );
}

/** What `getUserMedia` threw, as ours. */
export function microphoneError(error) {
  switch (error?.name) {
    case 'NotAllowedError':
    case 'SecurityError':
      return new MicrophoneError('MICROPHONE_DENIED', 'the microphone is not allowed', { cause: error });
    case 'NotFoundError':
    case 'OverconstrainedError':
      return new MicrophoneError('MICROPHONE_MISSING', 'there is no microphone', { cause: error });
    case 'NotReadableError':
    case 'AbortError':
      return new MicrophoneError('MICROPHONE_BUSY', 'the microphone cannot be opened', { cause: error });
    default:
      return new MicrophoneError('MICROPHONE_UNAVAILABLE', String(error?.message ?? error), { cause: error });
  }
}

const PLAIN = {
  MICROPHONE_DENIED: 'Your browser does not let this page use the microphone. Allow it in the address bar, then try again.',
  MICROPHONE_MISSING: 'No microphone was found. Connect one and try again.',
  MICROPHONE_BUSY: 'The microphone is in use by another program. Close that program and try again.',
  MICROPHONE_UNAVAILABLE: 'The microphone cannot be used. Browsers allow it only on https pages and on localhost.',
  UNREACHABLE: 'The gateway cannot be reached. Check your network.',
  CONNECTION_LOST: 'The connection was lost and could not be restored.',
  NO_MEDIA: 'No audio connection to the gateway came about. A firewall may block UDP.',
  SECURITY_FAILED: 'The encrypted audio connection could not be verified, so it was closed.',
  UNAUTHORIZED: 'The key or token is wrong or has expired. Sign in again.',
  FORBIDDEN: 'This key may not do that.',
  ROOM_FULL: 'Somebody else is already in this call; there is no place left.',
  PEER_EXISTS: 'Somebody of the same name is already in this call.',
  NO_COMMON_CODEC: 'Your browser and the phone have no audio format in common.',
  HOST_NOT_FOUND: 'The name of the phone server was not found. Check its spelling.',
  CALL_NOT_FOUND: 'This call is already over.',
  ROOM_NOT_FOUND: 'This call is already over.',
  WRONG_STATE: 'That is not possible right now: the call has moved on.',
  OVERLOADED: 'The gateway is busy. Try again in a moment.',
  PORTS_EXHAUSTED: 'The gateway has no free line. Try again in a moment.',
  DRAINING: 'The gateway is being restarted. Try again in a moment.',
  NO_DTMF: 'The other side does not take key tones.',
  CLOSED: 'This connection is already closed.',
};

/** One sentence for a person, for any error. */
export function explain(error) {
  return PLAIN[error?.code] ?? (error?.message ? `That did not work: ${error.message}.` : 'That did not work.');
}
