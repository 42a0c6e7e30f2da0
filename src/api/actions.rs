//! What may be done to a call: by REST, by WebSocket, by a hook's answer.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::call::request::{Action, CallReply, CallRequest, Direction};

use super::auth::Permit;
use super::body::{StreamBody, read_json};
use super::error::{ApiError, done};
use super::openapi::{Denied, Done, Failure, JsonBody};
use super::registry::Call;
use super::{SHARD_TIMEOUT, Shared};
use std::sync::Arc;

/// An action on an incoming call, as it is asked for.
#[derive(Debug)]
pub enum IncomingAction {
    /// Let the caller hear ringing.
    Ring,
    /// Answer it into a room.
    Accept(StreamBody),
    /// Refuse or end it.
    End,
}

/// What is to be done with a call.
#[derive(Deserialize, ToSchema)]
#[schema(as = Action)]
pub(super) struct ActionBody {
    /// `Ring`, `Accept` or `End`; an outgoing call takes `End` only.
    #[schema(required = true)]
    action: Option<String>,
    /// Where its media goes; Accept needs it.
    #[serde(alias = "streaming")]
    stream: Option<StreamBody>,
}

/// Reads `{"action":…,"stream":…}`.
pub fn incoming_from_json(value: Value) -> Result<IncomingAction, ApiError> {
    let body: ActionBody = serde_path_to_error::deserialize(value)
        .map_err(|error| ApiError::field(&error.path().to_string(), error.inner()))?;
    incoming(body)
}

fn incoming(body: ActionBody) -> Result<IncomingAction, ApiError> {
    match body.action.as_deref() {
        Some("Ring") => Ok(IncomingAction::Ring),
        Some("End") => Ok(IncomingAction::End),
        Some("Accept") => match body.stream {
            Some(stream) => Ok(IncomingAction::Accept(stream)),
            None => Err(ApiError::field(
                "stream",
                "is missing; Accept needs {\"room\", \"peer\"}",
            )),
        },
        other => Err(wrong_action(other, "\"Ring\", \"Accept\" or \"End\"")),
    }
}

fn wrong_action(action: Option<&str>, known: &str) -> ApiError {
    match action {
        Some(action) => ApiError::field("action", format!("{action:?} is not {known}")),
        None => ApiError::field("action", format!("is missing; write {known}")),
    }
}

/// Rings, answers or ends an incoming call.
///
/// A caller that is let ring hears the `ringback` of the number where it has
/// one, before the answer.
#[utoipa::path(
    post,
    path = "/call/incoming/{call_id}/action",
    tag = "calls",
    params(("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it")),
    request_body(content = ActionBody, example = json!({"action": "Accept", "stream": {"room": "r1", "peer": "phone"}})),
    responses(
        (status = 200, description = "Done, or being done", body = Done),
        (status = 404, description = "`CALL_NOT_FOUND`", body = Failure),
        (
            status = 409,
            description = "`WRONG_STATE`: for example Accept twice. `ROOM_FULL`, `PEER_EXISTS`, `NO_COMMON_CODEC`",
            body = Failure
        ),
        (status = 422, description = "`RECORDING_UNAVAILABLE`", body = Failure),
        (
            status = 502,
            description = "`MEDIA_SERVER_FAILED`: the media server that rooms are on did not do its part",
            body = Failure
        ),
        (
            status = 503,
            description = "`OVERLOADED`, `PORTS_EXHAUSTED`, `DRAINING`, `MEDIA_UNAVAILABLE`: try again after `Retry-After`",
            body = Failure,
            headers(("Retry-After" = u32, description = "Seconds"))
        ),
        Denied,
        JsonBody,
    )
)]
pub async fn act_on_incoming(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let call = shared
        .call_for(&parts, &call_id, Some(Direction::Incoming))
        .await?;
    let action = incoming(read_json(Request::from_parts(parts, body)).await?)?;
    shared.do_incoming(&call, action).await?;
    Ok(done())
}

/// Ends an outgoing call.
#[utoipa::path(
    post,
    path = "/call/outgoing/{call_id}/action",
    tag = "calls",
    params(("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it")),
    request_body(content = ActionBody, example = json!({"action": "End"})),
    responses(
        (status = 200, description = "Done, or being done", body = Done),
        (status = 404, description = "`CALL_NOT_FOUND`", body = Failure),
        (status = 409, description = "`WRONG_STATE`: for example Accept twice", body = Failure),
        Denied,
        JsonBody,
    )
)]
pub async fn act_on_outgoing(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let call = shared
        .call_for(&parts, &call_id, Some(Direction::Outgoing))
        .await?;
    let body: ActionBody = read_json(Request::from_parts(parts, body)).await?;
    match body.action.as_deref() {
        Some("End") => shared.act(&call, Action::End).await?,
        other => return Err(wrong_action(other, "\"End\"")),
    }
    Ok(done())
}

