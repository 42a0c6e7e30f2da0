//! `GET /rooms/{room}/peers/{peer}/{id}/events`: what a WebRTC peer has to
//! hear of beside its media, as server-sent events.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::call::event::WebEvent;
use crate::call::request::{CallError, Stream};
use crate::ids::{CallId, RoomKey};

use super::Shared;
use super::error::ApiError;
use super::openapi::{Denied, Failure};
use super::peers::peer_id;

/// A peer that was just answered may ask for its events before the shard's
/// word of it has come.
const ON_ITS_WAY: Duration = Duration::from_secs(1);
const ON_ITS_WAY_STEP: Duration = Duration::from_millis(20);
/// A comment this often keeps proxies from closing the stream.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A peer that is gone may ask for this long why: the end of one that was
/// refused overtakes its first question.
const LEFT_KEPT: Duration = Duration::from_secs(10);
/// Peers that are gone and can still ask; the oldest goes first.
const MAX_LEFT: usize = 1_024;

/// The WebRTC peers there are.
#[derive(Default)]
pub struct WebPeers {
    known: Mutex<Known>,
}

/// Those that are in a room, and for a while those that were.
#[derive(Default)]
struct Known {
    peers: HashMap<CallId, WebPeer>,
    left: VecDeque<(Instant, CallId)>,
}

struct WebPeer {
    room: RoomKey,
    peer: Arc<str>,
    view: watch::Sender<View>,
}

/// What there is to tell, as a state: a client that is slow misses nothing
/// that still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct View {
    connected: bool,
    /// How often a new offer was asked for.
    renegotiations: u64,
    left: Option<&'static str>,
}

impl WebPeers {
    /// Takes in what a shard tells.
    pub fn take(&self, id: CallId, event: WebEvent) {
        let mut known = self.known();
        known.forget_old(Instant::now());
        let peers = &mut known.peers;
        match event {
            WebEvent::Joined { room, peer } => {
                let view = watch::Sender::new(View::default());
                peers.insert(id, WebPeer { room, peer, view });
            }
            WebEvent::Connected => {
                if let Some(peer) = peers.get(&id) {
                    peer.view.send_modify(|view| view.connected = true);
                }
            }
            WebEvent::Renegotiate => {
                if let Some(peer) = peers.get(&id) {
                    peer.view.send_modify(|view| view.renegotiations += 1);
                }
            }
            WebEvent::Left(reason) => {
                if let Some(peer) = peers.get(&id) {
                    peer.view.send_modify(|view| view.left = Some(reason));
                    known.left.push_back((Instant::now(), id));
                }
            }
        }
    }

    fn subscribe(&self, id: CallId, stream: &Stream) -> Option<watch::Receiver<View>> {
        let known = self.known();
        let peer = known.peers.get(&id)?;
        let same = peer.room == stream.room && peer.peer == stream.peer;
        same.then(|| peer.view.subscribe())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn forget_old(&mut self, now: Instant) {
        while let Some((since, id)) = self.left.front().copied() {
            let old = now.duration_since(since) >= LEFT_KEPT;
            if !old && self.left.len() <= MAX_LEFT {
                return;
            }
            self.left.pop_front();
            self.peers.remove(&id);
        }
    }
}

/// Follows a WebRTC peer by server-sent events.
///
/// `state`, `renegotiate` and, last, `left`.
#[utoipa::path(
    get,
    path = "/rooms/{room}/peers/{peer}/{id}/events",
    operation_id = "peer_events",
    tag = "rooms",
    params(("room" = String, Path), ("peer" = String, Path), ("id" = String, Path, description = "As the `Location` of the answer named it")),
    responses(
        (status = 200, description = "The events", body = String, content_type = "text/event-stream"),
        (status = 404, description = "`PEER_NOT_FOUND`", body = Failure),
        Denied,
    )
)]
pub async fn events(
    State(shared): State<Arc<Shared>>,
    Path((room, peer, id)): Path<(String, String, String)>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let place = shared.place(&parts, room, peer)?;
    let id = peer_id(&id)?;
    let view = subscribe(&shared, id, &place).await?;
    let ending = shared.ending.subscribe();
    let told = Told {
        view,
        ending,
        told: None,
    };
    let events = stream::unfold(told, |mut told| async move {
        let event = told.next().await?;
        Some((Ok::<Event, Infallible>(event), told))
    });
    Ok(Sse::new(events)
        .keep_alive(KeepAlive::new().interval(KEEP_ALIVE))
        .into_response())
}

async fn subscribe(
    shared: &Shared,
    id: CallId,
    place: &Stream,
) -> Result<watch::Receiver<View>, ApiError> {
    let mut waited = Duration::ZERO;
    loop {
        if let Some(view) = shared.web_peers.subscribe(id, place) {
            return Ok(view);
        }
        if waited >= ON_ITS_WAY {
            return Err(CallError::UnknownPeer.into());
        }
        tokio::time::sleep(ON_ITS_WAY_STEP).await;
        waited += ON_ITS_WAY_STEP;
    }
}

/// One client's place in a peer's events.
struct Told {
    view: watch::Receiver<View>,
    ending: watch::Receiver<bool>,
    /// What the client knows; `None` before the first event.
    told: Option<View>,
}

impl Told {
    /// The next event; `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let now = *self.view.borrow_and_update();
            let known = self.told.unwrap_or_default();
            if known.left.is_some() || *self.ending.borrow() {
                return None;
            }
            if self.told.is_none() || now.connected != known.connected {
                self.told = Some(View {
                    connected: now.connected,
                    ..known
                });
                let state = match now.connected {
                    true => "connected",
                    false => "connecting",
                };
                return Some(event("state", &json!({ "state": state })));
            }
            if now.renegotiations != known.renegotiations {
                self.told = Some(View {
                    renegotiations: now.renegotiations,
                    ..known
                });
                return Some(event("renegotiate", &json!({})));
            }
            if let Some(reason) = now.left {
                self.told = Some(now);
                return Some(event("left", &json!({ "reason": reason })));
            }
            let ended = tokio::select! {
                changed = self.view.changed() => changed.is_err(),
                changed = self.ending.changed() => changed.is_err(),
            };
            // The sender goes with the peer, after its last word.
            if ended && *self.view.borrow() == now {
                return None;
            }
        }
    }
}

fn event(name: &str, data: &serde_json::Value) -> Event {
    Event::default().event(name).data(data.to_string())
}
