//! Dialogs (RFC 3261 section 12): what both sides agreed on, and where the
//! next request goes.

use std::net::SocketAddr;

use super::header::HeaderName;
use super::headers::{CSeq, Headers};
use super::message::{Request, Response};
use super::method::Method;
use super::name_addr::NameAddr;
use super::uri::Uri;

/// Port of a URI that names none, over UDP (RFC 3261 section 19.1.2).
const DEFAULT_PORT: u16 = 5060;

/// A dialog as one of its ends sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dialog {
    /// The Call-ID.
    pub call_id: Box<str>,
    /// From of our requests, with our tag.
    pub local: Box<str>,
    /// To of our requests, with the peer's tag.
    pub remote: Box<str>,
    /// The peer's tag; empty for a peer of RFC 2543 that has none.
    pub remote_tag: Box<str>,
    /// The number of our last request.
    pub local_cseq: u32,
    /// The number of the peer's last request.
    pub remote_cseq: Option<u32>,
    /// Where the peer wants its requests.
    pub remote_target: Uri,
    /// The proxies on the way, the nearest first.
    pub route_set: Vec<NameAddr>,
    /// Where the peer's last message came from: what is used when a host on
    /// the way is not an address.
    pub source: SocketAddr,
}

impl Dialog {
    /// The dialog of a caller (RFC 3261 section 12.1.2). A response without
    /// To tag makes one with an empty tag; without Contact, its source is the
    /// remote target.
    pub fn of_caller(response: &Response, source: SocketAddr) -> Option<Self> {
        let headers = &response.headers;
        // The route set is what the proxies recorded, in reverse.
        let mut route_set = headers.record_routes().unwrap_or_default();
        route_set.reverse();
        Some(Dialog {
            call_id: headers.call_id().ok()?.into(),
            local: headers.get(&HeaderName::From)?.into(),
            remote: headers.get(&HeaderName::To)?.into(),
            remote_tag: headers.to_tag().unwrap_or_default().into(),
            local_cseq: headers.cseq().ok()?.number,
            remote_cseq: None,
            remote_target: target(headers, source),
            route_set,
            source,
        })
    }

    /// The dialog of a callee (RFC 3261 section 12.1.1). To of the request
    /// has our tag already.
    pub fn of_callee(request: &Request, source: SocketAddr) -> Option<Self> {
        let headers = &request.headers;
        Some(Dialog {
            call_id: headers.call_id().ok()?.into(),
            local: headers.get(&HeaderName::To)?.into(),
            remote: headers.get(&HeaderName::From)?.into(),
            remote_tag: headers.from_tag().unwrap_or_default().into(),
            local_cseq: 0,
            remote_cseq: headers.cseq().ok().map(|cseq| cseq.number),
            remote_target: target(headers, source),
            route_set: headers.record_routes().unwrap_or_default(),
            source,
        })
    }

    /// Whether a request with this Call-ID and From tag is of this dialog;
    /// that To has our tag is known (RFC 3261 section 12.2.2).
    pub fn matches(&self, headers: &Headers) -> bool {
        headers.call_id().is_ok_and(|id| *id == *self.call_id)
            && headers.from_tag().unwrap_or_default() == &*self.remote_tag
    }

    /// Takes note of a request's number; false when it is lower than one
    /// before (RFC 3261 section 12.2.2). The same number is let pass: some
    /// peers do not count.
    pub fn in_order(&mut self, number: u32) -> bool {
        if self.remote_cseq.is_some_and(|last| number < last) {
            return false;
        }
        self.remote_cseq = Some(number);
        true
    }

    /// Takes the Contact of a target refresh request or of its response as
    /// the new remote target (RFC 3261 sections 12.2.1.2 and 12.2.2).
    pub fn refresh_target(&mut self, headers: &Headers, source: SocketAddr) {
        self.source = source;
        if let Some(uri) = contact(headers) {
            self.remote_target = uri;
        }
    }

    /// The next request of the dialog (RFC 3261 section 12.2.1.1), without
    /// Via.
    pub fn request(&mut self, method: Method) -> Request {
        self.local_cseq = self.local_cseq.wrapping_add(1) & 0x7fff_ffff;
        self.with_number(method, self.local_cseq)
    }

    /// The ACK of a 2xx to the INVITE with this number (RFC 3261 section
    /// 13.2.2.4), without Via.
    pub fn ack(&self, number: u32) -> Request {
        self.with_number(Method::Ack, number)
    }

    fn with_number(&self, method: Method, number: u32) -> Request {
        let (uri, strict) = match self.strict_router() {
            Some(router) => (request_uri_of(router), true),
            None => (self.remote_target.clone(), false),
        };
        let mut request = Request::new(method.clone(), uri);
        let headers = &mut request.headers;
        // A strict router takes the target from the end of the route.
        for route in self.route_set.iter().skip(usize::from(strict)) {
            headers.push(HeaderName::Route, route.to_string());
        }
        if strict {
            headers.push(HeaderName::Route, format!("<{}>", self.remote_target));
        }
        headers.push(HeaderName::MaxForwards, "70");
        headers.push(HeaderName::From, &*self.local);
        headers.push(HeaderName::To, &*self.remote);
        headers.push(HeaderName::CallId, &*self.call_id);
        headers.push(HeaderName::CSeq, CSeq { number, method }.to_string());
        request
    }

