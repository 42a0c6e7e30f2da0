//! The generator and sink. It first says the fingerprint of its certificate, in
//! SDP's form, for the legs under DTLS. Then standard input, a line each:
//! `streams FILE PID` names the legs and the device, and is answered with `ready` when they have
//! their keys; `run RATE WARM_MS WINDOW_MS` sends this many packets a second,
//! all legs in turn and evenly spread, first without measuring, then with; the
//! answer is a line of JSON. It sends nothing between runs.
//!
//! Every payload says which leg sent it, its number and when, so loss and delay
//! are exact. The time is taken just before the packet is handed to the kernel,
//! and its arrival is the kernel's stamp: what the generator does in between is
//! in neither. It never waits: there is a core for it.

use std::io::{self, BufRead, Write};

use ringwire::io::dtls::OpenSslEngine;
use ringwire::media::DtlsEngine;

use crate::accounts::{Device, clock};
use crate::arguments::Arguments;
use crate::figures::{Figures, SLICE};
use crate::handshakes;
use crate::packet_socket::{BATCH, FRAME, PacketSocket};
use crate::streams::{self, Link, Streams};

/// After the last packet, this long for what is under way.
const LINGER: u64 = 300_000_000;
/// Past this the generator was late.
const LATE: u64 = 1_000_000;
/// What was due this long ago is left out: sending it now would be a burst
/// that nobody asked for.
const TOO_LATE: u64 = 20_000_000;
/// Frames taken before it is looked again whether something is due.
const TAKE: usize = 64;

/// Answers commands until standard input ends.
pub fn serve(arguments: &Arguments) -> io::Result<()> {
    let mut engine = OpenSslEngine::new().map_err(io::Error::other)?;
    let fingerprint = engine.fingerprint();
    let bytes: Vec<String> = fingerprint
        .digest
        .iter()
        .map(|byte| format!("{byte:02X}"))
        .collect();
    answer(&format!("sha-256 {}", bytes.join(":")))?;
    let mut generator: Option<Generator> = None;
    for line in io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| word.parse::<f64>().ok();
        match (&words[..], &mut generator) {
            (["streams", file, pid], _) => {
                let pid = pid.parse().map_err(io::Error::other)?;
                generator = Some(Generator::new(arguments, file, pid, &mut engine)?);
                answer("ready")?;
            }
            (["run", rate, warm, window], Some(generator)) => {
                let (Some(rate), Some(warm), Some(window)) =
                    (number(rate), number(warm), number(window))
                else {
                    return Err(io::Error::other(format!("not understood: {line}")));
                };
                let figures = generator.run(rate, (warm * 1e6) as u64, (window * 1e6) as u64)?;
                answer(&figures.json())?;
            }
            _ => return Err(io::Error::other(format!("not understood: {line}"))),
        }
    }
    Ok(())
}

fn answer(line: &str) -> io::Result<()> {
    println!("{line}");
    io::stdout().flush()
}

struct Generator {
    socket: PacketSocket,
    streams: Streams,
    device: Device,
    reflected: bool,
    slot: Box<[u8; FRAME]>,
    /// The leg whose turn it is.
    turn: usize,
    /// By leg: how many of its packets came out in this run, and the number
    /// of the last.
    heard: Vec<(u64, u32)>,
}

/// The bounds of a run, in nanoseconds of [`clock`].
struct Times {
    start: u64,
    /// The window: set when it has opened and closed.
    from: u64,
    to: u64,
}

impl Times {
    fn in_window(&self, at: u64) -> bool {
        (self.from..self.to).contains(&at)
    }
}

impl Generator {
    fn new(
        arguments: &Arguments,
        file: &str,
        pid: u32,
        engine: &mut OpenSslEngine,
    ) -> io::Result<Generator> {
        let mut socket = PacketSocket::open(&arguments.interface)?;
        let mut lines = streams::read(file)?;
        let link = Link {
            from: socket.address,
            to: arguments.to,
        };
        handshakes::shake_hands(engine, &mut socket, &mut lines, link)?;
        let streams = Streams::new(&lines, link)?;
        Ok(Generator {
            device: Device {
                pid,
                receiving: arguments.device_thread,
                core: arguments.device_core,
            },
            reflected: arguments.reflected,
            slot: Box::new([0; FRAME]),
            turn: 0,
            heard: vec![(0, 0); streams.len()],
            streams,
            socket,
        })
    }

