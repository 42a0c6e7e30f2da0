//! The three WebSockets: what they share, and the two of a call.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message as Frame, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{FromRequestParts, Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};

use crate::call::request::{Action, Direction};

use super::auth::{Permit, query_value};
use super::body::{MAX_BODY, name};
use super::error::ApiError;
use super::messages::Encoding;
use super::notify::Subscription;
use super::openapi::{Denied, Failure};
use super::registry::{Call, MAX_SOCKETS, Missed};
use super::{Shared, ws_requests};

/// RFC 6455 section 7.4.1 and the IANA registry: "try again later".
const TRY_AGAIN_LATER: u16 = 1013;

/// What a WebSocket reads into, in bytes, for as long as it is open. A frame
/// that is longer takes several reads; most that come are a few dozen bytes.
const READ_BUFFER: usize = 4 * 1024;

/// Follows an outgoing call on a WebSocket.
///
/// Binary frames carry protobuf, text frames the same in JSON; see
/// `proto/sip_gateway.proto`.
#[utoipa::path(
    get,
    path = "/call/outgoing/{call_id}",
    operation_id = "outgoing_ws",
    tag = "calls",
    params(("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it"), ("format" = Option<String>, Query, description = "`json` for text frames from the start")),
    responses(
        (status = 101, description = "A WebSocket from here on"),
        (status = 404, description = "`CALL_NOT_FOUND`", body = Failure),
        (status = 426, description = "`UPGRADE_REQUIRED`: this is a WebSocket", body = Failure),
        Denied,
    )
)]
pub async fn outgoing(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    call_socket(shared, call_id, request, Direction::Outgoing).await
}

/// Follows an incoming call on a WebSocket.
///
/// Binary frames carry protobuf, text frames the same in JSON; see
/// `proto/sip_gateway.proto`.
#[utoipa::path(
    get,
    path = "/call/incoming/{call_id}",
    operation_id = "incoming_ws",
    tag = "calls",
    params(("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it"), ("format" = Option<String>, Query, description = "`json` for text frames from the start")),
    responses(
        (status = 101, description = "A WebSocket from here on"),
        (status = 404, description = "`CALL_NOT_FOUND`", body = Failure),
        (status = 426, description = "`UPGRADE_REQUIRED`: this is a WebSocket", body = Failure),
        Denied,
    )
)]
pub async fn incoming(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    call_socket(shared, call_id, request, Direction::Incoming).await
}

/// Hears of incoming calls on a WebSocket.
///
/// Binary frames carry protobuf, text frames the same in JSON; see
/// `proto/sip_gateway.proto`.
#[utoipa::path(
    get,
    path = "/call/incoming/notify",
    operation_id = "notify_ws",
    tag = "calls",
    params(("client_id" = Option<String>, Query, description = "Who listens; for the app_secret, as a notify token says it"), ("format" = Option<String>, Query, description = "`json` for text frames from the start")),
    responses(
        (status = 101, description = "A WebSocket from here on"),
        (status = 429, description = "`TOO_MANY_SOCKETS`", body = Failure),
        (status = 426, description = "`UPGRADE_REQUIRED`: this is a WebSocket", body = Failure),
        Denied,
    )
)]
pub async fn notify(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let (app, client) = match shared.gate.permit(&parts)? {
        Permit::Notify(app, client) => (app, client),
        Permit::App(app) => (app, name(query_value(&parts, "client_id"), "client_id")?),
        Permit::Call(..) | Permit::Room(..) => {
            return Err(ApiError::forbidden(
                "this needs a notify token, or the app_secret with ?client_id=",
            ));
        }
    };
    let encoding = encoding(&parts)?;
    let (upgrade, room) = upgrade(&shared, &mut parts).await?;
    let Some(subscription) = shared.clients.subscribe(&app, &client) else {
        return Err(too_many("this client has too many connections already"));
    };
    // If the upgrade fails, nobody would unsubscribe: the guard does.
    let guard = Subscribed(shared.clone(), subscription);
    Ok(upgrade.on_upgrade(move |socket| async move {
        let _room = room;
        let connection = Connection::new(&guard.0, socket, encoding);
        serve_notify(guard, connection).await;
    }))
}

