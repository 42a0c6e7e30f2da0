//! What is made ready for those who ring or wait, and when the shards get it.

use super::assets::wav;
use super::sound::{error, lobby, talking};
use super::*;
use crate::book::SoundSource;
use crate::call::request::SoundRequest;

fn asset(name: &str) -> Option<SoundSource> {
    Some(SoundSource::Asset(Arc::from(name)))
}

impl Gateway {
    /// An asset of so many milliseconds.
    async fn has_sound(&self, name: &str, milliseconds: usize) {
        let samples = milliseconds * 8;
        let file = wav(8000, samples, 100);
        self.upload(name, ACME, "audio/wav", file).await;
    }

    /// Whether the shard is asked to ring with a sound: how long it is.
    async fn next_ring(&mut self) -> Option<Duration> {
        soon("ringing", async {
            loop {
                match self.seen.recv().await {
                    Some(CallRequest::RingBack { ringback, .. }) => {
                        return Some(ringback.1.duration());
                    }
                    Some(CallRequest::Act {
                        action: Action::Ring,
                        ..
                    }) => return None,
                    Some(_) => {}
                    None => panic!("the shards are gone"),
                }
            }
        })
        .await
    }

    async fn next_company(&mut self) -> [Option<Duration>; 2] {
        let SoundRequest::Wait { room, sounds, .. } = self.next_sound().await else {
            panic!("nobody waits");
        };
        assert_eq!(room, lobby());
        let length = |(_, clip): (_, Arc<crate::call::request::Clip>)| clip.duration();
        [sounds.hold_music.map(length), sounds.ringback.map(length)]
    }
}

#[tokio::test]
async fn a_number_rings_with_its_ringback_where_it_can_be_had() {
    let mut gateway = talking(None).await;
    gateway.has_sound("ring", 100).await;
    for (ringback, expected) in [
        (asset("ring"), Some(Duration::from_millis(100))),
        (asset("none"), None),
        (None, None),
    ] {
        let mut called = number("200", "acme");
        called.ringback = ringback;
        called.client_id = Some("desk".to_string());
        let call = call_id(1, rand::random());
        gateway.event(call, "acme", arrival(called)).await;
        gateway.settled().await;
        let path = format!("/call/incoming/{call}/action");
        let answer = gateway.post(&path, ACME, json!({"action": "Ring"})).await;
        assert_eq!(answer.0, 200, "{answer:?}");
        assert_eq!(gateway.next_ring().await, expected);
    }
    gateway.end().await;
}

#[tokio::test]
async fn a_callee_waits_with_the_sounds_of_the_request_once_it_has_answered() {
    let mut gateway = talking(None).await;
    gateway.has_sound("hold", 100).await;
    gateway.has_sound("ring", 60).await;
    let sounds = json!({"hold_music": {"asset": "hold"}, "ringback": {"asset": "ring"}});
    let (call, ..) = gateway.dial(sounds).await;
    gateway
        .event(call, "acme", CallEventKind::Answered(200))
        .await;
    let lengths = [100, 60].map(|length| Some(Duration::from_millis(length)));
    assert_eq!(gateway.next_company().await, lengths);
    gateway.end().await;
}

#[tokio::test]
async fn a_callee_that_answers_before_its_call_is_known_waits_with_its_sounds_too() {
    let mut gateway = talking(None).await;
    gateway.has_sound("hold", 100).await;
    // The shard of the lobby numbers its calls.
    let (before, ..) = gateway.dial(json!({})).await;
    let call = call_id(before.shard.0, before.random + 1);
    gateway
        .event(call, "acme", CallEventKind::Answered(200))
        .await;
    gateway.settled().await;
    let (dialled, ..) = gateway.dial(json!({"hold_music": {"asset": "hold"}})).await;
    assert_eq!(dialled, call);
    let lengths = [Some(Duration::from_millis(100)), None];
    assert_eq!(gateway.next_company().await, lengths);
    gateway.end().await;
}

#[tokio::test]
async fn a_sound_of_a_request_that_cannot_be_is_refused_before_anybody_is_called() {
    let gateway = talking(None).await;
    for (sound, status, code) in [
        (json!({"asset": "none"}), 404, "ASSET_NOT_FOUND"),
        (json!({}), 400, "BAD_REQUEST"),
        (json!({"asset": "a/b"}), 400, "BAD_REQUEST"),
        (json!({"url": "hold.mp3"}), 400, "BAD_REQUEST"),
        (
            json!({"asset": "a", "url": "http://b/c"}),
            400,
            "BAD_REQUEST",
        ),
    ] {
        for field in ["hold_music", "ringback"] {
            let mut body = dial_body();
            body[field] = sound.clone();
            let answer = gateway.post("/call/outgoing", ACME, body).await;
            assert_eq!(error(&answer), (status, code), "{field}: {sound}");
        }
    }
    gateway.end().await;
}
