//! The leg of a call that rings here: its caller hears the ring-back of the
//! number before the answer, and nobody hears the caller. The leg is on the
//! call's own shard until the call is accepted; then it goes on in the room, as
//! the same stream, and on the room's shard where that is another.

use std::sync::Arc;
use std::time::Instant;

use crate::call::ports::{LegAddress, OpenPorts, Ports};
use crate::call::request::{CallError, WaitingSounds};
use crate::call::room::{
    Keys, Member, MemberKind, Place, RoomNotice, RoomRequest, Rooms, open_ports,
};
use crate::ids::{AppId, CallId, LegId, PlayId, RoomKey, ShardId};
use crate::media::{CarriedLeg, LegOptions, Remote};
use crate::sdp::Codec;
use crate::sound::clip::Clip;
use crate::sound::conference::Description;

/// How a caller hears its ring-back.
#[derive(Debug, Clone)]
pub struct Early {
    /// Whose call it is.
    app: AppId,
    /// What it hears.
    ringback: (PlayId, Arc<Clip>),
    /// The peer's side, once it was described.
    connection: Option<Connection>,
}

/// The peer's side of a leg, as [`RoomRequest::Connect`] describes it.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) remote: Remote,
    pub(super) codecs: Vec<Codec>,
    pub(super) sound: Option<Description>,
    pub(super) keys: Keys,
}

/// A leg on its way to another shard. Its sockets go beside it, by their
/// address ([`Ports::hand_over`]).
#[derive(Debug)]
pub struct MovingLeg {
    local: LegAddress,
    carried: CarriedLeg,
    early: Early,
}

/// A leg that rings, out of its place.
struct RingingLeg {
    leg: LegId,
    open: OpenPorts,
    early: Early,
}

impl Rooms {
    /// Opens the leg of a call that rings.
    pub(super) fn ring(
        &mut self,
        now: Instant,
        call: CallId,
        early: Early,
        ipv6: bool,
        ports: &mut dyn Ports,
    ) -> Result<RoomNotice, CallError> {
        let open = open_ports(now, ipv6, ports)?;
        let leg = self.table.open(now, leg_options(open));
        let local = open.local;
        self.enter_early(now, call, RingingLeg { leg, open, early });
        Ok(RoomNotice::Ringing { call, local })
    }

    /// Takes the leg of a call that rings to the place that the call was
    /// accepted into: at once, or by way of the shard that the place is on.
    pub(super) fn move_on(
        &mut self,
        now: Instant,
        call: CallId,
        place: Place,
        to: Option<ShardId>,
        ports: &mut dyn Ports,
    ) -> Result<(), CallError> {
        let allowed = match (to, &place) {
            (None, Place::Room(stream)) => self.admit(stream, None)?,
            _ => None,
        };
        let ringing = self.leave_early(now, call)?;
        let Some(shard) = to else {
            self.settle_in(now, call, ringing, place, allowed);
            return Ok(());
        };
        let RingingLeg { leg, open, early } = ringing;
        let carried = self.table.take_out(leg).ok_or_else(gone)?;
        ports.hand_over(open);
        let leg = Box::new(MovingLeg {
            local: open.local,
            carried,
            early,
        });
        let from = call.shard;
        let arrive = RoomRequest::Arrive {
            call,
            place,
            leg,
            from,
        };
        self.onward.push_back((shard, arrive));
        Ok(())
    }

    /// A leg comes from the shard where it rang. One that cannot come in goes
    /// back there, and rings on.
    pub(super) fn arrive(
        &mut self,
        now: Instant,
        call: CallId,
        place: Place,
        leg: Box<MovingLeg>,
        from: ShardId,
        ports: &mut dyn Ports,
    ) -> Result<(), CallError> {
        let admitted = match &place {
            Place::Room(stream) => self.admit(stream, None),
            Place::Echo | Place::Early(_) | Place::Server { .. } => Ok(None),
        };
        let allowed = match admitted {
            Ok(allowed) => allowed,
            Err(error) => {
                let back = RoomRequest::RingAgain { call, leg };
                self.onward.push_back((from, back));
                return Err(error);
            }
        };
        let ringing = self.take_over(now, *leg, ports)?;
        self.settle_in(now, call, ringing, place, allowed);
        Ok(())
    }