struct Subscribed(Arc<Shared>, Subscription);

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.0.clients.unsubscribe(&self.1);
    }
}

async fn call_socket(
    shared: Arc<Shared>,
    call_id: String,
    request: Request,
    direction: Direction,
) -> Result<Response, ApiError> {
    let (mut parts, _) = request.into_parts();
    let call = shared.call_for(&parts, &call_id, Some(direction)).await?;
    let encoding = encoding(&parts)?;
    let (upgrade, room) = upgrade(&shared, &mut parts).await?;
    Ok(upgrade.on_upgrade(move |socket| async move {
        let _room = room;
        let mut connection = Connection::new(&shared, socket, encoding);
        if !call.socket_opened() {
            let reason = format!("the call has {MAX_SOCKETS} WebSockets already");
            return connection.close(TRY_AGAIN_LATER, &reason).await;
        }
        shared.counters.socket_opened();
        serve_call(&shared, &call, connection).await;
        shared.counters.socket_closed();
        if let Some(since) = call.socket_closed() {
            end_if_alone(&shared, call, since);
        }
    }))
}

/// The last WebSocket of a living call is gone: if none comes back in time,
/// the call is ended.
fn end_if_alone(shared: &Arc<Shared>, call: Arc<Call>, since: u64) {
    let shared = shared.clone();
    let mut ending = shared.ending.subscribe();
    tokio::spawn(async move {
        tokio::select! {
            () = tokio::time::sleep(shared.settings().ws_grace) => {}
            () = is_ending(&mut ending) => return,
        }
        if call.still_alone(since) {
            tracing::info!(call_id = %call.id, "nobody came back to the call's WebSocket: ending it");
            let _ = shared.act(&call, Action::End).await;
        }
    });
}

async fn serve_call(shared: &Arc<Shared>, call: &Arc<Call>, mut connection: Connection) {
    let mut changes = call.changes();
    let mut ending = shared.ending.subscribe();
    let mut place = None;
    loop {
        changes.mark_unchanged();
        let (missed, next) = call.events_from(place);
        place = Some(next);
        let ended = match missed {
            Missed::Events(events, ended) => {
                for event in events {
                    let frame = event.frame(connection.encoding);
                    if connection.send(frame).await.is_err() {
                        return;
                    }
                }
                ended
            }
            Missed::TooMany => {
                let reason = "too slow: events were missed";
                return connection.close(close_code::POLICY, reason).await;
            }
        };
        if ended {
            return connection
                .close(close_code::NORMAL, "the call has ended")
                .await;
        }
        tokio::select! {
            // What happened is told before anything else is done.
            biased;
            _ = changes.changed() => {}
            frame = connection.next() => {
                let Some(frame) = frame else { return };
                let answer = ws_requests::answer(shared, call, &frame, connection.encoding).await;
                if let Some(answer) = answer && connection.send(answer).await.is_err() {
                    return;
                }
            }
            () = is_ending(&mut ending) => {
                return connection.close(close_code::AWAY, "the gateway is ending").await;
            }
        }
    }
}

async fn serve_notify(mut guard: Subscribed, mut connection: Connection) {
    let shared = guard.0.clone();
    let mut ending = shared.ending.subscribe();
    shared.counters.socket_opened();
    let waiting = std::mem::take(&mut guard.1.waiting);
    let mut next = waiting.into_iter();
    loop {
        if let Some(message) = next.next() {
            let frame = connection.encoding.frame(&message);
            if connection.send(frame).await.is_err() {
                break;
            }
            continue;
        }
        tokio::select! {
            biased;
            message = guard.1.messages.recv() => {
                let Some(message) = message else {
                    let reason = "too slow: messages were missed";
                    connection.close(close_code::POLICY, reason).await;
                    break;
                };
                let frame = connection.encoding.frame(&message);
                if connection.send(frame).await.is_err() {
                    break;
                }
            }
            // Nothing is asked for here; a frame only tells its kind.
            frame = connection.next() => if frame.is_none() { break },
            () = is_ending(&mut ending) => {
                connection.close(close_code::AWAY, "the gateway is ending").await;
                break;
            }
        }
    }
    shared.counters.socket_closed();
}

