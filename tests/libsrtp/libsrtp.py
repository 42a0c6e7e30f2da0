"""libsrtp at the other end of a pipe.

Each line of the input is a command and bytes in hexadecimal; each gets a line
of output, which is bytes in hexadecimal, or `!` and libsrtp's reason.

    session PROFILE KEY     master key and salt; replaces the one before
    protect PACKET          RTP to SRTP
    unprotect PACKET        SRTP to RTP
    protect_rtcp PACKET     RTCP to SRTCP
    unprotect_rtcp PACKET   SRTCP to RTCP
"""

import sys

from pylibsrtp import Error, Policy, Session

PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AES_CM_128_HMAC_SHA1_32": Policy.SRTP_PROFILE_AES128_CM_SHA1_32,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
    "AEAD_AES_256_GCM": Policy.SRTP_PROFILE_AEAD_AES_256_GCM,
}


def session(profile, key, direction):
    policy = Policy(key=key, ssrc_type=direction, srtp_profile=PROFILES[profile])
    return Session(policy)


out = into = None
for line in sys.stdin:
    command, *words = line.split()
    try:
        if command == "session":
            profile, key = words[0], bytes.fromhex(words[1])
            out = session(profile, key, Policy.SSRC_ANY_OUTBOUND)
            into = session(profile, key, Policy.SSRC_ANY_INBOUND)
            result = b""
        else:
            peer = out if command.startswith("protect") else into
            result = getattr(peer, command)(bytes.fromhex(words[0]))
        print(result.hex())
    except Error as reason:
        print("!", reason)
