//! Messages to octets.

use std::io::Write;

use super::header::HeaderName;
use super::headers::Headers;
use super::message::{Message, Request, Response};

impl Message {
    /// Appends the message as it goes on the wire.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        match self {
            Message::Request(request) => request.write_to(out),
            Message::Response(response) => response.write_to(out),
        }
    }
}

impl Request {
    /// Appends the request as it goes on the wire, with the Content-Length
    /// that its body has.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        push_word(out, self.method.as_str());
        out.push(b' ');
        push_word(out, &self.uri.to_string());
        out.extend_from_slice(b" SIP/2.0\r\n");
        write_rest(out, &self.headers, &self.body);
    }
}

impl Response {
    /// Appends the response as it goes on the wire, with the Content-Length
    /// that its body has.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        // A write to a Vec cannot fail.
        let _ = write!(out, "SIP/2.0 {} ", self.status);
        let printable = |b: u8| if b < b' ' || b == 0x7f { b' ' } else { b };
        out.extend(self.reason.bytes().map(printable));
        out.extend_from_slice(b"\r\n");
        write_rest(out, &self.headers, &self.body);
    }
}

/// Appends a part of the start line without the white space and control
/// characters that would end it.
fn push_word(out: &mut Vec<u8>, word: &str) {
    out.extend(word.bytes().filter(|b| *b > b' ' && *b != 0x7f));
}

fn write_rest(out: &mut Vec<u8>, headers: &Headers, body: &[u8]) {
    for (name, value) in headers.iter() {
        if *name == HeaderName::ContentLength {
            continue;
        }
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let _ = write!(out, "Content-Length: {}\r\n\r\n", body.len());
    out.extend_from_slice(body);
}
