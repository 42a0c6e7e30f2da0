// Types of ringwire.js. Times are milliseconds unless named otherwise.

/** Ends the subscription it was returned for. */
export type Unsubscribe = () => void;

export interface Emitter<Events> {
  on<K extends keyof Events>(type: K, listener: (detail: Events[K]) => void): Unsubscribe;
  once<K extends keyof Events>(type: K, listener: (detail: Events[K]) => void): Unsubscribe;
  off<K extends keyof Events>(type: K, listener: (detail: Events[K]) => void): void;
}

export interface GatewayOptions {
  /** Base URL of the gateway. Default: the one that served this module. */
  gateway?: string | URL;
}

// Errors

export class RingwireError extends Error {
  readonly code: string;
}
/** The gateway refused: `code` is its own, for example `ROOM_FULL`. */
export class GatewayError extends RingwireError {
  readonly status: number;
  /** Seconds to wait before another try, if the gateway said so. */
  readonly retryAfter: number | null;
}
export class MicrophoneError extends RingwireError {
  readonly code: 'MICROPHONE_DENIED' | 'MICROPHONE_MISSING' | 'MICROPHONE_BUSY' | 'MICROPHONE_UNAVAILABLE';
}
export class ConnectionError extends RingwireError {
  readonly code: 'UNREACHABLE' | 'CONNECTION_LOST' | 'NO_MEDIA' | 'SECURITY_FAILED';
}
export class StateError extends RingwireError {
  readonly code: 'CLOSED' | 'ABORTED' | 'NO_DTMF';
}
/** One sentence for a person, for any error. */
export function explain(error: unknown): string;
/** A SIP response code in words: 486 is "Busy". */
export function sipReason(code: number): string;

// Calls

export type EndReason =
  /** A final SIP answer, or 408 where nobody answered. */
  | { kind: 'failed'; code: number; text: string }
  /** The other side hung up. */
  | { kind: 'bye' }
  /** You hung up. */
  | { kind: 'hangup' }
  /** Given up before an answer, by the gateway or by the caller. */
  | { kind: 'cancelled' }
  /** Refused by you or a colleague. */
  | { kind: 'rejected' }
  /** Another window or colleague answered. */
  | { kind: 'taken' }
  /** The gateway could not be reached for too long. */
  | { kind: 'lost'; error: ConnectionError }
  /** The gateway does not know the call (any more). */
  | { kind: 'gone'; error: GatewayError }
  /** The gateway refused the WebSocket, for example an expired token. */
  | { kind: 'error'; error: GatewayError }
  | { kind: 'ended' };

/** One of `asset`, `url` and `tone`. */
export interface PlayOptions {
  asset?: string;
  url?: string;
  tone?: 'ringback' | 'ringback_us' | 'busy' | 'busy_us' | 'beep';
  /** How often; `Infinity`: until it is stopped. Default 1. */
  repeat?: number;
  volumeDb?: number;
  /** A key of the listener ends it. */
  bargeIn?: boolean;
}
export type RecordingAction = 'start' | 'pause' | 'resume' | 'stop';

/** What a call's own token may do to its sound. */
export interface CallSound {
  /** Keys for the other side: 0-9, *, #, A-D; `w` waits half a second. */
  sendDtmf(digits: string, options?: { duration?: number; pause?: number }): Promise<void>;
  /** Resolves to the play's id. */
  play(what: PlayOptions): Promise<string>;
  stopPlay(playId: string): Promise<void>;
  /** Resolves to the recording's id. */
  record(action: RecordingAction): Promise<string>;
}

export interface CallEvents<State> {
  state: State;
  /** The other side has pressed a key. */
  dtmf: { digit: string; durationMs: number };
  /** What was played has come to its end. */
  played: { playId: string; reason: 'finished' | 'stopped' | 'barge_in' };
  /** A recording of the call has begun, can be fetched, or has failed. */
  recording: { state: 'started' | 'ready' | 'failed'; recordingId: string; reason: string | null };
  /** Something went wrong that did not end the call. */
  error: { message: string };
  /** The WebSocket is down; it comes back by itself. */
  offline: undefined;
  ended: EndReason;
}

interface Call<State> extends CallSound {
  readonly state: State;
  readonly reason: EndReason | null;
  /** Resolves when the call is over. Never rejects. */
  readonly ended: Promise<EndReason>;
  /** Cancels, refuses or hangs up, whichever fits. */
  end(): Promise<void>;
  /** Listens no longer; the gateway ends a call that nobody listens to after 10 s. */
  detach(): void;
}

