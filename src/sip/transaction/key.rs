//! What transactions are found by (RFC 3261 sections 17.1.3 and 17.2.3).

use std::fmt::Write;

use crate::sip::headers::CSeq;
use crate::sip::message::Request;
use crate::sip::method::Method;
use crate::sip::via::Via;

/// Writes keys as text into one buffer that is used over and over. The first
/// letter tells the kinds of key apart; `\n` cannot be part of a value.
#[derive(Debug, Default)]
pub(super) struct KeyWriter {
    text: String,
}

impl KeyWriter {
    /// Key of a client transaction: the branch we made, which no other of our
    /// transactions has but a CANCEL, and the CSeq method (section 17.1.3).
    pub fn client(&mut self, branch: &str, method: &Method) -> &str {
        self.text.clear();
        self.text.push('c');
        self.text.push_str(method.as_str());
        self.text.push('\n');
        self.text.push_str(branch);
        &self.text
    }

    /// Key of the server transaction a request belongs to (section 17.2.3).
    /// For ACK this is the INVITE's.
    pub fn server(&mut self, request: &Request, via: &Via, cseq: &CSeq) -> &str {
        let method = match &request.method {
            Method::Ack => &Method::Invite,
            other => other,
        };
        self.server_of(method, request, via, cseq)
    }

    /// Key of the INVITE that a CANCEL means: matched as if the CANCEL were
    /// that INVITE (section 9.2).
    pub fn cancelled(&mut self, cancel: &Request, via: &Via, cseq: &CSeq) -> &str {
        self.server_of(&Method::Invite, cancel, via, cseq)
    }

    fn server_of(&mut self, method: &Method, request: &Request, via: &Via, cseq: &CSeq) -> &str {
        self.text.clear();
        // Writing to a String cannot fail.
        let _ = write!(
            self.text,
            "s{}\n{}\n{}:",
            method.as_str(),
            via.branch.as_deref().unwrap_or_default(),
            via.host,
        );
        if let Some(port) = via.port {
            let _ = write!(self.text, "{port}");
        }
        if via.rfc3261_branch().is_none() {
            // An element of RFC 2543: more of the request is compared. The To
            // tag is left out, as an ACK has it and its INVITE has not; of
            // requests that agree in all else, none differ in just that.
            let _ = write!(
                self.text,
                "\n{}\n{}\n{}\n{}",
                request.uri,
                request.headers.from_tag().unwrap_or_default(),
                request.headers.call_id().unwrap_or_default(),
                cseq.number,
            );
        }
        &self.text
    }

    /// What two copies of one request have in common that reached us on
    /// different ways (section 8.2.2.2).
    pub fn merged(&mut self, request: &Request, cseq: &CSeq) -> &str {
        self.text.clear();
        let _ = write!(
            self.text,
            "m{}\n{}\n{}\n{}",
            request.method.as_str(),
            cseq.number,
            request.headers.from_tag().unwrap_or_default(),
            request.headers.call_id().unwrap_or_default(),
        );
        &self.text
    }
}
