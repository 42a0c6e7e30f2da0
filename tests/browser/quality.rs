//! Speech between a PCMU phone and a browser that talks Opus, both ways at
//! once, judged by PESQ. The figures are printed.
//!
//! A browser has its own encoder, jitter buffer and clock, and a busy machine
//! disturbs all of them. So the page sends the same speech, at the same time,
//! also to itself, over a connection without a gateway: what it hears there is
//! what can be asked of this browser on this machine at this moment.

use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ringwire::sound::codec::AudioCodec::Pcmu;
use ringwire::sound::format::SampleRate;
use serde_json::Value;

use crate::chromium::Browser;
use crate::codecs::{OPUS_FEC, by_the_codecs, through};
use crate::mixing::OPUS_ALONE;
use crate::network::{Family, PHONE, ip};
use crate::pesq::{self, Band};
use crate::scene::{self, NEIGHBOURS, join};
use crate::speech::Speech;
use crate::support::sip::SipPeer;
use crate::support::talker::{Sound, Talker, Talkers};
use crate::support::{Gateway, eventually};
use crate::tools::run;

/// What the gateway may take from the lower of both references.
const TOLERANCE: f64 = 0.15;
/// Nobody speaks yet, in seconds: the microphone is opened meanwhile.
const BEFORE: f64 = 2.0;
/// What waits in jitter buffers comes out, in seconds.
const AFTER: f64 = 1.5;
/// How often speech is said: each way has to be good once.
const TRIES: usize = 4;

/// A phone and a browser in a room that is mixed.
struct Scene {
    speech: Speech,
    browser: Browser,
    phone: Talker,
    target: std::net::SocketAddr,
    _sip: SipPeer,
    talkers: Talkers,
    _gateway: Gateway,
}

/// Scores of one try.
struct Scores {
    /// From the phone to the browser.
    to_browser: f64,
    /// From the browser to the phone.
    to_phone: f64,
    /// From the browser to itself, and then through the phone's codec.
    itself: f64,
}

impl Scene {
    #[track_caller]
    fn set() -> Self {
        let speech = Speech::make();
        // Long enough for what a busy machine is late by.
        let mut gateway = scene::on_network(Family::V4)
            .number_from(
                "7000",
                NEIGHBOURS,
                r#"answer = { room = "talk", peer = "phone" }"#,
            )
            .table("[sound]\njitter_minimum_ms = 200")
            .start();
        let talkers = Talkers::new();
        let mut sip = SipPeer::open(&mut gateway.ports, ip(PHONE));
        let nothing = Sound::Once(Vec::new());
        let phone = talkers.open(&mut gateway.ports, ip(PHONE), Pcmu, &nothing);
        let mut call = sip.invite(gateway.sip(), "7000", &phone.description());
        let target = sip.expect_answer(&mut call).media_address();
        let mut browser = Browser::saying(&microphone(&speech)).start();
        browser.prepare(include_str!("speech.js"));
        browser.open(&format!("http://{}/sdk/README.md", gateway.http()));
        scene::load_sdk(&mut browser);
        browser.evaluate(OPUS_ALONE);
        join(&gateway, &mut browser, "browser", "microphone: silence()");
        browser.until("room.quality?.codec === 'opus'");
        browser.evaluate("prepareToTalk(room)");
        Self {
            speech,
            browser,
            phone,
            target,
            _sip: sip,
            talkers,
            _gateway: gateway,
        }
    }

    /// Both say the speech at once.
    #[track_caller]
    fn talk(&mut self) -> Scores {
        self.phone.forget();
        self.talkers.take_lateness();
        self.browser.evaluate("talk(room)");
        let silence = (BEFORE * f64::from(SampleRate::Narrow.hertz())) as usize;
        let mut said = vec![0; silence];
        said.extend(self.speech.at(SampleRate::Narrow));
        self.phone.say(Pcmu, &Sound::Once(said));
        self.phone.talk_to(self.target);
        let seconds = self.speech.at(SampleRate::Full).len() as f64 / 48_000.0;
        let over = BEFORE + seconds + AFTER;
        self.browser.evaluate(&format!(
            "void (globalThis.over = performance.now() + {over} * 1000)"
        ));
        eventually("the phone has said all", || {
            self.phone.has_finished().then_some(())
        });
        self.browser.until("performance.now() > over");
        let phone = self.phone.decode(&self.phone.heard());
        let heard = self.browser.evaluate("stopTalking(room)");
        println!(
            "the phone's packets were up to {:?} late; concealed in the browser: {} of the room, {} of itself",
            self.talkers.take_lateness(),
            heard["concealed"][0],
            heard["concealed"][1],
        );
        let browser = samples(&heard["ofRoom"]);
        let itself = through(Pcmu, SampleRate::Full, &samples(&heard["ofItself"]));
        Scores {
            to_browser: self.score(&browser, SampleRate::Full),
            to_phone: self.score(&phone, SampleRate::Narrow),
            itself: self.score(&itself, SampleRate::Narrow),
        }
    }

    /// The codecs alone, from the phone to the browser and back.
    fn references(&self) -> (f64, f64) {
        let narrow = SampleRate::Narrow;
        let said = self.speech.at(narrow);
        let to_browser = by_the_codecs(&said, Pcmu, OPUS_FEC, narrow, &[]);
        let said = self.speech.at(SampleRate::Full);
        let to_phone = by_the_codecs(&said, OPUS_FEC, Pcmu, narrow, &[]);
        (
            self.score(&to_browser, SampleRate::Full),
            self.score(&to_phone, narrow),
        )
    }

    fn score(&self, heard: &[i16], rate: SampleRate) -> f64 {
        pesq::score(&self.speech, heard, rate, Band::Narrow)
    }
}

/// What the microphone hears, once.
fn microphone(speech: &Speech) -> PathBuf {
    let said = speech.file(SampleRate::Full);
    run(
        speech.directory(),
        &format!(
            "sox -D {} microphone.wav pad {BEFORE} {AFTER}",
            said.display()
        ),
    );
    speech.directory().join("microphone.wav")
}

/// Samples as the page gives them.
#[track_caller]
fn samples(base64: &Value) -> Vec<i16> {
    let bytes = STANDARD.decode(base64.as_str().expect("base64"));
    let bytes = bytes.expect("base64");
    let pairs = bytes.chunks_exact(2);
    pairs
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]))
        .collect()
}

#[test]
fn speech_of_a_pcmu_phone_and_of_an_opus_browser_is_as_good_as_their_codecs() {
    let mut scene = Scene::set();
    let (codecs_to_browser, codecs_to_phone) = scene.references();
    let (mut browser_hears, mut phone_hears) = (false, false);
    for _ in 0..TRIES {
        let scores = scene.talk();
        let Scores {
            to_browser,
            to_phone,
            itself,
        } = scores;
        println!(
            "PCMU phone to Opus browser: gateway {to_browser:.2}, codecs alone {codecs_to_browser:.2}; \
             Opus browser to PCMU phone: gateway {to_phone:.2}, codecs alone {codecs_to_phone:.2}; \
             the browser to itself, then PCMU: {itself:.2}"
        );
        let good = |score: f64, codecs: f64| score >= codecs.min(itself) - TOLERANCE;
        browser_hears |= good(to_browser, codecs_to_browser);
        phone_hears |= good(to_phone, codecs_to_phone);
        if browser_hears && phone_hears {
            return;
        }
    }
    panic!(
        "worse than the codecs and than the browser by itself, {TRIES} times: \
         the browser hears well: {browser_hears}, the phone hears well: {phone_hears}"
    );
}
