//! What the shards tell, on its way to WebSockets, hooks and notify_ws.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::call::event::{Arrival, CallEvent, CallEventKind, ServerRequest, WebEvent};
use crate::call::request::{Action, Direction};

use super::Shared;
use super::actions::IncomingAction;
use super::auth::unix_ms;
use super::error::ApiError;
use super::hook_answer::HookAnswer;
use super::messages::{CallMessage, notify_arrived, notify_follow_up};
use super::proto::sip_gateway::{IncomingCallNotify, call_event};
use super::registry::{Call, Caller};
use super::sound::waiting::NumberSounds;

/// How often ended calls are looked through.
const FORGET_EVERY: Duration = Duration::from_secs(5);

/// Where events come more often than this, they are gathered for as long: to
/// be woken costs more than most events do, here and on the shard.
const GATHER: Duration = Duration::from_millis(2);
/// Events taken at once at most.
const MOST_AT_ONCE: usize = 256;

/// Takes events until the shards are gone, or until it is told to stop, then
/// those that have come by then. Never waits for anybody else.
pub async fn run(
    shared: Arc<Shared>,
    mut events: mpsc::Receiver<CallEvent>,
    mut stop: oneshot::Receiver<()>,
) {
    let mut forget = tokio::time::interval(FORGET_EVERY);
    let mut come = Vec::with_capacity(MOST_AT_ONCE);
    let mut taken = Instant::now();
    loop {
        tokio::select! {
            biased;
            count = events.recv_many(&mut come, MOST_AT_ONCE) => {
                if count == 0 {
                    return;
                }
                let busy = taken.elapsed() < GATHER;
                for event in come.drain(..) {
                    take(&shared, event);
                }
                if busy && count < MOST_AT_ONCE {
                    tokio::time::sleep(GATHER).await;
                }
                taken = Instant::now();
            }
            _ = &mut stop => break,
            now = forget.tick() => shared.registry.forget_old(now),
        }
    }
    while let Ok(event) = events.try_recv() {
        take(&shared, event);
    }
}

fn take(shared: &Arc<Shared>, event: CallEvent) {
    log(&event);
    shared.counters.call_event(label(&event.kind));
    match event.kind {
        CallEventKind::Arrived(ref arrival) => arrived(shared, &event, arrival),
        CallEventKind::Web(web) => shared.web_peers.take(event.call, web),
        CallEventKind::MediaServer(request) => {
            if let Some(sessions) = &shared.media_sessions {
                let book = shared.directory.book();
                let secret = book.app(&event.app).map(|app| app.secret.as_str());
                sessions.take(event.call, secret, request);
            }
        }
        kind => {
            // An incoming call is known by its arrival; what is not known yet
            // is outgoing, and the request that dialled is about to tell.
            let call = shared.registry.get(event.call).unwrap_or_else(|| {
                shared
                    .registry
                    .entry(event.call, &event.app, Direction::Outgoing)
            });
            follow_up(shared, &call, event.timestamp_ms, kind);
        }
    }
}

fn arrived(shared: &Arc<Shared>, event: &CallEvent, arrival: &Arrival) {
    let client_id = arrival.number.client_id.clone();
    let prepare = |call: &Call| {
        shared.records.arrived(call, event.timestamp_ms, arrival);
        call.set_caller(Caller {
            from: arrival.from.clone(),
            to: arrival.to.clone(),
            client_id: client_id.clone(),
        });
        call.set_sounds(NumberSounds::of(&arrival.number));
        if let Some(stream) = &arrival.stream {
            call.set_place(stream.clone());
        }
    };
    let call = shared
        .registry
        .prepared_entry(event.call, &event.app, Direction::Incoming, prepare);
    let hooks = arrival
        .number
        .hook
        .clone()
        .and_then(|hook| shared.hooks.of_call(&event.app, call.id, hook));
    call.set_hooks(hooks.clone());
    let asks = !arrival.answered_without_asking;
    if client_id.is_none() && hooks.is_none() {
        if asks {
            nobody_to_ask(shared, call, arrival);
        }
        return;
    }
    // A failure is logged where it happens; the call can still be acted on
    // with the app_secret.
    let token = shared
        .gate
        .call_token(&event.app, call.id, shared.settings().token_ttl)
        .unwrap_or_default();
    let path = format!("/call/incoming/{}?token={token}", call.id);
    let message = notify_arrived(&token, &path, &arrival.from, &arrival.to);
    let told = match &client_id {
        Some(client) => shared
            .clients
            .arrived(&event.app, client, call.id, &message, asks),
        None => 0,
    };
    let notify = call_event::Event::Notify(message);
    match hooks {
        Some(hooks) if asks => {
            let shared = shared.clone();
            let answer = hooks.ask(event.timestamp_ms, notify);
            tokio::spawn(async move { answered(&shared, &call, answer.await).await });
        }
        Some(hooks) => hooks.post(event.timestamp_ms, notify),
        None if asks && told == 0 => nobody_to_ask(shared, call, arrival),
        None => {}
    }
}

