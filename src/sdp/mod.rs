//! Session descriptions (RFC 8866), the codecs the gateway relays, and the
//! offer/answer model (RFC 3264).
//!
//! | file | what it holds |
//! | --- | --- |
//! | `codec` | [`Codec`]: the relayed payloads, their names, clocks and static numbers |
//! | `direction` | [`Direction`]: sendrecv and its three restrictions |
//! | `session` | [`Session`], [`Media`], [`Attribute`]: a description, its accessors, its printed form |
//! | `parse` | text to [`Session`], tolerant where the field is sloppy, bounded where it is hostile |
//! | `numbers` | which payload number means which codec, for the life of a dialog |
//! | `offer_answer` | [`offer`], [`answer`], [`apply_answer`]: one exchange, no memory |
//! | `negotiated` | [`Negotiated`]: what an exchange agreed on, and how two legs fit together |
//! | `crypto` | `a=crypto`: SRTP keys that the description carries |
//! | `security` | [`LocalSecurity`]: how a SIP leg's media gets its protection |
//! | `exchange` | [`Exchange`]: a leg's side over the whole dialog; keeps versions, numbers and m-lines stable |
//!
//! Pure: no socket, no clock, no name lookup. A host name in a `c=` line is
//! therefore refused, not resolved.

mod codec;
mod crypto;
mod direction;
mod dtls;
mod exchange;
pub mod ice;
mod negotiated;
mod numbers;
mod offer_answer;
mod parse;
mod security;
mod session;
pub mod webrtc;

pub use codec::{Codec, OfferedCodec};
pub use direction::Direction;
pub use exchange::Exchange;
pub use negotiated::{Fit, Negotiated, NegotiatedCodec};
pub use offer_answer::{Local, NegotiationError, answer, apply_answer, offer};
pub use parse::{MAX_FORMATS, MAX_LINES, MAX_MEDIA, MAX_SIZE, SdpError};
pub use security::LocalSecurity;
pub use session::{Address, Attribute, Media, MediaKind, Origin, Profile, Session};

/// The media type of a session description in a SIP body (RFC 8866 section 8.1).
pub const CONTENT_TYPE: &str = "application/sdp";
