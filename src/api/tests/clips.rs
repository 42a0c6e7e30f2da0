use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{HeaderMap, StatusCode};
use axum::response::IntoResponse;

use super::assets::wav;
use super::*;
use crate::book::SoundSource;
use crate::sound::clip::{Clip, ClipError};
use crate::sound::format::SampleRate;

use super::super::clips::ClipLoadError;

/// A server of sounds that counts how often it is asked.
struct Sounds {
    url: String,
    asked: Arc<AtomicUsize>,
}

impl Sounds {
    async fn start<A, F>(answer: A) -> Self
    where
        A: Fn(HeaderMap) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = axum::response::Response> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/sound", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = asked.clone();
        let router = axum::Router::new().fallback(move |headers: HeaderMap| {
            counted.fetch_add(1, Ordering::SeqCst);
            answer.clone()(headers)
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Sounds { url, asked }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn source(&self) -> SoundSource {
        url(&self.url)
    }
}

fn url(text: &str) -> SoundSource {
    SoundSource::Url {
        url: Arc::from(text),
        trusted: false,
    }
}

fn asset(name: &str) -> SoundSource {
    SoundSource::Asset(Arc::from(name))
}

async fn load(
    gateway: &Gateway,
    app: &str,
    source: &SoundSource,
) -> Result<Arc<Clip>, ClipLoadError> {
    let clips = &gateway.api.shared.clips;
    soon("a clip", clips.clip(&AppId::new(app), source)).await
}

async fn failure(gateway: &Gateway, source: &SoundSource) -> (&'static str, String) {
    let error = load(gateway, "acme", source).await.unwrap_err();
    (error.code(), error.to_string())
}

fn first(clip: &Clip) -> i16 {
    clip.samples(SampleRate::Narrow)[0]
}

#[tokio::test]
async fn an_asset_is_decoded_once_and_again_when_it_has_changed() {
    let gateway = Gateway::start(Vec::new()).await;
    gateway
        .upload("a", ACME, "audio/wav", wav(8000, 800, 100))
        .await;
    let once = load(&gateway, "acme", &asset("a")).await.unwrap();
    assert_eq!(first(&once), 100);
    let again = load(&gateway, "acme", &asset("a")).await.unwrap();
    assert!(Arc::ptr_eq(&once, &again));
    gateway
        .upload("a", ACME, "audio/wav", wav(8000, 800, 200))
        .await;
    let changed = load(&gateway, "acme", &asset("a")).await.unwrap();
    assert_eq!(first(&changed), 200);
    gateway.delete("/assets/a", ACME).await;
    let (code, words) = failure(&gateway, &asset("a")).await;
    assert_eq!(code, "ASSET_NOT_FOUND");
    assert!(words.contains("POST /assets/a"), "{words}");
    // What plays it still has it.
    assert_eq!(first(&changed), 200);
    for (line, count) in [
        ("ringwire_clip_loads_total{result=\"loaded\"}", 2),
        ("ringwire_clip_loads_total{result=\"cached\"}", 1),
        ("ringwire_clip_loads_total{result=\"failed\"}", 1),
    ] {
        let metric = gateway.metric(line).await.unwrap();
        assert_eq!(metric, format!("{line} {count}"));
    }
    gateway.end().await;
}

#[tokio::test]
async fn an_asset_of_another_app_is_none() {
    let gateway = Gateway::start(Vec::new()).await;
    gateway
        .upload("a", ROOT, "audio/wav", wav(8000, 800, 100))
        .await;
    assert!(load(&gateway, "root", &asset("a")).await.is_ok());
    assert_eq!(failure(&gateway, &asset("a")).await.0, "ASSET_NOT_FOUND");
    gateway.end().await;
}

#[tokio::test]
async fn those_who_want_the_same_url_at_once_make_one_request() {
    let sounds = Sounds::start(|_| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        wav(8000, 800, 7).into_response()
    })
    .await;
    let gateway = Gateway::start(Vec::new()).await;
    let source = sounds.source();
    let loads = (0..20).map(|_| load(&gateway, "acme", &source));
    let clips = futures_util::future::join_all(loads).await;
    for clip in &clips {
        assert_eq!(first(clip.as_ref().unwrap()), 7);
    }
    assert_eq!(sounds.asked(), 1);
    gateway.end().await;
}

#[tokio::test]
async fn what_was_fetched_long_ago_is_asked_for_with_its_etag() {
    let sounds = Sounds::start(|headers| async move {
        match headers.get("if-none-match") {
            Some(etag) if etag == "\"v1\"" => StatusCode::NOT_MODIFIED.into_response(),
            _ => ([("etag", "\"v1\"")], wav(8000, 800, 5)).into_response(),
        }
    })
    .await;
    let mut settings = settings();
    settings.assets.url_fresh = Duration::ZERO;
    let gateway = Gateway::with(settings, Vec::new(), |_| None).await;
    let once = load(&gateway, "acme", &sounds.source()).await.unwrap();
    let again = load(&gateway, "acme", &sounds.source()).await.unwrap();
    assert!(Arc::ptr_eq(&once, &again));
    assert_eq!(sounds.asked(), 2);
    let line = "ringwire_clip_loads_total{result=\"not_modified\"}";
    assert_eq!(gateway.metric(line).await.unwrap(), format!("{line} 1"));
    gateway.end().await;
}

#[tokio::test]
async fn an_older_copy_is_played_when_the_server_fails() {
    let calls = Arc::new(AtomicUsize::new(0));
    let sounds = Sounds::start(move |_| {
        let call = calls.fetch_add(1, Ordering::SeqCst);
        async move {
            match call {
                0 => wav(8000, 800, 5).into_response(),
                _ => StatusCode::BAD_GATEWAY.into_response(),
            }
        }
    })
    .await;
    let mut settings = settings();
    settings.assets.url_fresh = Duration::ZERO;
    let gateway = Gateway::with(settings, Vec::new(), |_| None).await;
    for _ in 0..3 {
        let clip = load(&gateway, "acme", &sounds.source()).await.unwrap();
        assert_eq!(first(&clip), 5);
    }
    // After the failure it is left alone for some seconds.
    assert_eq!(sounds.asked(), 2);
    gateway.end().await;
}

#[tokio::test]
async fn a_server_that_is_slow_too_long_or_elsewhere_is_told_of() {
    let gateway = Gateway::start(Vec::new()).await;
    let slow = Sounds::start(|_| async {
        tokio::time::sleep(PATIENCE).await;
        StatusCode::OK.into_response()
    })
    .await;
    let large = Sounds::start(|_| async { vec![0; 1024 * 1024 + 1].into_response() }).await;
    // Without a length: it is found out on the way.
    let endless = Sounds::start(|_| async {
        let chunks = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0; 65536]));
        axum::body::Body::from_stream(chunks).into_response()
    })
    .await;
    let moved =
        Sounds::start(|_| async { (StatusCode::FOUND, [("location", "/other")]).into_response() })
            .await;
    let missing = Sounds::start(|_| async { StatusCode::NOT_FOUND.into_response() }).await;
    let page = Sounds::start(|_| async { "<html>".into_response() }).await;
    for (sounds, code, words) in [
        (&slow, "FETCH_FAILED", "did not answer in time"),
        (&large, "FETCH_FAILED", "longer than 1048576 bytes"),
        (&endless, "FETCH_FAILED", "longer than 1048576 bytes"),
        (&moved, "FETCH_FAILED", "redirects are not followed"),
        (&missing, "FETCH_FAILED", "answered 404"),
        (&page, "CLIP_INVALID", "no WAV, Ogg Opus or MP3"),
    ] {
        for _ in 0..2 {
            let (found, message) = failure(&gateway, &sounds.source()).await;
            assert_eq!(found, code, "{message}");
            assert!(message.contains(words), "{message}");
        }
        // The failure is remembered.
        assert_eq!(sounds.asked(), 1, "{words}");
    }
    assert_eq!(gateway.api.shared.clips.kept(), (0, 0));
    gateway.end().await;
}

