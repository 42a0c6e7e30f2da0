//! DTLS-SRTP of the legs that want it, before anything is measured (RFC 5764):
//! we are the client, and the datagrams go through the packet socket, as no
//! kernel knows the legs' addresses.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use ringwire::io::dtls::OpenSslEngine;
use ringwire::keying::DtlsRole;
use ringwire::media::{DtlsEngine, DtlsSession, DtlsState};

use crate::packet_socket::PacketSocket;
use crate::streams::{HEADERS, Keying, LegLine, Link, headers};

/// Handshakes at a time.
const AT_ONCE: usize = 16;
/// Without one that ends for so long, none will.
const GIVE_UP: Duration = Duration::from_secs(20);

/// Gives every leg its keys.
pub fn shake_hands(
    engine: &mut OpenSslEngine,
    socket: &mut PacketSocket,
    lines: &mut [LegLine],
    link: Link,
) -> io::Result<()> {
    let mut waiting: Vec<usize> = (0..lines.len())
        .rev()
        .filter(|leg| matches!(lines[*leg].keying, Keying::Dtls))
        .collect();
    let mut under_way: HashMap<SocketAddrV4, (usize, Box<dyn DtlsSession>)> = HashMap::new();
    let mut last = Instant::now();
    while !waiting.is_empty() || !under_way.is_empty() {
        let now = Instant::now();
        while under_way.len() < AT_ONCE
            && let Some(leg) = waiting.pop()
        {
            let mut session = engine.start(DtlsRole::Client).map_err(io::Error::other)?;
            let mut out = Vec::new();
            session.handle(now, &[], &mut |datagram| out.push(datagram.to_vec()));
            send(socket, &lines[leg], link, &out)?;
            under_way.insert(lines[leg].ours, (leg, session));
        }
        for (to, datagram) in received(socket) {
            let Some((leg, session)) = under_way.get_mut(&to) else {
                continue;
            };
            let leg = *leg;
            let mut out = Vec::new();
            session.handle(now, &datagram, &mut |datagram| out.push(datagram.to_vec()));
            send(socket, &lines[leg], link, &out)?;
            match session.state() {
                DtlsState::Handshaking => {}
                DtlsState::Done(keys) => {
                    lines[leg].keying = Keying::Known(keys.client.clone(), keys.server.clone());
                    under_way.remove(&to);
                    last = now;
                }
                ended => return Err(io::Error::other(format!("a handshake: {ended:?}"))),
            }
        }
        for (leg, session) in under_way.values_mut() {
            if session.next_timeout().is_some_and(|at| at <= now) {
                let mut out = Vec::new();
                session.timeout(now, &mut |datagram| out.push(datagram.to_vec()));
                send(socket, &lines[*leg], link, &out)?;
            }
        }
        if now - last > GIVE_UP {
            let left = waiting.len() + under_way.len();
            return Err(io::Error::other(format!("{left} handshakes do not end")));
        }
    }
    Ok(())
}

fn send(socket: &mut PacketSocket, line: &LegLine, link: Link, out: &[Vec<u8>]) -> io::Result<()> {
    for datagram in out {
        socket.add(|frame| {
            let end = HEADERS + datagram.len();
            frame[..HEADERS].copy_from_slice(&headers(line, link, datagram.len()));
            frame[HEADERS..end].copy_from_slice(datagram);
            end
        });
        socket.send()?;
    }
    Ok(())
}

/// The DTLS datagrams that have come in, and to whom.
fn received(socket: &mut PacketSocket) -> Vec<(SocketAddrV4, Vec<u8>)> {
    let mut found = Vec::new();
    socket.receive(64, |frame, _| {
        // IPv4 without options, UDP; RFC 7983 section 7 tells DTLS.
        if frame.len() > HEADERS
            && frame[14] == 0x45
            && frame[23] == 17
            && (20..64).contains(&frame[HEADERS])
        {
            let address = Ipv4Addr::new(frame[30], frame[31], frame[32], frame[33]);
            let port = u16::from_be_bytes([frame[36], frame[37]]);
            let length = usize::from(u16::from_be_bytes([frame[38], frame[39]])).saturating_sub(8);
            let end = frame.len().min(HEADERS + length);
            found.push((
                SocketAddrV4::new(address, port),
                frame[HEADERS..end].to_vec(),
            ));
        }
    });
    found
}
