// The client SDK of ringwire: phone calls and rooms for a browser.
// Served by the gateway at /sdk/ringwire.js; see README.md beside it.

export { SipOutgoingCall } from './outgoing.js';
export { SipIncomingCall, SipIncomingHandler } from './incoming.js';
export { Room, openMicrophone } from './room.js';
export { RoomControl } from './room-control.js';
export { sipReason } from './sip-codes.js';
export {
  ConnectionError,
  GatewayError,
  MicrophoneError,
  RingwireError,
  StateError,
  explain,
} from './errors.js';
export { requestJson } from './http.js';
