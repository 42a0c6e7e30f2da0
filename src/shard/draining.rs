//! The graceful end: no new calls, time for those there are, then BYE.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::info;

use crate::call::request::{CallReply, CallRequest, ShardCounters};
use crate::shard::start::RunningShards;

/// How often it is asked whether calls are left.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How long peers may take to answer the last BYEs.
const GOODBYE: Duration = Duration::from_secs(2);

impl RunningShards {
    /// Refuses new calls, waits up to `patience` for the others to end, ends
    /// the rest, and waits a moment for their BYEs and for the registrations
    /// that are given up to be answered.
    pub async fn drain(&self, patience: Duration) {
        self.tell_all(&CallRequest::Drain).await;
        if !self.wait_until(patience, |left| left.calls == 0).await {
            let left = self.total(|counters| counters.calls).await;
            info!("{left} calls are left and are ended now");
            self.tell_all(&CallRequest::EndAll).await;
        }
        self.wait_until(GOODBYE, |left| {
            left.sip_sessions == 0 && left.registrations_leaving == 0
        })
        .await;
    }

    async fn wait_until(
        &self,
        patience: Duration,
        is_done: impl Fn(&ShardCounters) -> bool,
    ) -> bool {
        let end = Instant::now() + patience;
        loop {
            let left = self.total(|counters| u64::from(!is_done(counters))).await;
            if left == 0 {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    async fn tell_all(&self, request: &CallRequest) {
        for shard in self.shards.all() {
            // A shard that is gone has no calls left to end.
            let _ = self.shards.request(shard, request.clone()).await;
        }
    }

    async fn total(&self, of: impl Fn(&ShardCounters) -> u64) -> u64 {
        let mut total = 0;
        for shard in self.shards.all() {
            let reply = self.shards.request(shard, CallRequest::Counters).await;
            if let Ok(CallReply::Counters(counters)) = reply {
                total += of(&counters);
            }
        }
        total
    }
}
