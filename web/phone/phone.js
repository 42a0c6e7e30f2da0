// The phone behind the page: one call at a time, with its room.

import { Emitter } from '../sdk/emitter.js';
import {
  Room, SipIncomingCall, SipIncomingHandler, SipOutgoingCall, explain, openMicrophone, sipReason,
} from '../sdk/ringwire.js';
import { current } from './settings.js';
import * as tones from './tones.js';

/** This page's name in its rooms, beside the phone's. */
const PEER = 'browser';
const RENEW_AFTER_MS = 3000;

/** Events: `change` (the session, or null), `levels`, `quality`, `room`, `presence`, `over`, `trouble`. */
export class Phone extends Emitter {
  #api = null;
  #session = null;
  #handler = null;
  #client = null;
  #renewal = null;

  get session() {
    return this.#session;
  }

  use(api) {
    this.#api = api;
  }

  async dial(number, { server, from }) {
    if (this.#session) return;
    const session = this.#begin({ direction: 'out', who: number, room: freshRoom(), phase: 'preparing', text: 'Calling…' });
    try {
      session.microphone = await openMicrophone();
      if (session.over) return;
      const { call_ws: callWs } = await this.#api.dial({ server, from, to: number, room: session.room });
      this.#attach(session, new SipOutgoingCall(callWs), callWs);
      await this.#join(session);
    } catch (error) {
      this.#fail(session, error);
    }
  }

  async accept() {
    const session = this.#session;
    if (session?.phase !== 'incoming') return;
    this.#update(session, { phase: 'preparing', text: 'Connecting…' });
    tones.stop();
    try {
      session.microphone = await openMicrophone();
    } catch (error) {
      // The caller keeps ringing: who allows the microphone can still accept.
      this.emit('trouble', error);
      return this.#update(session, { phase: 'incoming', text: 'Incoming call' });
    }
    try {
      await session.call.accept({ room: session.room, peer: 'phone' });
      if (session.over) return;
      this.#remember(session);
      await this.#join(session);
    } catch (error) {
      this.#fail(session, error);
    }
  }

  reject() {
    const session = this.#session;
    session?.call?.reject?.().catch(() => {});
    if (session) this.#finish(session, { kind: 'rejected' });
  }

  hangUp() {
    const session = this.#session;
    if (!session) return;
    if (session.phase === 'incoming') return this.reject();
    session.call?.end().catch(() => {});
    this.#finish(session, { kind: session.phase === 'answered' ? 'hangup' : 'cancelled' });
  }

  mute(muted) {
    const session = this.#session;
    if (!session?.media) return;
    session.media.mute(muted);
    this.#update(session, { muted });
  }

  /** As an event of our own stream, or where that has none by the gateway. */
  key(digit) {
    const session = this.#session;
    try {
      session?.media?.sendDtmf(digit);
      return true;
    } catch (error) {
      const failed = (problem) => this.emit('trouble', problem);
      if (error.code !== 'NO_DTMF' || session.phase !== 'answered') {
        failed(error);
        return false;
      }
      session.call.sendDtmf(digit).catch(failed);
      return true;
    }
  }

  /** Begins a recording of the call, or ends the one there is. */
  async record() {
    const session = this.#session;
    if (session?.phase !== 'answered') return;
    try {
      await session.call.record(session.recorded ? 'stop' : 'start');
      this.#update(session, { recorded: !session.recorded });
    } catch (error) {
      this.emit('trouble', error);
    }
  }

  resumePlayback() {
    return this.#session?.media?.resumePlayback();
  }

  /** Comes back to the call that was on when the page was reloaded. */
  async resume() {
    const kept = current.get();
    if (!kept || this.#session) return;
    const session = this.#begin({ ...kept, phase: 'preparing', text: 'Coming back to the call…' });
    try {
      const call = kept.direction === 'out'
        ? new SipOutgoingCall(kept.callWs)
        : SipIncomingCall.resume(kept.callWs, { from: kept.who });
      this.#attach(session, call, kept.callWs);
      session.microphone = await openMicrophone();
      if (!session.over) await this.#join(session);
    } catch (error) {
      this.#fail(session, error);
    }
  }

  /** Takes the calls that come for this client, or with null none. */
  async waitFor(client) {
    clearTimeout(this.#renewal);
    this.#client = client;
    this.#handler?.close();
    this.#handler = null;
    if (!client) return this.emit('presence', 'off');
    this.emit('presence', 'connecting');
    let notifyWs;
    try {
      notifyWs = await this.#api.notifyWs(client);
    } catch (error) {
      return this.#waitAgain(client, error);
    }
    if (this.#client !== client) return;
    const handler = new SipIncomingHandler(notifyWs);
    this.#handler = handler;
    handler.on('state', (state) => handler === this.#handler && this.emit('presence', state));
    handler.on('incoming', (call) => this.#incoming(call));
    // A token holds for an hour: ask for another.
    handler.on('closed', (error) => error && handler === this.#handler && this.#waitAgain(client, error));
  }

  #waitAgain(client, error) {
    this.emit('presence', 'trouble');
    if (error.code === 'UNAUTHORIZED' && !this.#handler) return this.emit('trouble', error);
    this.#handler = null;
    this.#renewal = setTimeout(() => this.#client === client && this.waitFor(client), RENEW_AFTER_MS);
  }

  #incoming(call) {
    // One line: who calls while we talk hears it ring until somebody else takes it.
    if (this.#session) return call.detach();
    const session = this.#begin({
      direction: 'in', who: call.from || 'Unknown', to: call.to, room: freshRoom(), phase: 'incoming', text: 'Incoming call',
    });
    this.#attach(session, call, call.ws, false);
    tones.startRinging();
    call.ring().catch(() => {});
  }

  #begin(fields) {
    const session = { since: Date.now(), answeredAt: null, muted: false, recorded: false, over: false, connection: 'none', aborted: new AbortController(), ...fields };
    this.#session = session;
    this.emit('change', session);
    return session;
  }

  #update(session, fields) {
    if (session.over) return;
    Object.assign(session, fields);
    this.emit('change', session);
  }

  #attach(session, call, callWs, remember = true) {
    if (session.over) {
      call.end().catch(() => {});
      return;
    }
    session.call = call;
    session.callWs = callWs;
    if (remember) this.#remember(session);
    call.on('provisional', ({ code, reason }) => {
      if (session.phase !== 'preparing' && session.phase !== 'calling') return;
      if (code === 180) tones.startRingback();
      this.#update(session, { phase: code === 180 ? 'ringing' : 'calling', text: code === 180 ? 'Ringing…' : reason });
    });
    call.on('early', ({ reason }) => {
      tones.stop();
      this.#update(session, { phase: 'ringing', text: `${reason}…` });
    });
    call.on('accepted', () => this.#answered(session));
    call.on('error', ({ message }) => this.emit('trouble', new Error(message)));
    call.ended.then((reason) => this.#finish(session, reason));
  }

  #answered(session) {
    tones.stop();
    this.#update(session, { phase: 'answered', text: 'Connected', answeredAt: session.answeredAt ?? Date.now() });
    if (!session.over) this.#remember(session);
    this.#watchRoom(session);
    this.#api.call(session.callWs).then((call) => this.#update(session, { line: call.security ?? null }), () => {});
  }

  /** Who is in the room and talks, and whether the call is recorded. */
  #watchRoom(session) {
    if (session.over || session.control) return;
    const control = this.#api.control(session.room);
    session.control = control;
    control.on('room', (room) => {
      if (session.over) return;
      const recorded = room.recordings.length > 0;
      if (recorded !== session.recorded) this.#update(session, { recorded });
      this.emit('room', room);
    });
    control.watch(1000);
  }

  async #join(session) {
    this.#update(session, { connection: 'connecting' });
    const media = await Room.join({
      room: session.room,
      peer: PEER,
      token: () => this.#api.roomToken(session.room, PEER),
      microphone: session.microphone,
      signal: session.aborted.signal,
    });
    if (session.over) return media.leave();
    session.media = media;
    media.on('state', (connection) => this.#update(session, { connection }));
    media.on('levels', (levels) => this.emit('levels', levels));
    media.on('quality', (quality) => this.emit('quality', quality));
    media.on('playback', (allowed) => this.emit('playback', allowed));
    media.on('closed', ({ kind, error }) => {
      if (kind === 'left' || session.over) return;
      this.#fail(session, error ?? { code: kind === 'replaced' ? 'REPLACED' : 'CONNECTION_LOST' });
    });
    if (media.playbackBlocked) this.emit('playback', false);
    this.#update(session, { connection: 'connected' });
  }

  #remember({ direction, who, to, room, callWs, answeredAt, since }) {
    current.set({ direction, who, to, room, callWs, answeredAt, since });
  }

  #fail(session, error) {
    if (session.over) return;
    session.call?.end().catch(() => {});
    this.#finish(session, { kind: 'error', error });
  }

