//! Header field names.

use std::fmt;

use super::text::is_token;

macro_rules! header_names {
    ($($variant:ident $text:literal $doc:literal,)*) => {
        /// The name of a header field; compared without case, printed in the
        /// RFC's spelling and in the long form.
        #[derive(Debug, Clone, PartialEq, Eq, Hash)]
        pub enum HeaderName {
            $(#[doc = $doc] $variant,)*
            /// Any other token, as written. Never one of the names above.
            Other(Box<str>),
        }

        impl HeaderName {
            /// The name as it prints.
            pub fn as_str(&self) -> &str {
                match self {
                    $(HeaderName::$variant => $text,)*
                    HeaderName::Other(token) => token,
                }
            }

            fn long_form(text: &str) -> Option<Self> {
                // The length sorts nearly all of them out before a comparison.
                $(
                    if text.len() == $text.len() && text.eq_ignore_ascii_case($text) {
                        return Some(HeaderName::$variant);
                    }
                )*
                None
            }
        }
    };
}

// In the order of how often they are met, for that is the order of comparing.
header_names! {
    Via "Via" "RFC 3261 section 20.42.",
    From "From" "RFC 3261 section 20.20.",
    To "To" "RFC 3261 section 20.39.",
    CallId "Call-ID" "RFC 3261 section 20.8.",
    CSeq "CSeq" "RFC 3261 section 20.16.",
    Contact "Contact" "RFC 3261 section 20.10.",
    ContentLength "Content-Length" "RFC 3261 section 20.14.",
    ContentType "Content-Type" "RFC 3261 section 20.15.",
    MaxForwards "Max-Forwards" "RFC 3261 section 20.22.",
    Allow "Allow" "RFC 3261 section 20.5.",
    Supported "Supported" "RFC 3261 section 20.37.",
    UserAgent "User-Agent" "RFC 3261 section 20.41.",
    RecordRoute "Record-Route" "RFC 3261 section 20.30.",
    Route "Route" "RFC 3261 section 20.34.",
    Server "Server" "RFC 3261 section 20.35.",
    Accept "Accept" "RFC 3261 section 20.1.",
    AcceptEncoding "Accept-Encoding" "RFC 3261 section 20.2.",
    AcceptLanguage "Accept-Language" "RFC 3261 section 20.3.",
    AlertInfo "Alert-Info" "RFC 3261 section 20.4.",
    AllowEvents "Allow-Events" "RFC 6665 section 8.2.2.",
    AuthenticationInfo "Authentication-Info" "RFC 3261 section 20.6.",
    Authorization "Authorization" "RFC 3261 section 20.7.",
    CallInfo "Call-Info" "RFC 3261 section 20.9.",
    ContentDisposition "Content-Disposition" "RFC 3261 section 20.11.",
    ContentEncoding "Content-Encoding" "RFC 3261 section 20.12.",
    ContentLanguage "Content-Language" "RFC 3261 section 20.13.",
    Date "Date" "RFC 3261 section 20.17.",
    Diversion "Diversion" "RFC 5806.",
    ErrorInfo "Error-Info" "RFC 3261 section 20.18.",
    Event "Event" "RFC 6665 section 8.2.1.",
    Expires "Expires" "RFC 3261 section 20.19.",
    InReplyTo "In-Reply-To" "RFC 3261 section 20.21.",
    MimeVersion "MIME-Version" "RFC 3261 section 20.24.",
    MinExpires "Min-Expires" "RFC 3261 section 20.23.",
    MinSe "Min-SE" "RFC 4028 section 5.",
    Organization "Organization" "RFC 3261 section 20.25.",
    PAssertedIdentity "P-Asserted-Identity" "RFC 3325 section 9.1.",
    PPreferredIdentity "P-Preferred-Identity" "RFC 3325 section 9.2.",
    Priority "Priority" "RFC 3261 section 20.26.",
    Privacy "Privacy" "RFC 3323 section 4.2.",
    ProxyAuthenticate "Proxy-Authenticate" "RFC 3261 section 20.27.",
    ProxyAuthorization "Proxy-Authorization" "RFC 3261 section 20.28.",
    ProxyRequire "Proxy-Require" "RFC 3261 section 20.29.",
    RAck "RAck" "RFC 3262 section 7.2.",
    RSeq "RSeq" "RFC 3262 section 7.1.",
    Reason "Reason" "RFC 3326.",
    ReferTo "Refer-To" "RFC 3515 section 2.1.",
    ReferredBy "Referred-By" "RFC 3892.",
    RemotePartyId "Remote-Party-ID" "What many peers send in place of P-Asserted-Identity.",
    Replaces "Replaces" "RFC 3891.",
    ReplyTo "Reply-To" "RFC 3261 section 20.31.",
    Require "Require" "RFC 3261 section 20.32.",
    RetryAfter "Retry-After" "RFC 3261 section 20.33.",
    SessionExpires "Session-Expires" "RFC 4028 section 4.",
    Subject "Subject" "RFC 3261 section 20.36.",
    SubscriptionState "Subscription-State" "RFC 6665 section 8.2.3.",
    Timestamp "Timestamp" "RFC 3261 section 20.38.",
    Unsupported "Unsupported" "RFC 3261 section 20.40.",
    Warning "Warning" "RFC 3261 section 20.43.",
    WwwAuthenticate "WWW-Authenticate" "RFC 3261 section 20.44.",
}

impl HeaderName {
    /// Reads a name, long or compact (RFC 3261 section 7.3.3); none when the
    /// text is no token.
    pub fn parse(text: &str) -> Option<Self> {
        if let [letter] = text.as_bytes()
            && let Some(name) = Self::compact_form(*letter)
        {
            return Some(name);
        }
        Self::long_form(text).or_else(|| is_token(text).then(|| HeaderName::Other(text.into())))
    }

    /// The IANA registry's compact forms, as far as the name is known here.
    fn compact_form(letter: u8) -> Option<Self> {
        Some(match letter.to_ascii_lowercase() {
            b'b' => HeaderName::ReferredBy,
            b'c' => HeaderName::ContentType,
            b'e' => HeaderName::ContentEncoding,
            b'f' => HeaderName::From,
            b'i' => HeaderName::CallId,
            b'k' => HeaderName::Supported,
            b'l' => HeaderName::ContentLength,
            b'm' => HeaderName::Contact,
            b'o' => HeaderName::Event,
            b'r' => HeaderName::ReferTo,
            b's' => HeaderName::Subject,
            b't' => HeaderName::To,
            b'u' => HeaderName::AllowEvents,
            b'v' => HeaderName::Via,
            b'x' => HeaderName::SessionExpires,
            _ => return None,
        })
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_any_case_and_in_compact_form() {
        assert_eq!(
            HeaderName::parse("MaX-fOrWaRdS"),
            Some(HeaderName::MaxForwards)
        );
        assert_eq!(HeaderName::parse("V"), Some(HeaderName::Via));
        assert_eq!(HeaderName::parse("q"), Some(HeaderName::Other("q".into())));
        assert_eq!(
            HeaderName::parse("C%6Fntact"),
            Some(HeaderName::Other("C%6Fntact".into()))
        );
        assert_eq!(HeaderName::parse("Call ID"), None);
        assert_eq!(HeaderName::parse(""), None);
    }
}
