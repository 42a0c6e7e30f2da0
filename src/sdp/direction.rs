//! The direction of a stream, seen from the side that states it.

use std::fmt;

/// `sendrecv`, `sendonly`, `recvonly` or `inactive` (RFC 8866 section 6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Sends and receives. What a description means that says nothing.
    #[default]
    SendRecv,
    /// Sends only: how a phone puts the other side on hold.
    SendOnly,
    /// Receives only.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    /// From its two halves.
    pub fn new(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Direction::SendRecv,
            (true, false) => Direction::SendOnly,
            (false, true) => Direction::RecvOnly,
            (false, false) => Direction::Inactive,
        }
    }

    /// Reads the attribute's name; `None` for anything else.
    pub fn from_name(name: &str) -> Option<Self> {
        [
            Direction::SendRecv,
            Direction::SendOnly,
            Direction::RecvOnly,
            Direction::Inactive,
        ]
        .into_iter()
        .find(|direction| direction.name().eq_ignore_ascii_case(name))
    }

    /// The attribute's name.
    pub fn name(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// Whether the side that states it sends.
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }

    /// Whether the side that states it receives.
    pub fn receives(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::RecvOnly)
    }

    /// The same stream seen from the other side.
    pub fn mirrored(self) -> Self {
        Direction::new(self.receives(), self.sends())
    }

    /// What both allow.
    pub fn and(self, other: Direction) -> Self {
        Direction::new(
            self.sends() && other.sends(),
            self.receives() && other.receives(),
        )
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirroring_swaps_the_one_sided_directions() {
        assert_eq!(Direction::SendOnly.mirrored(), Direction::RecvOnly);
        assert_eq!(Direction::RecvOnly.mirrored(), Direction::SendOnly);
        assert_eq!(Direction::SendRecv.mirrored(), Direction::SendRecv);
        assert_eq!(Direction::Inactive.mirrored(), Direction::Inactive);
    }

    #[test]
    fn only_the_four_names_are_directions() {
        assert_eq!(Direction::from_name("SendOnly"), Some(Direction::SendOnly));
        assert_eq!(Direction::from_name("sendonly "), None);
        assert_eq!(Direction::from_name("hold"), None);
    }
}