export type OutgoingState = 'connecting' | 'calling' | 'ringing' | 'early' | 'answered' | 'ended';
export interface OutgoingEvents extends CallEvents<OutgoingState> {
  provisional: { code: number; reason: string };
  early: { code: number; reason: string };
  accepted: { code: number };
  failure: { kind: 'failed'; code: number; text: string };
  bye: undefined;
}
export class SipOutgoingCall implements Call<OutgoingState>, Emitter<OutgoingEvents> {
  /** `callWs` as `POST /call/outgoing` gave it, or a whole URL. */
  constructor(callWs: string, options?: GatewayOptions);
  readonly state: OutgoingState;
  readonly reason: EndReason | null;
  readonly ended: Promise<EndReason>;
  /** The latest SIP code. */
  readonly code: number | null;
  end(): Promise<void>;
  sendDtmf(digits: string, options?: { duration?: number; pause?: number }): Promise<void>;
  play(what: PlayOptions): Promise<string>;
  stopPlay(playId: string): Promise<void>;
  record(action: RecordingAction): Promise<string>;
  detach(): void;
  on<K extends keyof OutgoingEvents>(type: K, listener: (detail: OutgoingEvents[K]) => void): Unsubscribe;
  once<K extends keyof OutgoingEvents>(type: K, listener: (detail: OutgoingEvents[K]) => void): Unsubscribe;
  off<K extends keyof OutgoingEvents>(type: K, listener: (detail: OutgoingEvents[K]) => void): void;
}

export type IncomingState = 'connecting' | 'waiting' | 'ringing' | 'accepting' | 'answered' | 'ended';
export interface IncomingEvents extends CallEvents<IncomingState> {
  accepted: undefined;
}
export class SipIncomingCall implements Call<IncomingState>, Emitter<IncomingEvents> {
  constructor(callWs: string, options?: GatewayOptions & { from?: string; to?: string });
  /** For a page that was reloaded during a call that it had accepted. */
  static resume(callWs: string, options?: GatewayOptions & { from?: string; to?: string }): SipIncomingCall;
  readonly state: IncomingState;
  readonly reason: EndReason | null;
  readonly ended: Promise<EndReason>;
  readonly from: string;
  readonly to: string;
  /** The call's WebSocket path and token; set on calls of a SipIncomingHandler. */
  readonly ws?: string;
  readonly token?: string;
  /** Lets the caller hear ringing. */
  ring(): Promise<void>;
  /** Answers: the caller becomes `peer` of `room`. */
  accept(stream: { room: string; peer: string; record?: boolean }): Promise<void>;
  reject(): Promise<void>;
  end(): Promise<void>;
  sendDtmf(digits: string, options?: { duration?: number; pause?: number }): Promise<void>;
  play(what: PlayOptions): Promise<string>;
  stopPlay(playId: string): Promise<void>;
  record(action: RecordingAction): Promise<string>;
  detach(): void;
  on<K extends keyof IncomingEvents>(type: K, listener: (detail: IncomingEvents[K]) => void): Unsubscribe;
  once<K extends keyof IncomingEvents>(type: K, listener: (detail: IncomingEvents[K]) => void): Unsubscribe;
  off<K extends keyof IncomingEvents>(type: K, listener: (detail: IncomingEvents[K]) => void): void;
}

export type HandlerState = 'connecting' | 'waiting' | 'reconnecting' | 'closed';
export interface HandlerEvents {
  state: HandlerState;
  incoming: SipIncomingCall;
  /** Closed by you (null), or refused by the gateway. */
  closed: RingwireError | null;
}
export class SipIncomingHandler implements Emitter<HandlerEvents> {
  /** `notifyWs` as `POST /token/notify` gave it, or a whole URL. */
  constructor(notifyWs: string, options?: GatewayOptions);
  readonly state: HandlerState;
  readonly calls: SipIncomingCall[];
  close(): void;
  on<K extends keyof HandlerEvents>(type: K, listener: (detail: HandlerEvents[K]) => void): Unsubscribe;
  once<K extends keyof HandlerEvents>(type: K, listener: (detail: HandlerEvents[K]) => void): Unsubscribe;
  off<K extends keyof HandlerEvents>(type: K, listener: (detail: HandlerEvents[K]) => void): void;
}

// Rooms

export type RoomState = 'connecting' | 'connected' | 'reconnecting' | 'closed';
export type RoomReason =
  /** You left. */
  | { kind: 'left' }
  /** The application removed this peer, or the room was closed. */
  | { kind: 'deleted' | 'room_closed' }
  /** The same room and peer were joined elsewhere, for example in another tab. */
  | { kind: 'replaced' }
  | { kind: 'error'; error: RingwireError };

