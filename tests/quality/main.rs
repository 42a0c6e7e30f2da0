//! Speech through rooms that are mixed, judged by PESQ beside the same speech
//! through the same codecs and nothing else: what the gateway adds to a
//! transcoding must not be heard. The figures are printed.
//!
//! Most of it is in simulated time, which no other work on this machine
//! disturbs; the same through a running gateway shows that nothing is lost
//! between its sockets and its rooms. Browsers are in `tests/browser`.

#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports)] // Written for `tests/peers`; this program uses its part.
mod support;

#[path = "../support/tools.rs"]
#[allow(dead_code)] // Written for `tests/clips`; this program uses its part.
mod tools;

mod codecs;
mod pesq;
mod real_time;
mod simulated;
mod speech;

use ringwire::sound::codec::AudioCodec::{self, G722, Pcma, Pcmu};
use ringwire::sound::format::SampleRate;

use codecs::{OPUS_FEC, by_the_codecs, lost_packets};
use pesq::Band;
use speech::Speech;

/// What the gateway may take from the codecs' own score.
const TOLERANCE: f64 = 0.15;
/// The same where packets are lost.
const TOLERANCE_LOSS: f64 = 0.3;
/// Of a hundred packets so many are lost.
const LOSS: u32 = 5;
/// How often speech is said in real time until nothing disturbs it.
const TRIES: usize = 3;
/// A machine that costs more frames than this of a hundred is no machine to
/// hear speech on.
const MOST_EXCUSED: usize = 20;

const OPUS: AudioCodec = support::talker::OPUS;

/// One way through a gateway.
struct Way<'a> {
    speech: &'a Speech,
    from: AudioCodec,
    to: AudioCodec,
    /// The rate of the room.
    room: SampleRate,
}

impl<'a> Way<'a> {
    fn new(speech: &'a Speech, from: AudioCodec, to: AudioCodec, quiet: &[AudioCodec]) -> Self {
        // A room has the second best of its peers' rates.
        let all = [from, to].into_iter().chain(quiet.iter().copied());
        let mut rates: Vec<SampleRate> = all.map(AudioCodec::native_rate).collect();
        rates.sort_unstable();
        let room = rates[rates.len() - 2];
        Self {
            speech,
            from,
            to,
            room,
        }
    }

    fn said(&self) -> Vec<i16> {
        self.speech.at(self.from.native_rate())
    }

    fn packets(&self) -> usize {
        self.said().len() / self.from.native_rate().frame_samples()
    }

    fn score(&self, heard: &[i16]) -> f64 {
        let ends = [self.from, self.to];
        let wide = ends.iter().all(|c| c.native_rate() >= SampleRate::Wide);
        let band = if wide { Band::Wide } else { Band::Narrow };
        pesq::score(self.speech, heard, self.to.native_rate(), band)
    }

    /// The codecs alone.
    fn reference(&self, lost: &[usize]) -> f64 {
        self.score(&by_the_codecs(
            &self.said(),
            self.from,
            self.to,
            self.room,
            lost,
        ))
    }
}

/// A room in simulated time is as good as the codecs alone.
#[track_caller]
fn a_room_is_as_good_as_the_codecs(
    from: AudioCodec,
    to: AudioCodec,
    quiet: &[AudioCodec],
    loss: u32,
    tolerance: f64,
) {
    let speech = Speech::make();
    let way = Way::new(&speech, from, to, quiet);
    let lost = lost_packets(loss, way.packets(), 20);
    let room = way.score(&simulated::through_a_room(
        &way.said(),
        from,
        to,
        quiet,
        &lost,
    ));
    let codecs = way.reference(&lost);
    println!(
        "{from:?} to {to:?}, {} others, {loss} % lost: room {room:.2}, codecs alone {codecs:.2}",
        quiet.len()
    );
    assert!(
        room >= codecs - tolerance,
        "{from:?} to {to:?}: {room:.2} through a room, {codecs:.2} by the codecs alone"
    );
}

/// The running gateway is as good as the codecs alone. Where every try was
/// disturbed by other work, the codecs lose as many frames as the last one did.
#[track_caller]
fn the_gateway_is_as_good_as_the_codecs(from: AudioCodec, to: AudioCodec) {
    let speech = Speech::make();
    let way = Way::new(&speech, from, to, &[]);
    let codecs = way.reference(&[]);
    let mut last = None;
    for _ in 0..TRIES {
        let heard = real_time::through_the_gateway(&way.said(), from, to);
        let gateway = way.score(&heard.samples);
        println!("{from:?} to {to:?}: gateway {gateway:.2}, codecs alone {codecs:.2}");
        if gateway >= codecs - TOLERANCE {
            return;
        }
        assert!(
            heard.excused > 0,
            "{from:?} to {to:?}: {gateway:.2} through the gateway, {codecs:.2} by the codecs alone, \
             and nothing disturbed it"
        );
        last = Some((gateway, heard.excused));
    }
    let (gateway, excused) = last.expect("a try");
    let percent = (100 * excused).div_ceil(way.packets());
    let lost = lost_packets(percent.min(MOST_EXCUSED) as u32, way.packets(), 20);
    let disturbed = way.reference(&lost);
    println!("codecs alone without {} frames: {disturbed:.2}", lost.len());
    assert!(
        percent > MOST_EXCUSED || gateway >= disturbed - TOLERANCE_LOSS,
        "{from:?} to {to:?}: {gateway:.2} through the gateway with {excused} frames missed, \
         {disturbed:.2} by the codecs alone with as many lost"
    );
}

#[test]
fn pcmu_to_opus() {
    a_room_is_as_good_as_the_codecs(Pcmu, OPUS, &[], 0, TOLERANCE);
}

#[test]
fn opus_to_pcmu() {
    a_room_is_as_good_as_the_codecs(OPUS, Pcmu, &[], 0, TOLERANCE);
}

#[test]
fn g722_to_opus() {
    a_room_is_as_good_as_the_codecs(G722, OPUS, &[], 0, TOLERANCE);
}

#[test]
fn opus_to_g722() {
    a_room_is_as_good_as_the_codecs(OPUS, G722, &[], 0, TOLERANCE);
}

#[test]
fn one_talker_among_three() {
    a_room_is_as_good_as_the_codecs(Pcmu, Pcmu, &[Pcma], 0, TOLERANCE);
}

#[test]
fn one_wideband_talker_among_three() {
    a_room_is_as_good_as_the_codecs(G722, OPUS, &[OPUS], 0, TOLERANCE);
}

#[test]
fn opus_with_losses_to_g722() {
    a_room_is_as_good_as_the_codecs(OPUS_FEC, G722, &[], LOSS, TOLERANCE_LOSS);
}

#[test]
fn pcmu_with_losses_to_pcma() {
    a_room_is_as_good_as_the_codecs(Pcmu, Pcma, &[], LOSS, TOLERANCE_LOSS);
}

#[test]
fn pcmu_to_opus_through_a_running_gateway() {
    the_gateway_is_as_good_as_the_codecs(Pcmu, OPUS);
}

#[test]
fn opus_to_pcmu_through_a_running_gateway() {
    the_gateway_is_as_good_as_the_codecs(OPUS, Pcmu);
}