/// One WebSocket that is kept alive.
struct Connection {
    socket: WebSocket,
    encoding: Encoding,
    ping: Interval,
    silence: Duration,
    heard: Instant,
}

/// The other end is gone.
struct Gone;

impl Connection {
    fn new(shared: &Shared, socket: WebSocket, encoding: Encoding) -> Self {
        let every = shared.settings().ws_ping;
        let mut ping = tokio::time::interval_at(Instant::now() + every, every);
        ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Connection {
            socket,
            encoding,
            ping,
            silence: shared.settings().ws_silence,
            heard: Instant::now(),
        }
    }

    async fn send(&mut self, frame: Frame) -> Result<(), Gone> {
        match tokio::time::timeout(self.silence, self.socket.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// The next text or binary frame; none once the client is gone or silent
    /// for too long. May be dropped at any time without losing a frame.
    async fn next(&mut self) -> Option<Frame> {
        loop {
            tokio::select! {
                frame = self.socket.recv() => {
                    let frame = frame?.ok()?;
                    self.heard = Instant::now();
                    match &frame {
                        Frame::Text(_) => self.encoding = Encoding::Text,
                        Frame::Binary(_) => self.encoding = Encoding::Binary,
                        Frame::Ping(_) | Frame::Pong(_) => continue,
                        Frame::Close(_) => return None,
                    }
                    return Some(frame);
                }
                _ = self.ping.tick() => {
                    if self.heard.elapsed() >= self.silence {
                        return None;
                    }
                    self.send(Frame::Ping(Default::default())).await.ok()?;
                }
            }
        }
    }

    async fn close(&mut self, code: u16, reason: &str) {
        let frame = Frame::Close(Some(CloseFrame {
            code,
            reason: reason.into(),
        }));
        if self.send(frame).await.is_err() {
            return;
        }
        // RFC 6455 section 7.1.1: the other end closes in turn; it is given a
        // moment, so that what was sent is read before the connection goes.
        let answered = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        let _ = tokio::time::timeout(Duration::from_secs(1), answered).await;
    }
}

fn encoding(parts: &Parts) -> Result<Encoding, ApiError> {
    match query_value(parts, "format").as_deref() {
        None | Some("protobuf") | Some("binary") => Ok(Encoding::Binary),
        Some("json") => Ok(Encoding::Text),
        Some(other) => Err(ApiError::field(
            "format",
            format!("{other:?} is not \"json\"; leave it out for protobuf"),
        )),
    }
}

/// The upgrade, and the room that the WebSocket takes among all.
async fn upgrade(
    shared: &Shared,
    parts: &mut Parts,
) -> Result<(WebSocketUpgrade, OwnedSemaphorePermit), ApiError> {
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &())
        .await
        .map_err(|_| ApiError::of_status(StatusCode::UPGRADE_REQUIRED))?
        .read_buffer_size(READ_BUFFER)
        .max_message_size(MAX_BODY)
        .max_frame_size(MAX_BODY);
    match shared.sockets.clone().try_acquire_owned() {
        Ok(room) => Ok((upgrade, room)),
        Err(_) => Err(ApiError::overloaded(
            "the gateway has as many WebSockets as it takes; try again later",
        )),
    }
}

async fn is_ending(ending: &mut watch::Receiver<bool>) {
    let _ = ending.wait_for(|ending| *ending).await;
}

fn too_many(message: &str) -> ApiError {
    ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_SOCKETS", message)
}