export interface Quality {
  /** Lost of what comes to us, over the last second. */
  lossPercent: number | null;
  /** Lost of what we send, as the gateway reports it. */
  remoteLossPercent: number | null;
  jitterMs: number | null;
  roundTripMs: number | null;
  /** For example `opus` or `PCMA`. */
  codec: string | null;
  /** The SRTP suite. */
  cipher: string | null;
  packetsReceived: number;
  packetsSent: number;
  /** `silent`: nothing came in the last second. */
  rating: 'good' | 'fair' | 'poor' | 'silent';
}
/** Loudness from 0 (silent) to 1. */
export interface Levels {
  input: number;
  output: number;
}

export interface JoinOptions extends GatewayOptions {
  room: string;
  peer: string;
  /** A room token; a function is asked again for every connection. */
  token: string | (() => string | Promise<string>);
  /** true: ask for it. false: only listen. Default true. */
  microphone?: boolean | MediaStream | MediaTrackConstraints;
  /** Where to play; default one of the SDK's own. */
  audioElement?: HTMLAudioElement;
  /** How long to try to restore a lost connection. Default 30,000. */
  reconnectFor?: number;
  /** Gives up joining. */
  signal?: AbortSignal;
  /** Gets the room before it is connected, to show its states. */
  onRoom?: (room: Room) => void;
}

export interface RoomEvents {
  state: RoomState;
  /** Ten times a second. */
  levels: Levels;
  /** Once a second. */
  quality: Quality;
  muted: boolean;
  /** false: the browser holds sound back until `resumePlayback()` is called from a click. */
  playback: boolean;
  closed: RoomReason;
}
export class Room implements Emitter<RoomEvents> {
  private constructor();
  /** Resolves once audio can flow. */
  static join(options: JoinOptions): Promise<Room>;
  readonly state: RoomState;
  readonly reason: RoomReason | null;
  readonly muted: boolean;
  readonly levels: Levels;
  readonly quality: Quality | null;
  readonly playbackBlocked: boolean;
  readonly remoteStream: MediaStream | null;
  readonly localStream: MediaStream | null;
  readonly connection: RTCPeerConnection | null;
  mute(muted?: boolean): void;
  unmute(): void;
  /** Throws `NO_DTMF` where no telephone-event was negotiated. */
  sendDtmf(digits: string, options?: { duration?: number; gap?: number }): void;
  resumePlayback(): Promise<void>;
  reconnect(): Promise<void>;
  leave(): Promise<void>;
  on<K extends keyof RoomEvents>(type: K, listener: (detail: RoomEvents[K]) => void): Unsubscribe;
  once<K extends keyof RoomEvents>(type: K, listener: (detail: RoomEvents[K]) => void): Unsubscribe;
  off<K extends keyof RoomEvents>(type: K, listener: (detail: RoomEvents[K]) => void): void;
}

/** How a peer is heard and hears. */
export interface PeerAudio {
  muted: boolean;
  deafened: boolean;
  gainDb: number;
  /** Names of the peers who alone hear it; null: everybody. */
  heardBy: string[] | null;
}
export interface RoomControlEvents {
  /** As `GET /rooms/{room}` tells it. */
  room: any;
  /** Names of those who speak, whenever they change. Only mixed rooms know them. */
  talkers: string[];
  trouble: RingwireError;
}
/** A room for whoever holds the app's secret: not for pages that others use. */
export class RoomControl implements Emitter<RoomControlEvents> {
  constructor(options: GatewayOptions & { room: string; token: string });
  info(): Promise<any>;
  turn(peer: string, change?: Partial<PeerAudio>): Promise<PeerAudio>;
  /** To everybody; resolves to the play's id. */
  play(what: PlayOptions): Promise<string>;
  stopPlay(playId: string): Promise<void>;
  /** Of the whole room; resolves to the recording's id. */
  record(action: RecordingAction): Promise<string>;
  /** Looks again and again (milliseconds, default 500), until `unwatch`. */
  watch(everyMs?: number): void;
  unwatch(): void;
  on<K extends keyof RoomControlEvents>(type: K, listener: (detail: RoomControlEvents[K]) => void): Unsubscribe;
  once<K extends keyof RoomControlEvents>(type: K, listener: (detail: RoomControlEvents[K]) => void): Unsubscribe;
  off<K extends keyof RoomControlEvents>(type: K, listener: (detail: RoomControlEvents[K]) => void): void;
}

/** A MediaStream of the microphone; throws a MicrophoneError. */
export function openMicrophone(constraints?: MediaTrackConstraints): Promise<MediaStream>;

/** A request to the REST API; resolves to `data`, throws GatewayError. */
export function requestJson(
  method: string,
  url: string | URL,
  options?: { token?: string; body?: unknown; signal?: AbortSignal },
): Promise<any>;
