//! Metrics of recordings.

use super::{Page, Shared};

pub(super) fn recording_metrics(page: &mut Page, shared: &Shared) {
    let counts = shared.recordings.counters();
    let help = "Recordings under way.";
    page.gauge("recordings_active", help, &[], counts.active);
    let help = "Recordings begun.";
    page.total("recordings_started", help, &[], counts.started);
    let help = "Recordings that are over, by what became of them.";
    for (result, count) in [("ready", counts.ready), ("failed", counts.failed)] {
        let labels = [("result", result.to_string())];
        page.total("recordings_ended", help, &labels, count);
    }
    let help = "Recordings that an earlier process left, ended at the start.";
    page.total("recordings_recovered", help, &[], counts.recovered);
    let help = "Frames of 20 ms that became silence because too much waited to be written.";
    page.total("recording_frames_lost", help, &[], counts.frames_lost);
    let help = "Recordings brought to the object store.";
    page.total("recordings_uploaded", help, &[], counts.uploaded);
    let help = "Attempts to bring a recording to the object store that failed.";
    page.total(
        "recording_upload_failures",
        help,
        &[],
        counts.upload_failures,
    );
    let help = "Recordings removed because of their age.";
    page.total("recordings_expired", help, &[], counts.expired);
}