fn nobody_to_ask(shared: &Arc<Shared>, call: Arc<Call>, arrival: &Arrival) {
    tracing::warn!(
        call_id = %call.id,
        number = %arrival.to,
        "nobody to ask: the number has no hook, and nobody is connected at notify_ws"
    );
    let shared = shared.clone();
    tokio::spawn(async move { reject(&shared, &call).await });
}

/// The hook has said what to do, or nothing usable.
async fn answered(shared: &Arc<Shared>, call: &Arc<Call>, answer: Result<HookAnswer, String>) {
    let action = match answer {
        Ok(HookAnswer::Continue) => return,
        Ok(HookAnswer::Act(action)) => action,
        Err(problem) => {
            tracing::warn!(call_id = %call.id, %problem, "no usable answer of the hook");
            return reject(shared, call).await;
        }
    };
    let was_accept = matches!(action, IncomingAction::Accept(_));
    let Err(error) = shared.do_incoming(call, action).await else {
        return;
    };
    tracing::warn!(call_id = %call.id, problem = %error.message, "the hook's answer could not be followed");
    // Somebody else was quicker, the caller is gone, or was turned away already:
    // nothing is owed.
    let settled = matches!(
        error.code,
        "WRONG_STATE" | "CALL_NOT_FOUND" | "MEDIA_SERVER_FAILED"
    );
    if was_accept && !settled {
        let now_ms = unix_ms();
        shared.records.went_wrong(call, now_ms, &error.message);
        let message = CallMessage::error(&error.message, Direction::Incoming);
        call.push(now_ms, message);
        reject(shared, call).await;
    }
}

async fn reject(shared: &Shared, call: &Call) {
    let action = Action::Reject(shared.settings().failure_code);
    if let Err(ApiError { message, .. }) = shared.act(call, action).await {
        tracing::debug!(call_id = %call.id, problem = %message, "not rejected");
    }
}

fn follow_up(shared: &Arc<Shared>, call: &Arc<Call>, timestamp_ms: u64, kind: CallEventKind) {
    shared.records.happened(call, timestamp_ms, &kind);
    match kind {
        CallEventKind::Accepted => shared.keep_company(call),
        CallEventKind::Answered(_) => {
            call.set_answered();
            shared.keep_company(call);
        }
        _ => {}
    }
    if call.direction == Direction::Incoming
        && let Some(caller) = call.caller()
    {
        let message = notify_follow_up(&kind, &caller.from, &caller.to);
        settle(shared, call, &caller, &kind, message.as_ref());
        if let (Some(message), Some(hooks)) = (message, call.hooks()) {
            hooks.post(timestamp_ms, call_event::Event::Notify(message));
        }
    }
    let Some(message) = CallMessage::of(&kind, call.direction) else {
        return;
    };
    match kind {
        CallEventKind::Ended(snapshot) => {
            if let Some(sessions) = &shared.media_sessions {
                sessions.call_ended(call.id);
            }
            let close = shared.records.closing(call, &snapshot);
            if let Err(close) = call.end(timestamp_ms, message, snapshot, close) {
                shared.records.write(close);
            }
            shared.registry.call_ended(call.id);
        }
        _ => call.push(timestamp_ms, message),
    }
}

fn settle(
    shared: &Shared,
    call: &Call,
    caller: &Caller,
    kind: &CallEventKind,
    message: Option<&IncomingCallNotify>,
) {
    let Some(client) = &caller.client_id else {
        return;
    };
    if message.is_some() || matches!(kind, CallEventKind::Ended(_)) {
        shared.clients.settled(&call.app, client, call.id, message);
    }
}

