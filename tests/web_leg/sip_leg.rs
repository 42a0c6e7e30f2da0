//! DTLS on a leg with a port of its own: a SIP peer's.

use std::time::Instant;

use ringwire::ids::{LegId, MediaPort};
use ringwire::io::dtls::OpenSslEngine;
use ringwire::keying::DtlsRole;
use ringwire::media::{DropReason, DtlsEngine, LegOptions, Notice, Table, TableSettings, Verdict};

use super::exercise::{remote, send, source};

fn leg(ours: &OpenSslEngine, theirs: &OpenSslEngine, role: DtlsRole) -> (Table, LegId, Instant) {
    let mut table = Table::new(TableSettings::default(), [1; 32]);
    table.set_dtls(Box::new(ours.clone()));
    let now = Instant::now();
    let options = LegOptions {
        rtp: MediaPort(0),
        rtcp: MediaPort(1),
        echo: false,
    };
    let leg = table.open(now, options);
    assert!(table.set_remote(now, leg, remote(theirs, role)));
    (table, leg, now)
}

#[test]
fn a_sip_leg_is_secured_in_either_role() {
    let (ours, mut theirs) = engines();
    for role in [DtlsRole::Server, DtlsRole::Client] {
        let (mut table, leg, now) = leg(&ours, &theirs, role);
        let other = match role {
            DtlsRole::Server => DtlsRole::Client,
            DtlsRole::Client => DtlsRole::Server,
        };
        let mut peer = theirs.start(other, false).expect("a session");
        let mut to_gateway: Vec<Vec<u8>> = Vec::new();
        if role == DtlsRole::Server {
            peer.handle(now, &[], &mut |d| to_gateway.push(d.to_vec()));
        }
        for _ in 0..10 {
            for datagram in std::mem::take(&mut to_gateway) {
                assert_eq!(send(&mut table, now, &datagram), Verdict::Consumed);
            }
            while let Some(answer) = table.poll_transmit() {
                assert_eq!((answer.port, answer.to), (MediaPort(0), Some(source())));
                peer.handle(now, &answer.payload, &mut |d| to_gateway.push(d.to_vec()));
            }
        }
        assert_eq!(table.poll_notice(), Some(Notice::Secured { leg }));
        // A refresh of the same description keeps what there is.
        assert!(table.set_remote(now, leg, remote(&theirs, role)));
        assert_eq!(table.poll_transmit(), None);
    }
}

#[test]
fn dtls_from_elsewhere_is_dropped() {
    let (ours, mut theirs) = engines();
    let (mut table, leg, now) = leg(&ours, &theirs, DtlsRole::Server);
    let mut moved = remote(&theirs, DtlsRole::Server);
    moved.rtp.set_port(9);
    assert!(table.set_remote(now, leg, moved));
    let mut hello = Vec::new();
    let mut peer = theirs.start(DtlsRole::Client, false).expect("a session");
    peer.handle(now, &[], &mut |d| hello = d.to_vec());
    let verdict = send(&mut table, now, &hello);
    assert_eq!(verdict, Verdict::Drop(DropReason::WrongSource));
}

#[test]
fn a_client_whose_peer_is_silent_repeats_itself() {
    let (ours, theirs) = engines();
    let (mut table, _, mut now) = leg(&ours, &theirs, DtlsRole::Client);
    assert!(table.poll_transmit().is_some());
    std::thread::sleep(std::time::Duration::from_millis(220));
    now += std::time::Duration::from_millis(220);
    assert!(table.next_timeout().is_some_and(|due| due <= now));
    table.handle_timeout(now);
    assert!(table.poll_transmit().is_some());
}

fn engines() -> (OpenSslEngine, OpenSslEngine) {
    let (ours, theirs) = (OpenSslEngine::new(), OpenSslEngine::new());
    (ours.expect("an engine"), theirs.expect("an engine"))
}
