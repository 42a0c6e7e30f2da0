//! What must hold for any octets at all. The fuzz target runs this too.

use std::time::{Duration, Instant};

use ringwire::ids::ShardId;
use ringwire::sip::digest::Algorithm;
use ringwire::sip::digest::client::{Answers, challenges};
use ringwire::sip::digest::server::{Expected, Nonces};
use ringwire::sip::header::HeaderName;
use ringwire::sip::headers::Headers;
use ringwire::sip::message::{Message, Request, response_to};
use ringwire::sip::method::Method;
use ringwire::sip::name_addr::NameAddr;
use ringwire::sip::parse::parse;
use ringwire::sip::routing::{by_call_id, owner, shard_of_tag};
use ringwire::sip::status::StatusCode;
use ringwire::sip::uri::Uri;
use ringwire::sip::via::Via;

/// Reads a datagram, and asks everything of the message that can be asked.
pub fn exercise(datagram: &[u8]) {
    let owner_of_four = owner(datagram, 4);
    assert!(owner_of_four.is_none_or(|shard| shard.0 < 4));
    let message = match parse(datagram) {
        Ok(message) => message,
        Err(error) => {
            if let Some(answer) = error.answer {
                assert!(answer.headers.via().is_ok(), "{answer:?}");
                let _ = parse(&printed(&Message::Response(*answer)));
            }
            return;
        }
    };
    let first = printed(&message);
    let again = parse(&first).unwrap_or_else(|e| panic!("{e}: {}", first.escape_ascii()));
    assert_eq!(
        first.escape_ascii().to_string(),
        printed(&again).escape_ascii().to_string()
    );
    read_values(message.headers());
    authenticate(message.headers());
    if let Message::Request(request) = message {
        // The short look of routing and the long one of the parser agree.
        let call_id = request.headers.call_id().expect("checked by parse");
        let marked = request
            .headers
            .to_tag()
            .and_then(|tag| shard_of_tag(tag.as_bytes()));
        if call_id.is_ascii() && marked.is_none_or(|ShardId(shard)| shard >= 4) {
            assert_eq!(owner_of_four, Some(by_call_id(call_id.as_bytes(), 4)));
        }
        answer(request);
    }
}

fn printed(message: &Message) -> Vec<u8> {
    let mut out = Vec::new();
    message.write_to(&mut out);
    out
}

/// What a value prints as reads as the same value.
fn read_values(headers: &Headers) {
    let _ = (
        headers.expires(),
        headers.retry_after(),
        headers.media_type(),
    );
    let from = headers.from().expect("checked by parse");
    let to = headers.to().expect("checked by parse");
    assert_eq!(from.tag(), headers.from_tag());
    assert_eq!(to.tag(), headers.to_tag());
    let others = [
        headers.contacts(),
        headers.routes(),
        headers.record_routes(),
    ];
    let others = others.into_iter().flatten().flatten();
    for value in [from, to].into_iter().chain(others) {
        assert_eq!(NameAddr::parse(&value.to_string()).as_ref(), Ok(&value));
        assert_eq!(Uri::parse(&value.uri.to_string()).as_ref(), Ok(&value.uri));
        assert!(value.uri.equivalent(&value.uri), "{value}");
        let _ = (value.uri.user(), value.uri.socket_addr(5060));
    }
    for via in headers.vias().into_iter().flatten() {
        assert_eq!(Via::parse(&via.to_string()).as_ref(), Ok(&via));
    }
    for (name, value) in headers.iter() {
        assert_eq!(
            NameAddr::parse(value).is_ok(),
            NameAddr::check(value).is_ok()
        );
        assert_eq!(Via::parse(value).is_ok(), Via::check(value).is_ok());
        assert_eq!(HeaderName::parse(name.as_str()).as_ref(), Some(name));
    }
}

fn authenticate(headers: &Headers) {
    let now = Instant::now();
    let mut nonces = Nonces::new(now, [1; 32], Duration::from_secs(60), 2);
    let expected = Expected {
        realm: "realm",
        username: "user",
        password: "secret",
        algorithms: &[Algorithm::Sha256, Algorithm::Md5],
    };
    let _ = nonces.verify(now, &Method::Invite, headers, &expected);
    for challenge in challenges(headers) {
        let mut answers = Answers::new(challenge);
        let _ = answers.answer("user", "secret", &Method::Invite, "sip:a@b", 1);
    }
}

/// An answer to a request that was taken is itself a good message.
fn answer(mut request: Request) {
    let source = "192.0.2.1:5060".parse().expect("an address");
    assert!(request.headers.stamp_top_via(source).is_ok());
    let mut response = response_to(&request, StatusCode::TRYING, Some("a\r\nb"));
    response.headers.add_to_tag("tag");
    assert!(response.headers.to_tag().is_some());
    let message = Message::Response(response);
    let printed = printed(&message);
    parse(&printed).unwrap_or_else(|e| panic!("{e}: {}", printed.escape_ascii()));
}
