//! What calls are limited and guarded by, for those who set it up.

use std::time::Duration;

pub use crate::call::limits::{LimitSettings, Limits};
pub use crate::call::scanners::{ScannerSettings, Scanners};

/// All of it; it may change while calls go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guards {
    /// How many calls there may be.
    pub limits: LimitSettings,
    /// Who is not listened to.
    pub scanners: ScannerSettings,
    /// A shard that is late by more than this takes no new calls; zero: none
    /// ever is.
    pub max_lag: Duration,
}
