//! An INVITE of 924 octets, as a softphone behind one proxy sends it.

pub const INVITE: &str = "INVITE sip:+4930123456@gateway.example.com:5060;transport=udp SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bK6c1d.4f5e6a7b8c9d0e1f.0\r\n\
    Via: SIP/2.0/UDP 10.0.0.7:51060;rport=51060;received=198.51.100.3;branch=z9hG4bK-77a1b2c3\r\n\
    Record-Route: <sip:192.0.2.10;lr;did=5a1.7f2>\r\n\
    Max-Forwards: 69\r\n\
    From: \"Alice Liddell\" <sip:alice@example.com>;tag=8f3a1c5d\r\n\
    To: <sip:+4930123456@gateway.example.com>\r\n\
    Call-ID: 4f7c3a1e9b2d4c6f8a0b1c2d3e4f5a6b\r\n\
    CSeq: 7321 INVITE\r\n\
    Contact: <sip:alice@10.0.0.7:51060;ob>\r\n\
    Allow: PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, OPTIONS\r\n\
    Supported: replaces, timer, norefersub\r\n\
    User-Agent: Softphone 3.21.6\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 233\r\n\r\n\
    v=0\r\n\
    o=- 3860123456 3860123456 IN IP4 10.0.0.7\r\n\
    s=call\r\n\
    c=IN IP4 10.0.0.7\r\n\
    t=0 0\r\n\
    m=audio 4000 RTP/AVP 96 8 0 101\r\n\
    a=rtpmap:96 opus/48000/2\r\n\
    a=rtpmap:8 PCMA/8000\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=sendrecv \r\n";