/// Ends a call.
///
/// By CANCEL, 486 or BYE, whichever its state needs.
#[utoipa::path(
    delete,
    path = "/call/{call_id}",
    tag = "calls",
    params(("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it")),
    responses(
        (status = 200, description = "It is being ended", body = Done),
        (status = 404, description = "`CALL_NOT_FOUND`", body = Failure),
        (status = 409, description = "`WRONG_STATE`: for example Accept twice", body = Failure),
        Denied,
    )
)]
pub async fn end_any(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    end(&shared, &call_id, request, None).await
}

/// Ends an incoming call.
///
/// By CANCEL, 486 or BYE, whichever its state needs.
#[utoipa::path(
    delete,
    path = "/call/incoming/{call_id}",
    tag = "calls",
    params(("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it")),
    responses(
        (status = 200, description = "It is being ended", body = Done),
        (status = 404, description = "`CALL_NOT_FOUND`", body = Failure),
        (status = 409, description = "`WRONG_STATE`: for example Accept twice", body = Failure),
        Denied,
    )
)]
pub async fn end_incoming(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    end(&shared, &call_id, request, Some(Direction::Incoming)).await
}

/// Ends an outgoing call.
///
/// By CANCEL, 486 or BYE, whichever its state needs.
#[utoipa::path(
    delete,
    path = "/call/outgoing/{call_id}",
    tag = "calls",
    params(("call_id" = String, Path, description = "As `POST /call/outgoing` or the notification told it")),
    responses(
        (status = 200, description = "It is being ended", body = Done),
        (status = 404, description = "`CALL_NOT_FOUND`", body = Failure),
        (status = 409, description = "`WRONG_STATE`: for example Accept twice", body = Failure),
        Denied,
    )
)]
pub async fn end_outgoing(
    State(shared): State<Arc<Shared>>,
    Path(call_id): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    end(&shared, &call_id, request, Some(Direction::Outgoing)).await
}

async fn end(
    shared: &Shared,
    call_id: &str,
    request: Request,
    direction: Option<Direction>,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let call = shared.call_for(&parts, call_id, direction).await?;
    shared.act(&call, Action::End).await?;
    Ok(done())
}

impl Shared {
    /// The call of this path, if whoever asks may act on it.
    pub async fn call_for(
        &self,
        parts: &axum::http::request::Parts,
        call_id: &str,
        direction: Option<Direction>,
    ) -> Result<Arc<Call>, ApiError> {
        let permit = self.gate.permit(parts)?;
        let id = call_id.parse().map_err(|_| ApiError::call_not_found())?;
        let app = match permit {
            Permit::App(app) => app,
            Permit::Call(app, call) if call == id => app,
            Permit::Call(..) => {
                return Err(ApiError::forbidden("this token is for another call"));
            }
            Permit::Room(..) | Permit::Notify(..) => {
                return Err(ApiError::forbidden(
                    "this needs the app_secret or the call's token",
                ));
            }
        };
        let call = self.known_call(id).await?;
        if call.app != app {
            return Err(ApiError::forbidden("this call belongs to another app"));
        }
        if direction.is_some_and(|direction| direction != call.direction) {
            return Err(ApiError::call_not_found());
        }
        Ok(call)
    }

    /// Does what is asked of an incoming call.
    pub async fn do_incoming(
        self: &Arc<Self>,
        call: &Arc<Call>,
        action: IncomingAction,
    ) -> Result<(), ApiError> {
        let action = match action {
            IncomingAction::Ring => return self.ring(call).await,
            IncomingAction::Accept(stream) => Action::Accept(stream.stream(&call.app, "stream")?),
            IncomingAction::End => Action::End,
        };
        self.act(call, action).await
    }

    /// Has the shard do it.
    pub async fn act(&self, call: &Call, action: Action) -> Result<(), ApiError> {
        if let Action::Accept(stream) = &action {
            call.set_place(stream.clone());
        }
        let request = CallRequest::Act {
            call: call.id,
            action,
        };
        // Accept waits for the media server that rooms are on.
        let patience = match &self.settings().media_server {
            Some(server) => SHARD_TIMEOUT + 2 * server.timeout,
            None => SHARD_TIMEOUT,
        };
        match self.ask_patiently(call.id.shard, request, patience).await? {
            CallReply::Refused(error) => Err(error.into()),
            _ => Ok(()),
        }
    }
}