    fn run(&mut self, rate: f64, warm: u64, window: u64) -> io::Result<Figures> {
        let interval = 1e9 / rate;
        let slices = ((warm + window) / SLICE + 1) as usize;
        let mut figures = Figures::new(rate, slices);
        for heard in &mut self.heard {
            heard.0 = 0;
        }
        let mut asked = vec![false; self.streams.len()];
        self.drain();
        let start = clock();
        let mut times = Times {
            start,
            from: u64::MAX,
            to: u64::MAX,
        };
        let total = ((warm + window) as f64 / interval) as u64;
        let mut scheduled = 0u64;
        let mut ends = start + warm + window;
        let mut last = start;
        loop {
            let now = clock();
            if times.from == u64::MAX && now >= start + warm {
                figures.before = self.device.accounts();
                times.from = clock();
                ends += times.from - now;
            }
            if times.to == u64::MAX && now >= ends {
                times.to = now;
                figures.after = self.device.accounts();
                figures.window = times.to - times.from;
            }
            if times.to != u64::MAX && now >= times.to + LINGER {
                break;
            }
            let mut worked = false;
            if times.to == u64::MAX {
                let due = (((now - start) as f64 / interval) as u64).min(total);
                let oldest = start + (scheduled as f64 * interval) as u64;
                if now.saturating_sub(oldest) > TOO_LATE {
                    figures.left_out += due - scheduled;
                    scheduled = due;
                }
                let count = ((due - scheduled) as usize).min(BATCH);
                if count > 0 {
                    worked = true;
                    self.send(count, interval, scheduled, &times, &mut figures, &mut asked)?;
                    scheduled += count as u64;
                }
            }
            worked |= self.receive(&times, &mut figures) > 0;
            if times.in_window(now) && !worked {
                figures.idle += now.saturating_sub(last.max(times.from));
            }
            last = now;
            if !worked {
                std::hint::spin_loop();
            }
        }
        figures.missed = self.socket.missed();
        figures.silent_legs = asked
            .iter()
            .zip(&self.heard)
            .filter(|(asked, heard)| **asked && heard.0 == 0)
            .count();
        Ok(figures)
    }

    fn send(
        &mut self,
        count: usize,
        interval: f64,
        scheduled: u64,
        times: &Times,
        figures: &mut Figures,
        asked: &mut [bool],
    ) -> io::Result<()> {
        let mut counted = 0;
        for n in 0..count as u64 {
            let now = clock();
            let leg = self.turn;
            self.turn = (leg + 1) % self.streams.len();
            let streams = &mut self.streams;
            self.socket.add(|frame| streams.write(leg, now, frame));
            slice(figures, times, now, |slice| slice.sent += 1);
            if times.in_window(now) {
                counted += 1;
                asked[leg] = true;
                figures.sent[leg % 2] += 1;
                let due = times.start + ((scheduled + n) as f64 * interval) as u64;
                let late = now.saturating_sub(due);
                figures.late += u64::from(late > LATE);
                figures.most_late = figures.most_late.max(late);
            }
        }
        let sent = self.socket.send()?;
        if counted > 0 {
            figures.refused += sent.refused;
        }
        Ok(())
    }

    fn receive(&mut self, times: &Times, figures: &mut Figures) -> usize {
        let Generator {
            socket,
            streams,
            slot,
            heard,
            reflected,
            ..
        } = self;
        socket.receive(TAKE, |frame, at| {
            let Some((leg, rtp)) = streams.addressed(frame) else {
                return;
            };
            let from = if *reflected { leg } else { leg ^ 1 };
            let mark = match streams.mark(leg, rtp, slot) {
                Some(mark) if mark.leg == from => mark,
                _ => {
                    figures.wrong += 1;
                    return;
                }
            };
            if mark.at < times.start {
                // Left in an earlier run.
                return;
            }
            let (count, last) = &mut heard[from];
            figures.reordered += u64::from(*count > 0 && mark.number <= *last);
            *last = mark.number;
            *count += 1;
            slice(figures, times, mark.at, |slice| slice.received += 1);
            figures.arrived += u64::from(times.in_window(at));
            if times.in_window(mark.at) {
                figures.received[from % 2] += 1;
                figures.delays.add(at.saturating_sub(mark.at));
            }
        })
    }

    /// Takes what is left of before.
    fn drain(&mut self) {
        while self.socket.receive(TAKE, |_, _| ()) > 0 {}
        self.socket.missed();
    }
}

fn slice(
    figures: &mut Figures,
    times: &Times,
    at: u64,
    count: impl FnOnce(&mut crate::figures::Slice),
) {
    let place = at.saturating_sub(times.start) / SLICE;
    if let Some(slice) = figures.slices.get_mut(place as usize) {
        count(slice);
    }
}