    /// Where the next request goes (RFC 3261 section 8.1.2): to the first of
    /// the route set, else to the remote target; to where the peer's last
    /// message came from where that is no address.
    pub fn next_hop(&self) -> SocketAddr {
        let uri = self
            .route_set
            .first()
            .map_or(&self.remote_target, |route| &route.uri);
        match uri.socket_addr(DEFAULT_PORT) {
            Some(address) if address.is_ipv4() == self.source.is_ipv4() => address,
            _ => self.source,
        }
    }

    /// The nearest proxy, when it routes strictly: its URI has no `lr`.
    fn strict_router(&self) -> Option<&Uri> {
        let first = self.route_set.first()?;
        (!first.uri.has_param("lr")).then_some(&first.uri)
    }
}

fn target(headers: &Headers, source: SocketAddr) -> Uri {
    contact(headers).unwrap_or_else(|| Uri::of_address(None, source))
}

fn contact(headers: &Headers) -> Option<Uri> {
    let contact = headers.contacts().ok()?.into_iter().next()?;
    Some(request_uri_of(&contact.uri))
}

/// A URI without the parts that a Request-URI may not have (RFC 3261 section
/// 19.1.1, table 1).
fn request_uri_of(uri: &Uri) -> Uri {
    let mut uri = uri.clone();
    if let Some(sip) = uri.as_sip_mut() {
        sip.headers = None;
        sip.params.remove("method");
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::message::Message;
    use crate::sip::parse::parse;

    fn source() -> SocketAddr {
        "192.0.2.9:5070".parse().unwrap()
    }

    fn answer(extra: &str) -> Response {
        let text = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1\r\n\
             From: <sip:a@192.0.2.1>;tag=ours\r\nTo: <sip:b@192.0.2.2>;tag=theirs\r\n\
             Call-ID: c1\r\nCSeq: 7 INVITE\r\n{extra}\r\n"
        );
        match parse(text.as_bytes()) {
            Ok(Message::Response(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    fn routes(request: &Request) -> Vec<&str> {
        request.headers.all(&HeaderName::Route).collect()
    }

    #[test]
    fn a_callers_request_follows_the_recorded_route_in_reverse_12_1_2() {
        let mut dialog = Dialog::of_caller(
            &answer(
                "Contact: <sip:b@192.0.2.2:5090>\r\n\
                 Record-Route: <sip:192.0.2.4;lr>, <sip:192.0.2.3;lr>\r\n",
            ),
            source(),
        )
        .unwrap();
        let bye = dialog.request(Method::Bye);
        assert_eq!(bye.uri.to_string(), "sip:b@192.0.2.2:5090");
        assert_eq!(routes(&bye), ["<sip:192.0.2.3;lr>", "<sip:192.0.2.4;lr>"]);
        assert_eq!(bye.headers.get(&HeaderName::CSeq), Some("8 BYE"));
        assert_eq!(dialog.next_hop(), "192.0.2.3:5060".parse().unwrap());
    }

    #[test]
    fn a_strict_router_gets_the_target_at_the_end_of_the_route_12_2_1_1() {
        let dialog = Dialog::of_caller(
            &answer(
                "Contact: <sip:b@192.0.2.2:5090>\r\n\
                 Record-Route: <sip:192.0.2.4;lr>, <sip:192.0.2.3:5080>\r\n",
            ),
            source(),
        )
        .unwrap();
        let ack = dialog.ack(7);
        assert_eq!(ack.uri.to_string(), "sip:192.0.2.3:5080");
        assert_eq!(
            routes(&ack),
            ["<sip:192.0.2.4;lr>", "<sip:b@192.0.2.2:5090>"]
        );
        assert_eq!(dialog.next_hop(), "192.0.2.3:5080".parse().unwrap());
    }

    #[test]
    fn without_contact_the_source_is_the_target() {
        let dialog = Dialog::of_caller(&answer(""), source()).unwrap();
        assert_eq!(dialog.remote_target.to_string(), "sip:192.0.2.9:5070");
        assert_eq!(dialog.next_hop(), source());
    }

    #[test]
    fn a_host_name_as_next_hop_means_the_last_source() {
        let dialog =
            Dialog::of_caller(&answer("Contact: <sip:b@peer.example>\r\n"), source()).unwrap();
        assert_eq!(dialog.next_hop(), source());
        assert_eq!(dialog.remote_target.to_string(), "sip:b@peer.example");
    }

    #[test]
    fn a_lower_number_is_out_of_order_12_2_2() {
        let mut dialog = Dialog::of_caller(&answer(""), source()).unwrap();
        assert!(dialog.in_order(5));
        assert!(dialog.in_order(5));
        assert!(dialog.in_order(9));
        assert!(!dialog.in_order(8));
    }

    #[test]
    fn a_refresh_moves_the_target_and_nothing_else_12_2() {
        let mut dialog = Dialog::of_caller(
            &answer("Contact: <sip:b@192.0.2.2>\r\nRecord-Route: <sip:192.0.2.3;lr>\r\n"),
            source(),
        )
        .unwrap();
        let refresh =
            answer("Contact: <sip:b@192.0.2.77?x=y>\r\nRecord-Route: <sip:9.9.9.9;lr>\r\n");
        dialog.refresh_target(&refresh.headers, source());
        assert_eq!(dialog.remote_target.to_string(), "sip:b@192.0.2.77");
        assert_eq!(dialog.route_set.len(), 1);
        assert_eq!(dialog.next_hop(), "192.0.2.3:5060".parse().unwrap());
    }
}
