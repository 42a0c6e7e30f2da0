//! Whether one more call is taken: the shard's state, limits and bans.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::book::Number;
use crate::call::calls::Calls;
use crate::call::limits::{LimitExceeded, Permit};
use crate::call::scanners::InCall;
use crate::ids::AppId;

/// What would become of one more incoming call. The limits and the bans are
/// the same on all shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admission {
    /// Its source is banned: nothing from there is read.
    pub banned: bool,
    /// Why no new call is taken at all: the metric's label.
    pub closed: Option<&'static str>,
    /// The limit that is reached.
    pub exceeded: Option<LimitExceeded>,
}

impl Calls {
    /// Why no new call is taken at all, as the metric's label.
    pub(super) fn closed(&self) -> Option<&'static str> {
        match (self.draining, self.overloaded || self.congested) {
            (true, _) => Some("draining"),
            (false, true) => Some("overloaded"),
            (false, false) => None,
        }
    }

    /// A place for one more call, unless a limit forbids it.
    pub(super) fn take_place(
        &self,
        now: Instant,
        app: &AppId,
        number: Option<&Number>,
        peer: SocketAddr,
    ) -> Result<(Permit, InCall), LimitExceeded> {
        let own = self.book.app(app).map(|app| app.limits).unwrap_or_default();
        let permit = self.settings.limits.take(now, app, own, number)?;
        Ok((permit, self.settings.scanners.in_call(peer.ip())))
    }

    /// Whether a call from there to this number would be let in.
    pub(super) fn admission(&self, now: Instant, source: IpAddr, number: &str) -> Admission {
        let number = self.book.number(number);
        let exceeded = number.and_then(|number| {
            let own = self.book.app(&number.app).map(|app| app.limits);
            let limits = &self.settings.limits;
            limits.would_exceed(now, &number.app, own.unwrap_or_default(), Some(number))
        });
        Admission {
            banned: self.is_banned(now, source),
            closed: self.closed(),
            exceeded,
        }
    }
}
