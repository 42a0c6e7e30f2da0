//! The bounded mailboxes between the api pool and the shards, and among the
//! shards. A full mailbox refuses; nothing here ever waits on the shard's side.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_queue::ArrayQueue;
use tokio::sync::oneshot;

use crate::call::request::{CallReply, CallRequest};
use crate::ids::{AppId, RoomKey, ShardId};
use crate::sip::routing;

/// How many messages wait for a shard before the next one is refused.
pub const MAILBOX_CAPACITY: usize = 16_384;

/// Wakes a shard that waits in its turn.
pub trait Wake: Send + Sync {
    /// Makes the shard's current or next wait return at once.
    fn wake(&self);
}

impl Wake for crate::io::Waker {
    fn wake(&self) {
        crate::io::Waker::wake(self);
    }
}

/// A request with the way back for its reply.
#[derive(Debug)]
pub struct ApiRequest {
    /// What is asked.
    pub request: CallRequest,
    /// Where the reply goes; the asker may have gone meanwhile.
    pub reply: oneshot::Sender<CallReply>,
}

/// Why a request did not reach its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MailboxError {
    /// The mailbox is full: 503 with Retry-After.
    #[error("the gateway is overloaded; try again in a second")]
    Full,
    /// No such shard, or it has ended.
    #[error("the shard is gone")]
    Gone,
}

/// The sending end of one shard's mailbox, for messages of kind `M`.
pub struct Mailbox<M> {
    queue: Arc<ArrayQueue<M>>,
    asleep: Arc<AtomicBool>,
    waker: Arc<dyn Wake>,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox {
            queue: self.queue.clone(),
            asleep: self.asleep.clone(),
            waker: self.waker.clone(),
        }
    }
}

impl<M> Mailbox<M> {
    /// A mailbox whose owner is woken by `waker`, and its receiving end.
    pub fn new(waker: Arc<dyn Wake>) -> (Self, Receiver<M>) {
        let queue = Arc::new(ArrayQueue::new(MAILBOX_CAPACITY));
        let asleep = Arc::new(AtomicBool::new(false));
        let receiver = Receiver {
            queue: queue.clone(),
            asleep: asleep.clone(),
        };
        let mailbox = Mailbox {
            queue,
            asleep,
            waker,
        };
        (mailbox, receiver)
    }

    /// Puts a message in; a full mailbox gives it back.
    pub fn post(&self, message: M) -> Result<(), M> {
        self.queue.push(message)?;
        // Only the first message after the owner looked has to wake it.
        if self.asleep.swap(false, Ordering::SeqCst) {
            self.waker.wake();
        }
        Ok(())
    }
}

/// The shard's end of its mailbox.
pub struct Receiver<M> {
    queue: Arc<ArrayQueue<M>>,
    asleep: Arc<AtomicBool>,
}

impl<M> Receiver<M> {
    /// The next message.
    pub fn take(&self) -> Option<M> {
        self.queue.pop()
    }

    /// How many messages wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Announces that the owner is about to wait: from now on a post wakes it.
    /// False if a message is there already, so that it should not wait.
    pub fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        self.queue.is_empty()
    }
}

/// The api's handle on all shards.
#[derive(Clone)]
pub struct Shards {
    mailboxes: Arc<[Mailbox<ApiRequest>]>,
}

impl Shards {
    /// A handle on these shards, in the order of their ids.
    pub fn new(mailboxes: Vec<Mailbox<ApiRequest>>) -> Self {
        Shards {
            mailboxes: mailboxes.into(),
        }
    }

    /// How many shards there are.
    pub fn count(&self) -> u8 {
        self.mailboxes.len() as u8
    }

    /// All shards.
    pub fn all(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.count()).map(ShardId)
    }

    /// The shard on which the room lives, with all its legs.
    pub fn of_room(&self, room: &RoomKey) -> ShardId {
        room_shard(&room.app, &room.name, self.count())
    }

    /// The shard that keeps the registration of this number.
    pub fn of_number(&self, number: &str) -> ShardId {
        routing::by_call_id(number.as_bytes(), self.count())
    }

    /// Asks a shard and waits for its reply.
    pub async fn request(
        &self,
        shard: ShardId,
        request: CallRequest,
    ) -> Result<CallReply, MailboxError> {
        let mailbox = self
            .mailboxes
            .get(usize::from(shard.0))
            .ok_or(MailboxError::Gone)?;
        let (reply, answer) = oneshot::channel();
        mailbox
            .post(ApiRequest { request, reply })
            .map_err(|_| MailboxError::Full)?;
        answer.await.map_err(|_| MailboxError::Gone)
    }
}

/// Placement of rooms: FNV-1a over app and name, so that every shard and the
/// api agree without asking each other.
pub fn room_shard(app: &AppId, room: &str, shards: u8) -> ShardId {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in app.as_str().bytes().chain([0]).chain(room.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    // FNV's last bytes reach few bits; MurmurHash3's finaliser spreads them.
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^= hash >> 33;
    ShardId((hash % u64::from(shards.max(1))) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[derive(Default)]
    struct CountedWakes(AtomicUsize);

    impl Wake for CountedWakes {
        fn wake(&self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn only_the_first_post_to_a_sleeper_wakes_it() {
        let wakes = Arc::new(CountedWakes::default());
        let (mailbox, receiver) = Mailbox::new(wakes.clone());
        mailbox.post(1).unwrap();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 0);
        assert!(!receiver.may_sleep());
        assert_eq!(receiver.take(), Some(1));
        assert!(receiver.may_sleep());
        mailbox.post(2).unwrap();
        mailbox.post(3).unwrap();
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_full_mailbox_gives_the_message_back() {
        let (mailbox, _receiver) = Mailbox::new(Arc::new(CountedWakes::default()));
        for n in 0..MAILBOX_CAPACITY {
            mailbox.post(n).unwrap();
        }
        assert_eq!(mailbox.post(7), Err(7));
    }

    #[test]
    fn rooms_spread_over_the_shards_and_stay_where_they_are() {
        let app = AppId::new("a");
        let mut count = [0; 2];
        for n in 0..1000 {
            let name = format!("room-{n}");
            let shard = room_shard(&app, &name, 2);
            assert_eq!(shard, room_shard(&app, &name, 2));
            count[usize::from(shard.0)] += 1;
        }
        assert!(count.iter().all(|n| (400..600).contains(n)), "{count:?}");
    }
}
