//! The way of events to the api: in order, never waiting, never losing one.

use std::collections::VecDeque;

use tokio::sync::mpsc::Sender;
use tokio::sync::mpsc::error::TrySendError;

use crate::call::event::CallEvent;

/// How many events may wait on the shard when the api does not keep up. Past
/// half of it the shard takes no new calls, so that the other half is there
/// for what the calls alive still have to say.
pub const BACKLOG_CAPACITY: usize = 65_536;

/// Events on their way to the api.
pub struct Outbox {
    sender: Sender<CallEvent>,
    backlog: VecDeque<CallEvent>,
    lost: u64,
}

impl Outbox {
    /// Events go into `sender`.
    pub fn new(sender: Sender<CallEvent>) -> Self {
        Outbox {
            sender,
            backlog: VecDeque::new(),
            lost: 0,
        }
    }

    /// Sends an event, behind those that wait.
    pub fn send(&mut self, event: CallEvent) {
        self.flush();
        if !self.backlog.is_empty() {
            self.keep(event);
            return;
        }
        match self.sender.try_send(event) {
            Ok(()) => {}
            Err(TrySendError::Full(event)) => self.keep(event),
            // The api has ended: nobody is left to tell.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    /// Sends what waits, as far as the api takes it.
    pub fn flush(&mut self) {
        while let Some(event) = self.backlog.pop_front() {
            match self.sender.try_send(event) {
                Ok(()) => {}
                Err(TrySendError::Full(event)) => {
                    self.backlog.push_front(event);
                    return;
                }
                Err(TrySendError::Closed(_)) => self.backlog.clear(),
            }
        }
    }

    /// Whether so much waits that no new calls should be taken.
    pub fn is_congested(&self) -> bool {
        self.backlog.len() > BACKLOG_CAPACITY / 2
    }

    /// Whether anything waits.
    pub fn is_waiting(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// How many events wait.
    pub fn waiting(&self) -> usize {
        self.backlog.len()
    }

    /// How many events were dropped because even the backlog was full.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn keep(&mut self, event: CallEvent) {
        if self.backlog.len() < BACKLOG_CAPACITY {
            self.backlog.push_back(event);
        } else {
            self.lost += 1;
        }
    }
}
