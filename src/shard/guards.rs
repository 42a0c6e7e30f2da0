//! What calls are limited and guarded by, as the configuration says.

use crate::book::CallLimits;
use crate::call::settings::{Guards, LimitSettings, ScannerSettings};
use crate::config::Config;

/// `[limits]`, `[scanners]` and `calls.max_calls`.
pub fn guards(config: &Config) -> Guards {
    let scanners = &config.scanners;
    Guards {
        limits: LimitSettings {
            all: CallLimits {
                max_calls: u32::try_from(config.calls.max_calls).ok(),
                max_calls_per_second: config.limits.max_calls_per_second,
            },
            per_app: config.limits.per_app,
            per_number: config.limits.per_number,
        },
        scanners: ScannerSettings {
            enabled: scanners.enabled,
            threshold: scanners.threshold,
            window: scanners.window,
            ban: scanners.ban,
            never_ban: scanners.never_ban.clone(),
        },
        max_lag: config.limits.max_lag,
    }
}
