//! What a client asks for on a call's WebSocket, and how it went.

use std::sync::Arc;

use axum::extract::ws::Message as Frame;
use prost::Message;
use serde::de::DeserializeOwned;

use crate::call::request::{Action, Direction};

use super::Shared;
use super::actions::IncomingAction;
use super::body::StreamBody;
use super::error::ApiError;
use super::messages::Encoding;
use super::proto::sip_gateway::incoming_call_data::{
    self, IncomingCallRequest, IncomingCallResponse, incoming_call_request as ask_incoming,
    incoming_call_response as tell_incoming,
};
use super::proto::sip_gateway::outgoing_call_data::{
    self, OutgoingCallRequest, OutgoingCallResponse, outgoing_call_request as ask_outgoing,
    outgoing_call_response as tell_outgoing,
};
use super::proto::sip_gateway::{IncomingCallData, OutgoingCallData};
use super::registry::Call;

/// Does what the frame asks for; the answer bears its req_id, 0 where none
/// could be read.
pub async fn answer(
    shared: &Arc<Shared>,
    call: &Arc<Call>,
    frame: &Frame,
    encoding: Encoding,
) -> Option<Frame> {
    if !matches!(frame, Frame::Text(_) | Frame::Binary(_)) {
        return None;
    }
    Some(match call.direction {
        Direction::Outgoing => encoding.frame(&OutgoingCallData {
            data: Some(outgoing_call_data::Data::Response(
                outgoing(shared, call, frame).await,
            )),
        }),
        Direction::Incoming => encoding.frame(&IncomingCallData {
            data: Some(incoming_call_data::Data::Response(
                incoming(shared, call, frame).await,
            )),
        }),
    })
}

async fn outgoing(shared: &Shared, call: &Arc<Call>, frame: &Frame) -> OutgoingCallResponse {
    use tell_outgoing::{End, Error, Response};
    let (req_id, result) = match decode::<OutgoingCallData>(frame) {
        Ok(OutgoingCallData {
            data: Some(outgoing_call_data::Data::Request(request)),
        }) => (request.req_id, act_outgoing(shared, call, request).await),
        Ok(_) => (0, Err(no_request())),
        Err(error) => (0, Err(error)),
    };
    let response = match result {
        Ok(()) => Response::End(End {}),
        Err(error) => Response::Error(Error {
            message: error.message,
        }),
    };
    OutgoingCallResponse {
        req_id,
        response: Some(response),
    }
}

async fn act_outgoing(
    shared: &Shared,
    call: &Arc<Call>,
    request: OutgoingCallRequest,
) -> Result<(), ApiError> {
    match request.action {
        Some(ask_outgoing::Action::End(_)) => shared.act(call, Action::End).await,
        None => Err(ApiError::bad_request(
            "the request names no action; end is one",
        )),
    }
}

async fn incoming(shared: &Arc<Shared>, call: &Arc<Call>, frame: &Frame) -> IncomingCallResponse {
    use tell_incoming::{Error, Response};
    let (req_id, result) = match decode::<IncomingCallData>(frame) {
        Ok(IncomingCallData {
            data: Some(incoming_call_data::Data::Request(request)),
        }) => (request.req_id, act_incoming(shared, call, request).await),
        Ok(_) => (0, Err(no_request())),
        Err(error) => (0, Err(error)),
    };
    let response = result.unwrap_or_else(|error| {
        Response::Error(Error {
            message: error.message,
        })
    });
    IncomingCallResponse {
        req_id,
        response: Some(response),
    }
}

async fn act_incoming(
    shared: &Arc<Shared>,
    call: &Arc<Call>,
    request: IncomingCallRequest,
) -> Result<tell_incoming::Response, ApiError> {
    use tell_incoming::{Accept, End, Response, Ring};
    let (action, response) = match request.action {
        Some(ask_incoming::Action::Ring(_)) => (IncomingAction::Ring, Response::Ring(Ring {})),
        Some(ask_incoming::Action::End(_)) => (IncomingAction::End, Response::End(End {})),
        Some(ask_incoming::Action::Accept(accept)) => (
            IncomingAction::Accept(StreamBody {
                room: Some(accept.room),
                peer: Some(accept.peer),
                record: Some(accept.record),
            }),
            Response::Accept(Accept {}),
        ),
        None => {
            return Err(ApiError::bad_request(
                "the request names no action; ring, accept and end are some",
            ));
        }
    };
    shared.do_incoming(call, action).await?;
    Ok(response)
}

fn decode<M: Message + Default + DeserializeOwned>(frame: &Frame) -> Result<M, ApiError> {
    match frame {
        Frame::Text(text) => serde_json::from_str(text).map_err(|error| {
            ApiError::bad_request(format!("the text frame is not understood: {error}"))
        }),
        Frame::Binary(bytes) => M::decode(bytes.as_ref()).map_err(|error| {
            ApiError::bad_request(format!("the binary frame is not understood: {error}"))
        }),
        Frame::Ping(_) | Frame::Pong(_) | Frame::Close(_) => Err(no_request()),
    }
}

fn no_request() -> ApiError {
    ApiError::bad_request("the frame holds no request")
}
