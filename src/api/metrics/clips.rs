//! Metrics of the sounds that are played.

use std::sync::atomic::Ordering;

use super::{Page, Shared};

pub(super) fn clip_metrics(page: &mut Page, shared: &Shared) {
    let counters = shared.clips.counters();
    let help = "Sounds asked for, by how they were had.";
    for (result, count) in [
        ("cached", &counters.hits),
        ("loaded", &counters.loaded),
        ("not_modified", &counters.not_modified),
        ("failed", &counters.failed),
    ] {
        let labels = [("result", result.to_string())];
        let count = count.load(Ordering::Relaxed);
        page.total("clip_loads", help, &labels, count);
    }
    let (clips, bytes) = shared.clips.kept();
    let help = "Decoded sounds that are kept for the next use.";
    page.gauge("clips_kept", help, &[], clips as u64);
    let help = "Memory of the decoded sounds that are kept, in bytes.";
    page.gauge("clips_kept_bytes", help, &[], bytes);
}