#[tokio::test]
async fn a_private_address_is_asked_only_where_the_operator_allows_it() {
    let sounds = Sounds::start(|_| async { wav(8000, 800, 5).into_response() }).await;
    let mut settings = settings();
    settings.hooks.policy = HookPolicy::default();
    let gateway = Gateway::with(settings, Vec::new(), |_| None).await;
    let by_name = sounds.url.replace("127.0.0.1", "localhost");
    for source in [sounds.source(), url(&by_name)] {
        let (code, words) = failure(&gateway, &source).await;
        assert_eq!(code, "URL_NOT_ALLOWED");
        assert!(words.contains("public"), "{words}");
    }
    assert_eq!(sounds.asked(), 0);
    // The operator's own may be anywhere, and others gain nothing by it.
    let own = SoundSource::Url {
        url: Arc::from(sounds.url.as_str()),
        trusted: true,
    };
    assert!(load(&gateway, "root", &own).await.is_ok());
    let (code, _) = failure(&gateway, &sounds.source()).await;
    assert_eq!(code, "URL_NOT_ALLOWED");
    gateway.end().await;
}

#[tokio::test]
async fn decoded_sounds_are_kept_up_to_a_number_of_bytes() {
    let gateway = Gateway::start(Vec::new()).await;
    // 10 s are 1,440,000 bytes decoded, and 8 MiB hold five of them.
    let file = wav(8000, 80_000, 1);
    for name in ["a", "b", "c", "d", "e"] {
        let name = &format!("{name}.wav");
        gateway.upload(name, ACME, "audio/wav", file.clone()).await;
        load(&gateway, "acme", &asset(name)).await.unwrap();
    }
    assert_eq!(gateway.api.shared.clips.kept(), (5, 7_200_000));
    gateway.upload("e", ROOT, "audio/wav", file).await;
    load(&gateway, "root", &asset("e")).await.unwrap();
    assert_eq!(gateway.api.shared.clips.kept(), (5, 7_200_000));
    let again = load(&gateway, "acme", &asset("a.wav")).await;
    assert!(again.is_ok());
    let line = "ringwire_clip_loads_total{result=\"loaded\"}";
    assert_eq!(gateway.metric(line).await.unwrap(), format!("{line} 7"));
    gateway.end().await;
}

#[tokio::test]
async fn a_sound_that_is_too_long_is_told_so_by_its_code() {
    let sounds = Sounds::start(|_| async { wav(8000, 80_001, 5).into_response() }).await;
    let gateway = Gateway::start(Vec::new()).await;
    let error = load(&gateway, "acme", &sounds.source()).await.unwrap_err();
    assert_eq!(error, ClipLoadError::Invalid(ClipError::TooLong(10)));
    assert_eq!(error.code(), "CLIP_TOO_LONG");
    gateway.end().await;
}