    /// The leg was not let in, and rings on here.
    pub(super) fn ring_again(
        &mut self,
        now: Instant,
        call: CallId,
        leg: MovingLeg,
        ports: &mut dyn Ports,
    ) {
        match self.take_over(now, leg, ports) {
            Ok(ringing) => self.enter_early(now, call, ringing),
            // Its call goes on without: the next Accept is refused.
            Err(error) => tracing::warn!(call_id = %call, %error, "early media is over"),
        }
    }

    /// What was said of the peer of a leg that rings goes with it.
    pub(super) fn note_early(&mut self, call: CallId, connection: &Connection) {
        let early = self.members.get_mut(&call).and_then(|m| m.early.as_mut());
        if let Some(early) = early {
            early.connection = Some(connection.clone());
        }
    }

    fn enter_early(&mut self, now: Instant, call: CallId, ringing: RingingLeg) {
        let RingingLeg { leg, open, early } = ringing;
        let place = Place::Early(early.room(call));
        self.enter(now, call, leg, place, MemberKind::Sip(open));
        let connection = early.connection.clone();
        if let Some(member) = self.members.get_mut(&call) {
            member.sound.waiting.set(WaitingSounds {
                hold_music: Some(early.ringback.clone()),
                ringback: None,
            });
            member.early = Some(Box::new(early));
        }
        if let Some(connection) = connection {
            self.connect(now, call, connection);
        }
    }

    /// Takes a leg out of the place where it rings.
    fn leave_early(&mut self, now: Instant, call: CallId) -> Result<RingingLeg, CallError> {
        let rings = self.members.get(&call).is_some_and(|m| m.early.is_some());
        let member = rings.then(|| self.withdraw(now, call)).flatten();
        match member {
            Some(Member {
                leg,
                kind: MemberKind::Sip(open),
                early: Some(early),
                ..
            }) => Ok(RingingLeg {
                leg,
                open,
                early: *early,
            }),
            _ => Err(gone()),
        }
    }

    /// Goes on with a leg of another shard.
    fn take_over(
        &mut self,
        now: Instant,
        leg: MovingLeg,
        ports: &mut dyn Ports,
    ) -> Result<RingingLeg, CallError> {
        let open = ports.take_over(now, leg.local)?;
        Ok(RingingLeg {
            leg: self.table.put_in(now, leg_options(open), leg.carried),
            open,
            early: leg.early,
        })
    }

    /// The leg is where its call was accepted into.
    fn settle_in(
        &mut self,
        now: Instant,
        call: CallId,
        ringing: RingingLeg,
        place: Place,
        allowed: Option<Vec<Codec>>,
    ) {
        let RingingLeg { leg, open, early } = ringing;
        self.enter(now, call, leg, place, MemberKind::Sip(open));
        if let Some(connection) = early.connection {
            self.connect(now, call, connection);
        }
        self.notices.push_back(RoomNotice::Joined {
            call,
            local: open.local,
            allowed,
            server: None,
        });
    }
}

impl Early {
    /// Nothing is known of the peer yet.
    pub fn new(app: AppId, ringback: (PlayId, Arc<Clip>)) -> Self {
        Early {
            app,
            ringback,
            connection: None,
        }
    }

    /// A room of its own, whose name no application can write: names have no
    /// control characters.
    fn room(&self, call: CallId) -> RoomKey {
        RoomKey {
            app: self.app.clone(),
            name: Arc::from(format!("\u{0}{call}")),
        }
    }
}

fn leg_options(open: OpenPorts) -> LegOptions {
    LegOptions {
        rtp: open.rtp,
        rtcp: open.rtcp,
        echo: false,
    }
}

fn gone() -> CallError {
    CallError::Media("the leg that rang is gone".to_owned())
}
