"""What schemathesis does not know by itself: how SDP is made and sent."""

import schemathesis
from hypothesis import strategies as st

OFFER = [
    "v=0",
    "o=- 1 1 IN IP4 127.0.0.1",
    "s=-",
    "t=0 0",
    "a=group:BUNDLE 0",
    "m=audio 9 UDP/TLS/RTP/SAVPF 111 0",
    "c=IN IP4 0.0.0.0",
    "a=mid:0",
    "a=sendrecv",
    "a=rtcp-mux",
    "a=ice-ufrag:abcd",
    "a=ice-pwd:0123456789012345678901",
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32),
    "a=setup:actpass",
    "a=rtpmap:111 opus/48000/2",
]


@st.composite
def offers(draw):
    """A browser's offer, whole or with one line gone, doubled or spoilt."""
    lines = list(OFFER)
    at = draw(st.integers(0, len(lines) - 1))
    change = draw(st.sampled_from(["none", "drop", "double", "spoil"]))
    if change == "drop":
        del lines[at]
    elif change == "double":
        lines.insert(at, lines[at])
    elif change == "spoil":
        lines[at] = lines[at][:2] + draw(st.text(max_size=40))
    return "\r\n".join([*lines, ""]).encode()


SDP = ["application/sdp", "application/trickle-ice-sdpfrag"]

for media_type in SDP:
    schemathesis.openapi.media_type(media_type, st.one_of(offers(), st.binary(max_size=200)))


@schemathesis.serializer(*SDP)
def serialize(_context, value):
    return value if isinstance(value, bytes) else str(value).encode()


@schemathesis.deserializer(*SDP, "text/event-stream", "text/javascript", "text/css", "text/markdown", "image/svg+xml")
def deserialize(_context, response):
    return response.content.decode()
