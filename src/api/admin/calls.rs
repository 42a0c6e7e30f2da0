//! `calls` and `rooms`: those of all apps.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::api::Shared;
use crate::api::calls::{CallView, RoomView, call_view, calls_of, room_view, rooms_of, the_call};
use crate::api::error::{ApiError, done, success};
use crate::call::request::{Action, CallSnapshot};
use crate::ids::{AppId, CallId};

use super::{Paging, query};

const PAGING: Paging = Paging {
    default: 200,
    most: 1_000,
};

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Filter {
    app: String,
    search: String,
    offset: Option<usize>,
    limit: Option<usize>,
}

/// `GET /admin/api/calls`
pub async fn list(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, ApiError> {
    let filter: Filter = query(&uri)?;
    let mut calls = calls_of(&shared, filter.app()).await?;
    calls.retain(|call| filter.finds(call));
    // The newest first.
    calls.reverse();
    let total = calls.len();
    let (calls, offset, limit) = PAGING.part(&calls, filter.offset, filter.limit, admin_call);
    Ok(success(json!({
        "calls": calls,
        "total": total,
        "offset": offset,
        "limit": limit,
    })))
}

/// `GET /admin/api/calls/{call_id}`
pub async fn one(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
) -> Result<Response, ApiError> {
    let id: CallId = call_id.parse().map_err(|_| ApiError::call_not_found())?;
    let call = shared.known_call(id).await?;
    let snapshot = the_call(&shared, &call).await?;
    Ok(success(json!({ "call": admin_call(&snapshot) })))
}

/// `DELETE /admin/api/calls/{call_id}`
pub async fn hang_up(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
) -> Result<Response, ApiError> {
    let id: CallId = call_id.parse().map_err(|_| ApiError::call_not_found())?;
    let call = shared.known_call(id).await?;
    shared.act(&call, Action::End).await?;
    tracing::info!(%call_id, app = %call.app, "an administrator hung up");
    Ok(done())
}

/// `GET /admin/api/rooms`
pub async fn rooms(State(shared): State<Arc<Shared>>, uri: Uri) -> Result<Response, ApiError> {
    let filter: Filter = query(&uri)?;
    let rooms = rooms_of(&shared, filter.app()).await?;
    let rooms = rooms.iter().map(|room| AdminRoom {
        room: room_view(&shared, room),
        app_id: room.room.app.to_string(),
        shard: shared.shards.of_room(&room.room).0,
    });
    Ok(success(json!({ "rooms": rooms.collect::<Vec<_>>() })))
}

impl Filter {
    fn app(&self) -> Option<AppId> {
        (!self.app.is_empty()).then(|| AppId::new(&self.app))
    }

    fn finds(&self, call: &CallSnapshot) -> bool {
        let wanted = self.search.to_lowercase();
        let stream = call.stream.as_ref();
        wanted.is_empty()
            || [
                call.from.to_lowercase(),
                call.to.to_lowercase(),
                call.call.to_string(),
                call.sip_call_id.to_lowercase(),
                call.peer_address.to_string(),
                stream.map_or(String::new(), |stream| stream.room.name.to_lowercase()),
            ]
            .iter()
            .any(|text| text.contains(&wanted))
    }
}

/// A call, and what only administrators see of it.
#[derive(Serialize)]
struct AdminCall {
    #[serde(flatten)]
    call: CallView,
    app_id: String,
    shard: u8,
}

/// A room, and what only administrators see of it.
#[derive(Serialize)]
struct AdminRoom {
    #[serde(flatten)]
    room: RoomView,
    app_id: String,
    shard: u8,
}

fn admin_call(call: &CallSnapshot) -> AdminCall {
    AdminCall {
        call: call_view(call),
        app_id: call.app.to_string(),
        shard: call.call.shard.0,
    }
}
