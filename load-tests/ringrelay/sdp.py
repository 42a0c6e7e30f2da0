"""The legs' offers, and what the answers say (RFC 4566, RFC 4568)."""

import base64
import os
import re

from .network import LEGS, Problem

# By side of the call: even ports from here on, as telephones have them.
FIRST_PORT = 10000

SUITE = "AES_CM_128_HMAC_SHA1_80"
# Of its master key and salt, in bytes.
KEY_LENGTH = 30

PROFILES = {"plain": "RTP/AVP", "sdes": "RTP/SAVP", "dtls": "UDP/TLS/RTP/SAVP"}


class Leg:
    """One leg of ours: its address and keys, and the device's, once known."""

    def __init__(self, call, side, shape, fingerprint):
        self.call = call
        self.address = LEGS[side]
        self.port = FIRST_PORT + 2 * call
        self.shape = shape
        self.fingerprint = fingerprint
        self.key = os.urandom(KEY_LENGTH)
        self.device = None
        self.device_key = None

    def describe(self):
        """An SDP offer or answer: G.711, and how it is secured. With telephone
        events, or the gateway would look for keys in the sound itself."""
        lines = ["v=0", f"o=- {self.call + 1} 1 IN IP4 {self.address}", "s=-",
                 f"c=IN IP4 {self.address}", "t=0 0",
                 f"m=audio {self.port} {PROFILES[self.shape]} 0 101",
                 "a=rtpmap:0 PCMU/8000", "a=rtpmap:101 telephone-event/8000", "a=fmtp:101 0-15",
                 "a=ptime:20", "a=sendrecv"]
        if self.shape == "sdes":
            lines.append(f"a=crypto:1 {SUITE} inline:{base64.b64encode(self.key).decode()}")
        if self.shape == "dtls":
            lines += [f"a=fingerprint:{self.fingerprint}", "a=setup:active", "a=rtcp-mux"]
        return "\r\n".join(lines) + "\r\n"

    def answered(self, sdp):
        """Takes the device's address and key from what it describes to this leg."""
        port = re.search(r"^m=audio (\d+)", sdp, re.M)
        address = re.search(r"^c=IN IP4 (\S+)", sdp, re.M)
        if not port or not address or port.group(1) == "0":
            raise Problem(f"no audio in the device's SDP:\n{sdp}")
        self.device = (address.group(1), int(port.group(1)))
        if self.shape == "sdes":
            crypto = re.search(rf"^a=crypto:\d+ {SUITE} inline:([^|\s]+)", sdp, re.M)
            if not crypto:
                raise Problem(f"no {SUITE} in the device's SDP:\n{sdp}")
            self.device_key = base64.b64decode(crypto.group(1) + "==")
        if self.shape == "dtls" and not re.search(r"^a=setup:passive", sdp, re.M):
            raise Problem(f"the device does not wait for our handshake:\n{sdp}")

    def line(self):
        """The leg in relay_load's streams' file."""
        line = f"{self.address}:{self.port} {self.device[0]}:{self.device[1]}"
        if self.shape == "sdes":
            line += f" {SUITE} {self.key.hex()} {self.device_key.hex()}"
        return line + (" dtls" if self.shape == "dtls" else "")


def legs(calls, shape, fingerprint):
    """Both legs of every call, in the order of the streams' file; the first of
    each is secured as the shape says."""
    return [Leg(call, side, shape if side == 0 else "plain", fingerprint)
            for call in range(calls) for side in (0, 1)]
