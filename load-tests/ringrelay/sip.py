"""A caller just big enough to set calls up (RFC 3261): INVITE, 200, ACK."""

import re
import select
import time

from .network import Problem

# INVITEs without an answer at a time.
UNANSWERED = 16
# RFC 3261 section 17.1.1.2: an INVITE is repeated after T1.
T1_S = 0.5
GIVE_UP_S = 20


class Caller:
    """Calls `target` on `server` from one socket, each leg with its own offer."""

    def __init__(self, socket, server, target):
        self.socket = socket
        self.server = server
        self.target = target
        self.here = "{}:{}".format(*socket.getsockname())

    def call(self, legs, progress=lambda answered: None):
        """`legs` is a list of (user who calls, SDP offer); the SDP answers, in
        their order."""
        answers = [None] * len(legs)
        waiting = {}
        following = 0
        answered = 0
        deadline = time.monotonic() + GIVE_UP_S
        while answered < len(legs):
            while len(waiting) < UNANSWERED and following < len(legs):
                waiting[following] = time.monotonic()
                self.socket.sendto(self.invite(following, *legs[following]), self.server)
                following += 1
            if select.select([self.socket], [], [], 0.1)[0]:
                message = self.socket.recv(65535).decode(errors="replace")
                leg, status = self.read(message)
                if leg is None or status < 200:
                    continue
                self.socket.sendto(self.ack(message, leg, status), self.server)
                if status >= 300:
                    raise Problem(f"the gateway refuses a call: {message.splitlines()[0]}")
                if answers[leg] is None:
                    answers[leg] = message.split("\r\n\r\n", 1)[-1]
                    answered += 1
                    waiting.pop(leg, None)
                    deadline = time.monotonic() + GIVE_UP_S
                    progress(answered)
            now = time.monotonic()
            if now > deadline:
                raise Problem(f"the gateway answered {answered} of {len(legs)} calls")
            for leg, at in waiting.items():
                if now - at > T1_S:
                    waiting[leg] = now
                    self.socket.sendto(self.invite(leg, *legs[leg]), self.server)
        return answers

    def invite(self, leg, user, offer):
        return "\r\n".join([
            f"INVITE sip:{self.target}@{self.server[0]} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.here};branch=z9hG4bKleg{leg}",
            "Max-Forwards: 70",
            f"From: <sip:{user}@{self.here}>;tag=leg{leg}",
            f"To: <sip:{self.target}@{self.server[0]}>",
            f"Call-ID: leg{leg}@{self.here}",
            "CSeq: 1 INVITE",
            f"Contact: <sip:load@{self.here}>",
            "Content-Type: application/sdp",
            f"Content-Length: {len(offer)}",
            "",
            offer,
        ]).encode()

    def ack(self, message, leg, status):
        header = lambda name: re.search(rf"^{name}:.*$", message, re.M | re.I).group().strip()  # noqa: E731
        # RFC 3261 section 13.2.2.4: the ACK of a 200 is a transaction of its own.
        branch = f"z9hG4bKack{leg}" if status < 300 else f"z9hG4bKleg{leg}"
        contact = re.search(r"^Contact:\s*<([^>]+)>", message, re.M | re.I)
        to = contact.group(1) if contact else f"sip:{self.target}@{self.server[0]}"
        return "\r\n".join([
            f"ACK {to} SIP/2.0",
            f"Via: SIP/2.0/UDP {self.here};branch={branch}",
            "Max-Forwards: 70",
            header("From"),
            header("To"),
            header("Call-ID"),
            "CSeq: 1 ACK",
            "Content-Length: 0",
            "",
            "",
        ]).encode()

    @staticmethod
    def read(message):
        """Leg and status of an answer; (None, 0) of anything else."""
        status = re.match(r"SIP/2.0 (\d{3})", message)
        leg = re.search(r"^Call-ID:\s*leg(\d+)@", message, re.M | re.I)
        if not status or not leg:
            return None, 0
        return int(leg.group(1)), int(status.group(1))
