"""The legs' offers, and what the answers say (RFC 4566, RFC 4568)."""

import base64
import os
import re

from .network import LEGS, Problem

# By side of the call: even ports from here on, as telephones have them.
FIRST_PORT = 10000

KEY_LENGTHS = {"AES_CM_128_HMAC_SHA1_80": 30, "AEAD_AES_128_GCM": 28}


class Leg:
    """One leg of ours: its address, its key, and the device's, once known."""

    def __init__(self, call, side, suite=None):
        self.call = call
        self.address = LEGS[side]
        self.port = FIRST_PORT + 2 * call
        self.suite = suite
        self.key = os.urandom(KEY_LENGTHS[suite]) if suite else None
        self.device = None
        self.device_key = None

    def describe(self):
        """An SDP offer or answer: G.711, and a key where the leg has one."""
        profile = "RTP/SAVP" if self.suite else "RTP/AVP"
        lines = ["v=0", f"o=- {self.call + 1} 1 IN IP4 {self.address}", "s=-",
                 f"c=IN IP4 {self.address}", "t=0 0", f"m=audio {self.port} {profile} 0",
                 "a=rtpmap:0 PCMU/8000", "a=ptime:20", "a=sendrecv"]
        if self.suite:
            lines.append(f"a=crypto:1 {self.suite} inline:{base64.b64encode(self.key).decode()}")
        return "\r\n".join(lines) + "\r\n"

    def answered(self, sdp):
        """Takes the device's address and key from what it describes to this leg."""
        port = re.search(r"^m=audio (\d+)", sdp, re.M)
        address = re.search(r"^c=IN IP4 (\S+)", sdp, re.M)
        if not port or not address or port.group(1) == "0":
            raise Problem(f"no audio in the device's SDP:\n{sdp}")
        self.device = (address.group(1), int(port.group(1)))
        if self.suite:
            crypto = re.search(rf"^a=crypto:\d+ {self.suite} inline:([^|\s]+)", sdp, re.M)
            if not crypto:
                raise Problem(f"no {self.suite} in the device's SDP:\n{sdp}")
            self.device_key = base64.b64decode(crypto.group(1) + "==")

    def line(self):
        """The leg in relay_load's streams' file."""
        line = f"{self.address}:{self.port} {self.device[0]}:{self.device[1]}"
        if self.suite:
            line += f" {self.suite} {self.key.hex()} {self.device_key.hex()}"
        return line


def legs(calls, suite=None):
    """Both legs of every call, in the order of the streams' file; the first of
    each under SRTP where a suite is named."""
    return [Leg(call, side, suite if side == 0 else None)
            for call in range(calls) for side in (0, 1)]
