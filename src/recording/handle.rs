//! What a shard holds: a queue that takes frames without ever waiting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::Thread;

use crossbeam_queue::ArrayQueue;

use crate::ids::{AppId, CallId, RecordingId};
use crate::sound::file::{Channels, FileFormat};
use crate::sound::format::SampleRate;

use super::counters::Counters;
use super::lock;

/// Messages that one shard's queue to one writer holds: at 100 recordings more
/// than three seconds of sound.
const QUEUE: usize = 16_384;
/// Of these, kept free of frames for what must not be lost.
const RESERVED: usize = 1_024;
/// Emptied buffers kept for reuse.
const SPARE: usize = 1_024;

/// What is known of a recording when it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordingStart {
    /// Whose it is.
    pub app: AppId,
    /// The call it is of, if it is of one.
    pub call: Option<CallId>,
    /// The room's name.
    pub room: Arc<str>,
    /// The recorded peer's name in the room.
    pub peer: Arc<str>,
    /// The file's format.
    pub format: FileFormat,
    /// What its channels are.
    pub channels: Channels,
    /// When frame 0 begins, milliseconds since the Unix epoch.
    pub started_ms: u64,
}

/// A recording was not begun: too much waits to be written already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "too much sound waits to be written; the disk or the processor is too slow for more recordings"
)]
pub struct StartRefused;

/// Begins recordings of one shard. Cheap to clone; never blocks.
#[derive(Clone)]
pub struct Recorder {
    lanes: Arc<[Arc<Lane>]>,
}

/// One recording under way. Dropping it stops it behind its last frame.
pub struct Recording {
    id: RecordingId,
    lane: Arc<Lane>,
    /// Frames that found no room and of which the writer does not know yet.
    lost: Option<Lost>,
    stopped: bool,
    over: Over,
}

/// Set by the writer once a recording takes no more frames, whoever still sends
/// some.
pub(super) type Over = Arc<AtomicBool>;

/// Frames from one index to before another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    pub from: u64,
    pub until: u64,
}

/// What a writer is told of a recording.
pub(super) struct Message {
    pub id: RecordingId,
    pub what: What,
}

pub(super) enum What {
    Start {
        start: Box<RecordingStart>,
        over: Over,
    },
    Frame(Frame),
    Lost(Lost),
    Pause {
        index: u64,
    },
    Resume {
        index: u64,
    },
    /// `None`: behind the last frame.
    Stop {
        frames: Option<u64>,
    },
}

pub(super) struct Frame {
    pub index: u64,
    pub rate: SampleRate,
    /// The left side's samples, then the right one's if there is one.
    pub samples: Vec<i16>,
    pub left: usize,
}

/// From one shard to one writer.
pub(super) struct Lane {
    queue: ArrayQueue<Message>,
    spare: ArrayQueue<Vec<i16>>,
    /// What must not be lost and found no room in the queue: a few words per
    /// recording. The lock is held for a push or a swap.
    overflow: Mutex<Vec<Message>>,
    writer: Thread,
    counters: Arc<Counters>,
}

impl Recorder {
    pub(super) fn new(lanes: Vec<Arc<Lane>>) -> Self {
        Recorder {
            lanes: lanes.into(),
        }
    }

    /// Begins a recording.
    ///
    /// # Errors
    /// [`StartRefused`]; nothing has begun then.
    pub fn start(&self, start: RecordingStart) -> Result<Recording, StartRefused> {
        let id = RecordingId(rand::random());
        let lane = &self.lanes[(id.0 % self.lanes.len() as u128) as usize];
        let over = Over::default();
        let message = Message {
            id,
            what: What::Start {
                start: Box::new(start),
                over: over.clone(),
            },
        };
        lane.queue.push(message).map_err(|_| StartRefused)?;
        // A writer without recordings sleeps.
        lane.writer.unpark();
        Ok(Recording {
            id,
            lane: lane.clone(),
            lost: None,
            stopped: false,
            over,
        })
    }
}

impl Recording {
    /// Its id.
    pub fn id(&self) -> RecordingId {
        self.id
    }

    /// Whether it has ended without being stopped: it has failed. Its event says
    /// why; frames are of no use to it.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Adds a frame of 20 ms. `index` counts frames since the start by the
    /// shard's clock; what is left out is silence, and a frame that comes
    /// again counts once. A stereo recording has the sides as its channels, a
    /// mono one their sum.
    ///
    /// False: the queue is full. The frame becomes silence, and the
    /// recording's `gaps` say so.
    pub fn frame(
        &mut self,
        index: u64,
        rate: SampleRate,
        left: &[i16],
        right: Option<&[i16]>,
    ) -> bool {
        if self.lane.queue.len() >= QUEUE - RESERVED {
            return self.overrun(index);
        }
        self.tell_lost();
        let mut samples = self.lane.spare.pop().unwrap_or_default();
        samples.extend_from_slice(left);
        samples.extend_from_slice(right.unwrap_or_default());
        let frame = Frame {
            index,
            rate,
            samples,
            left: left.len(),
        };
        let message = Message {
            id: self.id,
            what: What::Frame(frame),
        };
        match self.lane.queue.push(message) {
            Ok(()) => true,
            Err(_) => self.overrun(index),
        }
    }

    fn overrun(&mut self, index: u64) -> bool {
        self.lane
            .counters
            .frames_lost
            .fetch_add(1, Ordering::Relaxed);
        let lost = self.lost.get_or_insert(Lost {
            from: index,
            until: index,
        });
        lost.until = lost.until.max(index + 1);
        false
    }

    /// From this frame on nothing is recorded, and the time is left out of the
    /// file.
    pub fn pause(&mut self, index: u64) {
        self.tell(What::Pause { index });
    }

    /// From this frame on it is recorded again.
    pub fn resume(&mut self, index: u64) {
        self.tell(What::Resume { index });
    }

    /// Ends it after this many frames, counted from its start.
    pub fn stop(mut self, frames: u64) {
        self.stopped = true;
        self.tell(What::Stop {
            frames: Some(frames),
        });
    }

    fn tell(&mut self, what: What) {
        self.tell_lost();
        self.lane.tell(Message { id: self.id, what });
    }

    fn tell_lost(&mut self) {
        if let Some(lost) = self.lost.take() {
            self.lane.tell(Message {
                id: self.id,
                what: What::Lost(lost),
            });
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.stopped {
            self.tell(What::Stop { frames: None });
        }
    }
}

impl Lane {
    pub(super) fn new(writer: Thread, counters: Arc<Counters>) -> Self {
        Lane {
            queue: ArrayQueue::new(QUEUE),
            spare: ArrayQueue::new(SPARE),
            overflow: Mutex::default(),
            writer,
            counters,
        }
    }

    fn tell(&self, message: Message) {
        let mut overflow = lock(&self.overflow);
        // Behind what is there already, so that the order stays.
        if !overflow.is_empty() {
            overflow.push(message);
        } else if let Err(message) = self.queue.push(message) {
            overflow.push(message);
        }
    }

    /// Hands over what waits, in order.
    pub(super) fn drain(&self, mut take: impl FnMut(Message)) {
        // Taken first: what is in the queue by now came before it.
        let overflow = std::mem::take(&mut *lock(&self.overflow));
        for _ in 0..self.queue.len() {
            let Some(message) = self.queue.pop() else {
                break;
            };
            take(message);
        }
        overflow.into_iter().for_each(take);
    }

    /// Takes a buffer back for reuse.
    pub(super) fn give_back(&self, mut samples: Vec<i16>) {
        samples.clear();
        // Enough are kept already.
        drop(self.spare.push(samples));
    }
}
