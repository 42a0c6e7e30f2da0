//! What calls are limited and guarded by, for those who set it up.

pub use crate::call::limits::{LimitSettings, Limits};
pub use crate::call::scanners::{ScannerSettings, Scanners};