  #finish(session, reason) {
    if (session.over) return;
    tones.stop();
    current.clear();
    const failed = ['failed', 'error', 'lost', 'gone'].includes(reason.kind);
    this.#update(session, { phase: 'ended', text: words(reason, session), failed, endedAt: Date.now() });
    session.over = true;
    session.control?.unwatch();
    session.aborted.abort();
    session.media?.leave();
    for (const track of session.microphone?.getTracks() ?? []) track.stop();
    this.#session = null;
    this.emit('over', session);
  }
}

/** Why a call is over, in words. */
function words(reason, { direction, answeredAt }) {
  switch (reason.kind) {
    case 'failed': return `${sipReason(reason.code)} (SIP ${reason.code})`;
    case 'bye': return 'The other side hung up';
    case 'cancelled': return direction === 'in' ? 'The caller gave up' : 'Cancelled';
    case 'rejected': return 'Declined';
    case 'taken': return 'Answered elsewhere';
    case 'gone': return 'The call ended in the meantime';
    case 'lost':
    case 'error':
      return reason.error?.code === 'REPLACED' ? 'The call goes on in another window' : explain(reason.error);
    default: return answeredAt ? 'Call ended' : 'Ended before an answer';
  }
}

function freshRoom() {
  return `phone-${[...crypto.getRandomValues(new Uint8Array(9))].map((byte) => byte.toString(36).padStart(2, '0')).join('')}`;
}
