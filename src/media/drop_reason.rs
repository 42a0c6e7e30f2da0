//! Why a media packet went no further. The enum is the metric's label.

/// Defines the enum, its list and its labels in one place, so that none can
/// be forgotten in another.
macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)+) => {
        /// Why a media packet went no further.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $name,)+
        }

        impl DropReason {
            /// Every reason, in the order of the counters.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)+];

            /// The stable label of the metric.
            pub const fn label(self) -> &'static str {
                match self {
                    $(DropReason::$name => $label,)+
                }
            }
        }
    };
}

drop_reasons! {
    /// No leg owns the port it came in on.
    UnknownPort = "unknown_port",
    /// First byte is none of RTP, RTCP, STUN or DTLS (RFC 7983).
    UnknownProtocol = "unknown_protocol",
    /// A STUN message; this leg does no ICE.
    Stun = "stun",
    /// A DTLS record; this leg has no DTLS association.
    Dtls = "dtls",
    /// Not a STUN request for an ICE agent, or its FINGERPRINT is wrong.
    StunInvalid = "stun_invalid",
    /// A connectivity check for a user name that nobody here has.
    StunUnknownUser = "stun_unknown_user",
    /// A connectivity check that was not made with our password.
    StunUnauthenticated = "stun_unauthenticated",
    /// One handshake more than may be started per second.
    DtlsRateLimited = "dtls_rate_limited",
    /// A DTLS record that found as many waiting for a handshake's step as may.
    DtlsQueueFull = "dtls_queue_full",
    /// A handshake gave a certificate that the SDP did not announce.
    DtlsWrongFingerprint = "dtls_wrong_fingerprint",
    /// DTLS that anybody can have forged: no valid record of the peer's, or an
    /// alert in the clear.
    DtlsUnauthenticated = "dtls_unauthenticated",
    /// DTLS of a peer whose handshake has failed.
    DtlsRefused = "dtls_refused",
    /// A datagram of our own found the queue full.
    TransmitQueueFull = "transmit_queue_full",
    /// An RTP header that is not valid (RFC 3550 A.1).
    RtpInvalid = "rtp_invalid",
    /// An RTCP compound that is not valid (RFC 3550 A.2, RFC 5506).
    RtcpInvalid = "rtcp_invalid",
    /// RTCP on the RTP port, and rtcp-mux was not agreed (RFC 5761 section 5.1).
    RtcpNotMuxed = "rtcp_not_muxed",
    /// The leg's peer has not been described yet.
    NoRemote = "no_remote",
    /// The sender is not the leg's peer.
    WrongSource = "wrong_source",
    /// The peer may not send now: inactive or recvonly (RFC 3264 section 8.4).
    NotReceiving = "not_receiving",
    /// A payload type that was not agreed with the sender.
    UnknownPayload = "unknown_payload",
    /// The receiver cannot take this codec.
    CodecNotShared = "codec_not_shared",
    /// A straggler of the SSRC that the sender has just left.
    StaleSsrc = "stale_ssrc",
    /// The leg is linked to nobody.
    NotLinked = "not_linked",
    /// The receiver is on hold.
    Held = "held",
    /// The receiver has not been described yet, or has no usable address.
    SinkNotReady = "sink_not_ready",
    /// The leg is to be protected and cannot be yet: nothing passes in the clear.
    NotYetSecured = "not_yet_secured",
    /// SRTP whose tag does not fit: another key, or changed on the way.
    SrtpAuthFailed = "srtp_auth_failed",
    /// SRTP that came before, or is older than what is remembered.
    SrtpReplayed = "srtp_replayed",
    /// Too short to be SRTP.
    SrtpTooShort = "srtp_too_short",
    /// An SRTP key has protected all the packets it may.
    SrtpKeyExhausted = "srtp_key_exhausted",
    /// A jump of the sequence that nothing followed yet, on its way to a
    /// protected leg, whose rollover counter it would confuse.
    SequenceJump = "sequence_jump",
    /// The slot has no room for what protection appends.
    NoTrailerRoom = "no_trailer_room",
    /// The datagram was longer than a slot holds.
    Truncated = "truncated",
    /// It arrived for a port that has since been given back.
    StalePort = "stale_port",
    /// The socket's send buffer was full.
    SendBufferFull = "send_buffer_full",
    /// The kernel refused to send it.
    SendFailed = "send_failed",
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = DropReason::ALL.len();
}

/// Packets dropped, by reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DropCounters([u64; DropReason::COUNT]);

impl Default for DropCounters {
    fn default() -> Self {
        DropCounters([0; DropReason::COUNT])
    }
}

impl DropCounters {
    /// One more packet dropped for `reason`.
    #[inline]
    pub fn add(&mut self, reason: DropReason) {
        self.0[reason as usize] += 1;
    }

    /// How many packets were dropped for `reason`.
    pub fn get(&self, reason: DropReason) -> u64 {
        self.0[reason as usize]
    }

    /// All reasons with their counts, zeros included.
    pub fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|r| (*r, self.get(*r)))
    }

    /// Packets dropped for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_its_own_label_and_counter() {
        let labels: HashSet<_> = DropReason::ALL.iter().map(|r| r.label()).collect();
        assert_eq!(labels.len(), DropReason::COUNT);
        let mut counters = DropCounters::default();
        for reason in DropReason::ALL {
            counters.add(*reason);
            assert_eq!(counters.get(*reason), 1, "{reason:?}");
        }
        assert_eq!(counters.total(), DropReason::COUNT as u64);
    }
}
