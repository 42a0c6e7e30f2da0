//! SIP by hand, for what sipp cannot play: a UDP socket, messages as text, and
//! no opinion about what comes when.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use super::{PATIENCE, Ports};

/// A message taken apart as far as a test needs.
#[derive(Debug, Clone)]
pub struct SipMessage {
    pub start: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub source: SocketAddr,
}

impl SipMessage {
    fn parse(datagram: &[u8], source: SocketAddr) -> Option<Self> {
        let text = String::from_utf8_lossy(datagram).into_owned();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_lowercase(), value.trim().to_owned()))
            .collect();
        Some(Self {
            start,
            headers,
            body: body.to_owned(),
            source,
        })
    }

    /// The status code, where this is a response.
    pub fn status(&self) -> Option<u16> {
        self.start
            .strip_prefix("SIP/2.0 ")?
            .split(' ')
            .next()?
            .parse()
            .ok()
    }

    /// The method, where this is a request.
    pub fn method(&self) -> Option<&str> {
        if self.start.starts_with("SIP/2.0 ") {
            None
        } else {
            self.start.split(' ').next()
        }
    }

    /// The Request-URI, where this is a request.
    pub fn request_uri(&self) -> Option<&str> {
        self.method().and_then(|_| self.start.split(' ').nth(1))
    }

    /// The first header of this name, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        let found = self.headers.iter().find(|(this, _)| this == name);
        found.map_or("", |(_, value)| value)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers
            .iter()
            .filter(move |(this, _)| this == name)
            .map(|(_, value)| value.as_str())
    }

    /// The URI between the angle brackets of the Contact.
    pub fn contact(&self) -> &str {
        let value = self.header("contact");
        value
            .split_once('<')
            .and_then(|(_, rest)| rest.split_once('>'))
            .map_or(value, |(uri, _)| uri)
    }

    /// Where this SDP says the audio goes.
    #[track_caller]
    pub fn media_address(&self) -> SocketAddr {
        let line = |start: &str| {
            self.body
                .lines()
                .find_map(|line| line.strip_prefix(start))
                .unwrap_or_else(|| panic!("no {start} in {}", self.body))
        };
        let ip: IpAddr = line("c=IN ")
            .split(' ')
            .nth(1)
            .and_then(|ip| ip.trim().parse().ok())
            .expect("an address");
        let port = line("m=audio ")
            .split(' ')
            .next()
            .and_then(|port| port.parse().ok())
            .expect("a port");
        SocketAddr::new(ip, port)
    }

    /// Whether the body has this line.
    pub fn has_sdp_line(&self, wanted: &str) -> bool {
        self.body.lines().any(|line| line.trim_end() == wanted)
    }
}

/// The SIP socket of a hand-made peer.
pub struct SipPeer {
    socket: UdpSocket,
    address: SocketAddr,
    /// What goes into Contact.
    contact: SocketAddr,
    /// What was received and not asked for yet.
    pending: Vec<SipMessage>,
    log: Vec<String>,
    serial: u32,
}

impl SipPeer {
    pub fn open(ports: &mut Ports, ip: IpAddr) -> Self {
        Self::on(SocketAddr::new(ip, ports.one()))
    }

    pub fn on(address: SocketAddr) -> Self {
        let socket = UdpSocket::bind(address).expect("a SIP port");
        Self {
            socket,
            address,
            contact: address,
            pending: Vec::new(),
            log: Vec::new(),
            serial: 0,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Names another address in Contact: that of a relay in front.
    pub fn behind(self, contact: SocketAddr) -> Self {
        Self { contact, ..self }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, target: SocketAddr, message: &[u8]) {
        self.log
            .push(format!("> {target}\n{}", String::from_utf8_lossy(message)));
        self.socket
            .send_to(message, target)
            .expect("a datagram is sent");
    }

    /// The next message for which `wanted` holds; others are kept for later.
    #[track_caller]
    pub fn expect(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&SipMessage) -> bool,
    ) -> SipMessage {
        self.within(PATIENCE, &mut wanted).unwrap_or_else(|| {
            panic!(
                "{what} did not come to {}; the talk was:\n{}",
                self.address,
                self.log.join("\n")
            )
        })
    }

    /// The next request of this method.
    #[track_caller]
    pub fn expect_request(&mut self, method: &str) -> SipMessage {
        self.expect(method, |message| message.method() == Some(method))
    }

    /// The next final response to a request of this method; provisional ones
    /// are passed over.
    #[track_caller]
    pub fn expect_final(&mut self, method: &str) -> SipMessage {
        self.expect(&format!("a final response to {method}"), |message| {
            message.status().is_some_and(|code| code >= 200)
                && message.header("cseq").ends_with(method)
        })
    }

    /// The same without the panic.
    pub fn within(
        &mut self,
        patience: Duration,
        wanted: &mut dyn FnMut(&SipMessage) -> bool,
    ) -> Option<SipMessage> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(index) = self.pending.iter().position(&mut *wanted) {
                return Some(self.pending.remove(index));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.socket.set_read_timeout(Some(left)).expect("a timeout");
            let mut buffer = vec![0; 65_536];
            let Ok((length, source)) = self.socket.recv_from(&mut buffer) else {
                continue;
            };
            self.log.push(format!(
                "< {source}\n{}",
                String::from_utf8_lossy(&buffer[..length])
            ));
            if let Some(message) = SipMessage::parse(&buffer[..length], source) {
                self.pending.push(message);
            }
        }
    }

