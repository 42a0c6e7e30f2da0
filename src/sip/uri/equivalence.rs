//! When two SIP URIs mean the same (RFC 3261 section 19.1.4).

use super::SipUri;
use crate::sip::params::Params;
use crate::sip::text::unescape;

impl SipUri {
    /// RFC 3261 section 19.1.4, all rules.
    pub(super) fn equivalent(&self, other: &SipUri) -> bool {
        self.secure == other.secure
            && same_escaped(self.user.as_deref(), other.user.as_deref(), false)
            && same_escaped(self.password.as_deref(), other.password.as_deref(), false)
            && self.host.equivalent(&other.host)
            && self.port == other.port
            && same_params(&self.params, &other.params)
            && same_headers(self.headers.as_deref(), other.headers.as_deref())
    }
}

/// Whether two optional texts say the same once unescaped.
fn same_escaped(one: Option<&str>, two: Option<&str>, ignore_case: bool) -> bool {
    match (one, two) {
        (None, None) => true,
        (Some(one), Some(two)) if ignore_case => unescape(one).eq_ignore_ascii_case(&unescape(two)),
        (Some(one), Some(two)) => unescape(one) == unescape(two),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

/// A parameter of both must be the same; `user`, `ttl`, `method`, `maddr` and
/// `transport` never match their absence; others of one URI only are ignored.
/// One that is there more than once, which section 19.1.1 forbids, has to have
/// the same values in the same order.
fn same_params(one: &Params, two: &Params) -> bool {
    let agrees = |one: &Params, two: &Params| {
        one.iter().all(|(name, _)| {
            let name = unescape(name);
            let must_be_there = ["user", "ttl", "method", "maddr", "transport"]
                .iter()
                .any(|fixed| name.eq_ignore_ascii_case(fixed.as_bytes()));
            let mut ours = values(one, &name);
            let mut others = values(two, &name).peekable();
            if others.peek().is_none() {
                return !must_be_there;
            }
            loop {
                match (ours.next(), others.next()) {
                    (None, None) => return true,
                    (Some(ours), Some(others)) if same_escaped(ours, others, true) => {}
                    _ => return false,
                }
            }
        })
    };
    agrees(one, two) && agrees(two, one)
}

/// The values of all parameters of this name, which is unescaped.
fn values<'p>(params: &'p Params, name: &'p [u8]) -> impl Iterator<Item = Option<&'p str>> {
    params
        .iter()
        .filter(move |(other, _)| unescape(other).eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// Headers match in any order, none ever ignored.
fn same_headers(one: Option<&str>, two: Option<&str>) -> bool {
    let sorted = |headers: Option<&str>| {
        let mut pairs: Vec<_> = headers
            .unwrap_or_default()
            .split('&')
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                (unescape(name).to_ascii_lowercase(), unescape(value))
            })
            .collect();
        pairs.sort();
        pairs
    };
    sorted(one) == sorted(two)
}

#[cfg(test)]
mod tests {
    use crate::sip::uri::Uri;

    fn read(text: &str) -> Uri {
        text.parse().unwrap_or_else(|e| panic!("{text:?}: {e}"))
    }

    /// The examples of RFC 3261 section 19.1.4.
    #[test]
    fn uris_mean_the_same_as_rfc_3261_section_19_1_4_says() {
        for (one, two) in [
            (
                "sip:%61lice@atlanta.com;transport=TCP",
                "sip:alice@AtLanTa.CoM;Transport=tcp",
            ),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("ISBN:1", "isbn:1"),
            // Found by the fuzz target `sip_message`.
            ("sip:a@b;maddr=c;maddr=d", "sip:a@b;maddr=c;MADDR=D"),
        ] {
            assert!(read(one).equivalent(&read(two)), "{one} {two}");
            assert!(read(two).equivalent(&read(one)), "{two} {one}");
        }
        for (one, two) in [
            (
                "SIP:ALICE@AtLanTa.CoM;Transport=udp",
                "sip:alice@AtLanTa.CoM;Transport=UDP",
            ),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            (
                "sip:bob@biloxi.com",
                "sip:bob@biloxi.com:6000;transport=tcp",
            ),
            (
                "sip:carol@chicago.com",
                "sip:carol@chicago.com?Subject=next%20meeting",
            ),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            (
                "sip:carol@c.com;security=on",
                "sip:carol@c.com;security=off",
            ),
            ("sip:a@b", "sips:a@b"),
            ("sip:a@b", "sip:b"),
            ("sip:a@b;maddr=c;maddr=d", "sip:a@b;maddr=c"),
            ("sip:a@b;maddr=c;maddr=d", "sip:a@b;maddr=d;maddr=c"),
        ] {
            assert!(!read(one).equivalent(&read(two)), "{one} {two}");
            assert!(!read(two).equivalent(&read(one)), "{two} {one}");
        }
    }
}
