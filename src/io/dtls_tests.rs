use super::*;
use openssl::rsa::Rsa;

/// Plays two sessions against each other until both are done or nothing
/// moves; drops the datagrams whose running number is in `lost`.
fn shake(mut client: Session, mut server: Session, lost: &[usize]) -> (Session, Session) {
    let start = Instant::now();
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    client.handle(start, &[], &mut |d| to_server.push(d.to_vec()));
    let mut number = 0;
    let mut arrives = || {
        number += 1;
        !lost.contains(&number)
    };
    let is_done = |session: &Session| matches!(session.state, DtlsState::Done(_));
    while start.elapsed() < Duration::from_secs(10) {
        let now = Instant::now();
        for datagram in std::mem::take(&mut to_server) {
            assert!(datagram.len() <= MTU as usize);
            if arrives() {
                server.handle(now, &datagram, &mut |d| to_client.push(d.to_vec()));
            }
        }
        for datagram in std::mem::take(&mut to_client) {
            assert!(datagram.len() <= MTU as usize);
            if arrives() {
                client.handle(now, &datagram, &mut |d| to_server.push(d.to_vec()));
            }
        }
        if is_done(&client) && is_done(&server) {
            break;
        }
        if to_server.is_empty() && to_client.is_empty() {
            let next = client.next.into_iter().chain(server.next).min();
            let Some(next) = next else { break };
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            let now = Instant::now();
            if client.next.is_some_and(|at| at <= now) {
                client.timeout(now, &mut |d| to_server.push(d.to_vec()));
            }
            if server.next.is_some_and(|at| at <= now) {
                server.timeout(now, &mut |d| to_client.push(d.to_vec()));
            }
        }
    }
    (client, server)
}

fn done(session: &Session) -> &DtlsKeys {
    match &session.state {
        DtlsState::Done(keys) => keys,
        other => panic!("not done: {other:?}"),
    }
}

fn rsa() -> OpenSslEngine {
    let key = Rsa::generate(2048).expect("a key");
    OpenSslEngine::with_key(&PKey::from_rsa(key).expect("a key")).expect("an engine")
}

fn check(client: &OpenSslEngine, server: &OpenSslEngine, lost: &[usize]) {
    let (client_end, server_end) = (
        client.session(DtlsRole::Client).expect("a session"),
        server.session(DtlsRole::Server).expect("a session"),
    );
    let (client_end, server_end) = shake(client_end, server_end, lost);
    let (ours, theirs) = (done(&client_end), done(&server_end));
    assert_eq!(ours.client.suite, Suite::AeadAes128Gcm);
    assert!(ours.client == theirs.client && ours.server == theirs.server);
    assert!(ours.client != ours.server);
    let digest = |der: &[u8]| openssl::sha::sha256(der).to_vec();
    assert_eq!(digest(&ours.peer_certificate), server.fingerprint.digest);
    assert_eq!(digest(&theirs.peer_certificate), client.fingerprint.digest);
}

#[test]
fn two_ends_agree_on_keys_and_know_each_others_certificate() {
    let (one, other) = (OpenSslEngine::new(), OpenSslEngine::new());
    let (one, other) = (one.expect("an engine"), other.expect("an engine"));
    check(&one, &other, &[]);
}

#[test]
fn an_rsa_peer_is_fine_in_both_roles() {
    let (ours, theirs) = (OpenSslEngine::new().expect("an engine"), rsa());
    check(&ours, &theirs, &[]);
    check(&theirs, &ours, &[]);
}

#[test]
fn any_lost_datagram_is_made_up_for() {
    let (one, other) = (OpenSslEngine::new(), OpenSslEngine::new());
    let (one, other) = (one.expect("an engine"), other.expect("an engine"));
    for number in 1..=6 {
        check(&one, &other, &[number]);
    }
}

fn hello_of(client: &mut dyn DtlsSession) -> Vec<u8> {
    let mut hello = Vec::new();
    client.handle(Instant::now(), &[], &mut |d| hello = d.to_vec());
    hello
}

/// What the server says to a hello, and whether it makes a session of it.
fn greeted(
    server: &mut OpenSslEngine,
    address: &[u8],
    hello: &[u8],
) -> (Vec<u8>, Option<Box<dyn DtlsSession>>) {
    let mut answer = Vec::new();
    let greeted = server.greet(address, hello, &mut |d| answer.extend_from_slice(d));
    (answer, greeted.expect("a hello"))
}

#[test]
fn a_hello_makes_a_session_only_with_the_cookie_of_its_address() {
    let mut engine = OpenSslEngine::new().expect("an engine");
    let mut client = engine.session(DtlsRole::Client).expect("a session");
    let hello = hello_of(&mut client);
    let (question, none) = greeted(&mut engine, b"here", &hello);
    assert!(none.is_none());
    assert!(!question.is_empty() && question.len() < hello.len());
    let mut proof = Vec::new();
    client.handle(Instant::now(), &question, &mut |d| proof = d.to_vec());
    // Shown from elsewhere it proves nothing.
    let (question, none) = greeted(&mut engine, b"there", &proof);
    assert!(none.is_none() && !question.is_empty());
    let (nothing, session) = greeted(&mut engine, b"here", &proof);
    let mut session = session.expect("a session");
    assert!(nothing.is_empty());
    let mut flight = Vec::new();
    session.handle(Instant::now(), &[], &mut |d| flight.extend_from_slice(d));
    assert!(flight.len() > proof.len());
}

#[test]
fn what_is_no_hello_makes_neither_session_nor_answer() {
    let mut engine = OpenSslEngine::new().expect("an engine");
    let mut client = engine.session(DtlsRole::Client).expect("a session");
    let mut cut = hello_of(&mut client);
    cut.truncate(60);
    for datagram in [cut, vec![22; 40]] {
        let mut answer = Vec::new();
        let greeted = engine.greet(b"here", &datagram, &mut |d| answer = d.to_vec());
        assert!(!matches!(greeted, Ok(Some(_))));
        assert!(answer.is_empty());
    }
    // And spoils nothing for the next one.
    let mut client = engine.session(DtlsRole::Client).expect("a session");
    let (question, _) = greeted(&mut engine, b"here", &hello_of(&mut client));
    assert!(!question.is_empty());
}