    /// A new INVITE of ours.
    pub fn invite(&mut self, target: SocketAddr, number: &str, body: &str) -> OurCall {
        self.serial += 1;
        let unique = format!(
            "{}-{}-{}",
            self.address.port(),
            std::process::id(),
            self.serial
        );
        let mut call = OurCall {
            target,
            request_uri: format!("sip:{number}@{target}"),
            from: format!("<sip:tester@{}>;tag=t{unique}", self.address),
            to: format!("<sip:{number}@{target}>"),
            call_id: format!("call-{unique}"),
            cseq: 0,
            answered: false,
        };
        self.request(&mut call, "INVITE", body);
        call
    }

    /// A request within (or opening) a call of ours.
    pub fn request(&mut self, call: &mut OurCall, method: &str, body: &str) {
        self.request_with(call, method, "", body);
    }

    /// The same with further header lines, each ended by CRLF.
    pub fn request_with(&mut self, call: &mut OurCall, method: &str, headers: &str, body: &str) {
        if method != "ACK" && method != "CANCEL" {
            call.cseq += 1;
        }
        let content = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        // A CANCEL has the branch of the request it ends, and so has the ACK of a
        // refusal (RFC 3261 sections 9.1 and 17.1.1.3).
        let branch = match method {
            "CANCEL" => format!("INVITE{}", call.cseq),
            "ACK" if !call.answered => format!("INVITE{}", call.cseq),
            _ => format!("{method}{}", call.cseq),
        };
        let text = format!(
            "{method} {uri} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {address};rport;branch=z9hG4bK-{call_id}-{branch}\r\n\
             Max-Forwards: 70\r\n\
             From: {from}\r\n\
             To: {to}\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:tester@{contact}>\r\n\
             {headers}{content}\
             Content-Length: {length}\r\n\r\n{body}",
            uri = call.request_uri,
            address = self.address,
            contact = self.contact,
            from = call.from,
            to = call.to,
            call_id = call.call_id,
            cseq = call.cseq,
            length = body.len(),
        );
        self.send(call.target, text.as_bytes());
    }

    /// Waits for the 200 to our INVITE and sends the ACK.
    #[track_caller]
    pub fn expect_answer(&mut self, call: &mut OurCall) -> SipMessage {
        let answer = self.expect_final("INVITE");
        assert_eq!(answer.status(), Some(200), "{answer:#?}");
        call.to = answer.header("to").to_owned();
        call.request_uri = answer.contact().to_owned();
        call.answered = true;
        self.request(call, "ACK", "");
        answer
    }

    /// Sends the ACK that belongs to a refused INVITE: same branch, its To.
    pub fn acknowledge_refusal(&mut self, call: &mut OurCall, refusal: &SipMessage) {
        let to = std::mem::replace(&mut call.to, refusal.header("to").to_owned());
        self.request(call, "ACK", "");
        call.to = to;
    }

    /// Answers a request that came, as `tag`, with our Contact.
    pub fn reply(&mut self, request: &SipMessage, code: u16, reason: &str, tag: &str, body: &str) {
        self.reply_with(request, code, reason, tag, "", body);
    }

    /// The same with further header lines, each ended by CRLF.
    pub fn reply_with(
        &mut self,
        request: &SipMessage,
        code: u16,
        reason: &str,
        tag: &str,
        headers: &str,
        body: &str,
    ) {
        let mut text = format!("SIP/2.0 {code} {reason}\r\n");
        for name in ["via", "record-route"] {
            for value in request.all(name) {
                text.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let to = request.header("to");
        let to = if to.contains(";tag=") || code == 100 {
            to.to_owned()
        } else {
            format!("{to};tag={tag}")
        };
        text.push_str(&format!(
            "From: {}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {}\r\nContact: <sip:{tag}@{}>\r\n{headers}",
            request.header("from"),
            request.header("call-id"),
            request.header("cseq"),
            self.contact,
        ));
        if !body.is_empty() {
            text.push_str("Content-Type: application/sdp\r\n");
        }
        text.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        self.send(request.source, text.as_bytes());
    }
}

/// A dialog that the test opened.
#[derive(Debug, Clone)]
pub struct OurCall {
    pub target: SocketAddr,
    pub request_uri: String,
    pub from: String,
    pub to: String,
    pub call_id: String,
    pub cseq: u32,
    answered: bool,
}

/// An SDP with one PCMU stream at this address.
pub fn pcmu_at(media: SocketAddr) -> String {
    audio_at(media, "0", "a=rtpmap:0 PCMU/8000\r\n")
}

/// An SDP with one audio stream: its payload types and further lines.
pub fn audio_at(media: SocketAddr, payload_types: &str, lines: &str) -> String {
    let family = if media.is_ipv4() { "IP4" } else { "IP6" };
    let ip = media.ip();
    format!(
        "v=0\r\no=tester 1 1 IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n\
         m=audio {} RTP/AVP {payload_types}\r\n{lines}",
        media.port()
    )
}
