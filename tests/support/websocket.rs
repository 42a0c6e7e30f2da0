//! A client of the gateway's WebSockets: JSON in text frames or protobuf in
//! binary ones. It answers pings by itself, unless it is made deaf.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::hooks::event_name;
use super::{Gateway, PATIENCE, RUNTIME};

/// A frame with content, or the end.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    Closed,
}

/// An open WebSocket.
pub struct WebSocket {
    frames: Receiver<Frame>,
    send: Option<UnboundedSender<Message>>,
    /// Names of the events read so far.
    seen: Vec<String>,
}

impl WebSocket {
    /// Opens `path` (with its token) asking for JSON.
    #[track_caller]
    pub fn open(gateway: &Gateway, path: &str) -> Self {
        let separator = if path.contains('?') { '&' } else { '?' };
        Self::open_exactly(gateway, &format!("{path}{separator}format=json"))
    }

    /// Opens exactly this path: binary frames unless it says otherwise.
    #[track_caller]
    pub fn open_exactly(gateway: &Gateway, path: &str) -> Self {
        Self::try_open(gateway, path)
            .unwrap_or_else(|status| panic!("the WebSocket {path} was refused: {status:?}"))
    }

    /// Opens the path, or returns the HTTP status of the refusal.
    pub fn try_open(gateway: &Gateway, path: &str) -> Result<Self, Option<u16>> {
        let url = format!("ws://{}{path}", gateway.http());
        let socket = RUNTIME.block_on(async {
            match tokio::time::timeout(PATIENCE, connect_async(url)).await {
                Ok(Ok((socket, _))) => Ok(socket),
                Ok(Err(Error::Http(response))) => Err(Some(response.status().as_u16())),
                Ok(Err(_)) | Err(_) => Err(None),
            }
        })?;
        let (send, mut outgoing) = unbounded_channel::<Message>();
        let (received, frames): (Sender<Frame>, _) = channel();
        RUNTIME.spawn(async move {
            let (mut sink, mut stream) = socket.split();
            loop {
                let message = tokio::select! {
                    message = outgoing.recv() => match message {
                        Some(message) => { let _ = sink.send(message).await; continue }
                        None => { let _ = sink.close().await; break }
                    },
                    message = stream.next() => message,
                };
                let frame = match message {
                    Some(Ok(Message::Text(text))) => Frame::Text(text.to_string()),
                    Some(Ok(Message::Binary(bytes))) => Frame::Binary(bytes.to_vec()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Frame::Closed,
                    Some(Ok(_)) => continue,
                };
                let last = frame == Frame::Closed;
                if received.send(frame).is_err() || last {
                    break;
                }
            }
        });
        Ok(Self {
            frames,
            send: Some(send),
            seen: Vec::new(),
        })
    }

    pub fn send(&mut self, message: &Value) {
        self.send_message(Message::text(message.to_string()));
    }

    pub fn send_binary(&mut self, bytes: Vec<u8>) {
        self.send_message(Message::binary(bytes));
    }

    fn send_message(&mut self, message: Message) {
        if let Some(send) = &self.send {
            let _ = send.send(message);
        }
    }

    /// Sends a request with this action and waits for its response.
    #[track_caller]
    pub fn request(&mut self, req_id: u32, action: &str, fields: Value) -> Value {
        self.send(&json!({ "request": { "req_id": req_id, action: fields } }));
        loop {
            let message = self.next();
            if message["response"]["req_id"] == req_id {
                return message["response"].clone();
            }
            self.seen.push(event_name(&message));
        }
    }

    /// The next frame, if one comes in time.
    pub fn frame(&mut self, patience: Duration) -> Option<Frame> {
        self.frames.recv_timeout(patience).ok()
    }

    /// The next message, which must be JSON.
    #[track_caller]
    pub fn next(&mut self) -> Value {
        match self.frame(PATIENCE) {
            Some(Frame::Text(text)) => serde_json::from_str(&text)
                .unwrap_or_else(|error| panic!("not JSON ({error}): {text}")),
            other => panic!(
                "expected a JSON message, got {other:?}; events so far: {:?}",
                self.seen
            ),
        }
    }

    /// Reads on until an event of this name; returns the message.
    #[track_caller]
    pub fn wait_for(&mut self, name: &str) -> Value {
        loop {
            let message = self.next();
            let this = event_name(&message);
            self.seen.push(this.clone());
            if this == name {
                return message;
            }
        }
    }

    /// Reads on until `ended`, then returns the names of all events read.
    #[track_caller]
    pub fn events_to_the_end(&mut self) -> Vec<String> {
        self.wait_for("ended");
        self.seen.clone()
    }

    /// Waits until the server closes.
    #[track_caller]
    pub fn wait_until_closed(&mut self) {
        loop {
            match self.frame(PATIENCE) {
                Some(Frame::Closed) => return,
                Some(_) => {}
                None => panic!("the WebSocket was not closed"),
            }
        }
    }

    /// Closes it.
    pub fn close(mut self) {
        self.send = None;
        // The task closes and then hears the end; nothing more to wait for.
        while self
            .frames
            .recv_timeout(PATIENCE)
            .is_ok_and(|frame| frame != Frame::Closed)
        {}
    }
}
