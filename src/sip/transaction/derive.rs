//! The two requests that are made from an INVITE rather than for themselves.

use crate::sip::header::HeaderName;
use crate::sip::headers::CSeq;
use crate::sip::message::{Request, Response};
use crate::sip::method::Method;

/// The ACK of a 3xx to 6xx, part of the INVITE's transaction: all of the
/// INVITE but To, which is the response's (RFC 3261 section 17.1.1.3).
pub fn ack_of_failure(invite: &Request, response: &Response) -> Request {
    let mut ack = derived(invite, Method::Ack);
    match response.headers.get(&HeaderName::To) {
        Some(to) => ack.headers.set(HeaderName::To, to),
        None => ack.headers.copy_first(&invite.headers, &HeaderName::To),
    }
    ack
}

/// The CANCEL of an INVITE (RFC 3261 section 9.1).
pub fn cancel_of(invite: &Request) -> Request {
    derived(invite, Method::Cancel)
}

fn derived(invite: &Request, method: Method) -> Request {
    let mut request = Request::new(method.clone(), invite.uri.clone());
    let headers = &mut request.headers;
    // "A single Via header field" equal to the INVITE's top one: it has no
    // other, as we are no proxy.
    headers.copy_first(&invite.headers, &HeaderName::Via);
    headers.copy_all(&invite.headers, &HeaderName::Route);
    headers.push(HeaderName::MaxForwards, "70");
    headers.copy_first(&invite.headers, &HeaderName::From);
    headers.copy_first(&invite.headers, &HeaderName::To);
    headers.copy_first(&invite.headers, &HeaderName::CallId);
    let number = invite.headers.cseq().map_or(0, |cseq| cseq.number);
    headers.push(HeaderName::CSeq, CSeq { number, method }.to_string());
    request
}