fn label(kind: &CallEventKind) -> &'static str {
    match kind {
        CallEventKind::Arrived(_) => "arrived",
        CallEventKind::Accepted => "accepted",
        CallEventKind::Rejected(_) => "rejected",
        CallEventKind::CallerCancelled => "caller_cancelled",
        CallEventKind::PeerHungUp => "peer_hung_up",
        CallEventKind::Provisional(_) => "provisional",
        CallEventKind::Early(_) => "early",
        CallEventKind::Answered(_) => "answered",
        CallEventKind::Failed(_) => "failed",
        CallEventKind::Cancelled => "cancelled",
        CallEventKind::Terminated => "terminated",
        CallEventKind::Error(_) => "error",
        CallEventKind::OtherJoined(_) => "peer_joined",
        CallEventKind::OtherLeft { .. } => "peer_left",
        CallEventKind::Key(_) => "dtmf",
        CallEventKind::Played { .. } => "play_finished",
        CallEventKind::Alarm(alarm) => alarm.label(),
        CallEventKind::Web(WebEvent::Joined { .. }) => "webrtc_joined",
        CallEventKind::Web(WebEvent::Connected) => "webrtc_connected",
        CallEventKind::Web(WebEvent::Renegotiate) => "webrtc_renegotiate",
        CallEventKind::Web(WebEvent::Left(_)) => "webrtc_left",
        CallEventKind::MediaServer(ServerRequest::Offer(_)) => "media_server_offer",
        CallEventKind::MediaServer(ServerRequest::Answer { .. }) => "media_server_answer",
        CallEventKind::MediaServer(ServerRequest::Complete(_)) => "media_server_complete",
        CallEventKind::Ended(_) => "ended",
    }
}

/// One line per event of a call.
fn log(event: &CallEvent) {
    let (call_id, app, kind) = (event.call, &event.app, label(&event.kind));
    match &event.kind {
        CallEventKind::Arrived(arrival) => tracing::info!(
            %call_id, %app, event = kind, from = %arrival.from, to = %arrival.to,
            source = %arrival.source, "call"
        ),
        CallEventKind::Provisional(code)
        | CallEventKind::Early(code)
        | CallEventKind::Answered(code)
        | CallEventKind::Failed(code)
        | CallEventKind::Rejected(code) => {
            tracing::info!(%call_id, %app, event = kind, code, "call");
        }
        CallEventKind::Error(problem) => {
            tracing::info!(%call_id, %app, event = kind, %problem, "call");
        }
        CallEventKind::Ended(snapshot) => tracing::info!(
            %call_id, %app, event = kind, from = %snapshot.from, to = %snapshot.to,
            sip_code = snapshot.sip_code, reason = snapshot.end_reason,
            sip_call_id = %snapshot.sip_call_id, "call"
        ),
        CallEventKind::OtherJoined(peer) => {
            tracing::info!(%call_id, %app, event = kind, %peer, "call");
        }
        CallEventKind::OtherLeft { peer, reason } => {
            tracing::info!(%call_id, %app, event = kind, %peer, reason, "call");
        }
        CallEventKind::Web(WebEvent::Joined { room, peer }) => {
            tracing::info!(%call_id, %app, event = kind, room = %room.name, %peer, "peer");
        }
        CallEventKind::Web(WebEvent::Left(reason)) => {
            tracing::info!(%call_id, %app, event = kind, reason, "peer");
        }
        CallEventKind::Web(WebEvent::Connected | WebEvent::Renegotiate) => {
            tracing::info!(%call_id, %app, event = kind, "peer");
        }
        CallEventKind::Played { play, end } => {
            tracing::info!(%call_id, %app, event = kind, %play, end = end.label(), "call");
        }
        CallEventKind::Alarm(alarm) => {
            let begins = alarm.begins();
            tracing::info!(%call_id, %app, event = kind, begins, ?alarm, "call");
        }
        // Which key it was stays out of the log: it may be part of a PIN.
        CallEventKind::Key(_) => tracing::info!(%call_id, %app, event = kind, "call"),
        CallEventKind::MediaServer(_)
        | CallEventKind::Accepted
        | CallEventKind::CallerCancelled
        | CallEventKind::PeerHungUp
        | CallEventKind::Cancelled
        | CallEventKind::Terminated => tracing::info!(%call_id, %app, event = kind, "call"),
    }
}
