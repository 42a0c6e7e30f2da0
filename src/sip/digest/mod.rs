//! Digest authentication (RFC 7616, RFC 8760, RFC 3261 section 22), MD5 and
//! SHA-256, without the `-sess` variants and without `auth-int`: [`client`]
//! answers challenges, [`server`] makes them and checks the answers.

pub mod client;
pub mod server;

use md5::{Digest, Md5};
use sha2::Sha256;

use super::text::{is_token, push_quoted, split_outside, unquote};

/// A hash that a digest may be made with; the stronger one is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// MD5, which is also what is meant where nothing is said.
    Md5,
    /// SHA-256 (RFC 8760).
    Sha256,
}

impl Algorithm {
    /// Its token.
    pub const fn as_str(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// Reads the parameter `algorithm`; none when it is not known here.
    fn read(text: Option<&str>) -> Option<Self> {
        match text {
            None => Some(Algorithm::Md5),
            Some(text) => [Algorithm::Md5, Algorithm::Sha256]
                .into_iter()
                .find(|known| known.as_str().eq_ignore_ascii_case(text)),
        }
    }

    /// Lower-case hexadecimal hash of the parts with colons between.
    fn hash(self, parts: &[&str]) -> String {
        fn of<D: Digest>(parts: &[&str]) -> String {
            let mut hash = D::new();
            for (index, part) in parts.iter().enumerate() {
                if index > 0 {
                    hash.update(b":");
                }
                hash.update(part.as_bytes());
            }
            hex::encode(hash.finalize())
        }
        match self {
            Algorithm::Md5 => of::<Md5>(parts),
            Algorithm::Sha256 => of::<Sha256>(parts),
        }
    }
}

/// What goes into a digest.
struct Inputs<'a> {
    algorithm: Algorithm,
    username: &'a str,
    realm: &'a str,
    password: &'a str,
    method: &'a str,
    uri: &'a str,
    nonce: &'a str,
    /// Count and client nonce of `qop=auth`; without, RFC 2069's formula.
    auth: Option<(&'a str, &'a str)>,
}

impl Inputs<'_> {
    /// RFC 7616 section 3.4.1; RFC 2617 section 3.2.2.1 without qop.
    fn digest(&self) -> String {
        let hash = |parts: &[&str]| self.algorithm.hash(parts);
        let a1 = hash(&[self.username, self.realm, self.password]);
        let a2 = hash(&[self.method, self.uri]);
        match self.auth {
            Some((count, cnonce)) => hash(&[&a1, self.nonce, count, cnonce, "auth", &a2]),
            None => hash(&[&a1, self.nonce, &a2]),
        }
    }
}

/// The parameters of one challenge or of one answer, values unquoted.
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// The parameters of every `Digest` in a header value. RFC 3261 section 20.44
/// has one in each header field; several on one line are read too.
fn read_digests(value: &str) -> Vec<Parameters> {
    let mut digests: Vec<Parameters> = Vec::new();
    let mut in_digest = false;
    for piece in split_outside(value, b',') {
        let mut param = piece;
        // A new scheme is a token with something other than `=` after it.
        if let Some((scheme, rest)) = piece.split_once([' ', '\t'])
            && is_token(scheme)
            && !rest.trim_ascii_start().starts_with('=')
        {
            in_digest = scheme.eq_ignore_ascii_case("Digest");
            if in_digest {
                digests.push(Parameters(Vec::new()));
            }
            param = rest;
        }
        if let (true, Some(digest), Some((name, value))) =
            (in_digest, digests.last_mut(), param.split_once('='))
        {
            let value = unquote(value.trim_ascii());
            digest.0.push((name.trim_ascii().to_owned(), value));
        }
    }
    digests
}

/// Appends `, name="value"`, the value escaped; no comma after the scheme.
fn push_param(out: &mut String, name: &str, value: &str) {
    push_name(out, name);
    push_quoted(out, value);
}

/// Appends `, name=value` for a value that must not be quoted.
fn push_bare_param(out: &mut String, name: &str, value: &str) {
    push_name(out, name);
    out.push_str(value);
}

fn push_name(out: &mut String, name: &str) {
    out.push_str(if out.ends_with("Digest") { " " } else { ", " });
    out.push_str(name);
    out.push('=');
}

#[cfg(test)]
mod tests {
    use super::*;

    const RFC_7616: Inputs<'_> = Inputs {
        algorithm: Algorithm::Sha256,
        username: "Mufasa",
        realm: "http-auth@example.org",
        password: "Circle of Life",
        method: "GET",
        uri: "/dir/index.html",
        nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        auth: Some(("00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ")),
    };

    #[test]
    fn the_digests_of_rfc_7616_section_3_9_1_come_out() {
        assert_eq!(
            RFC_7616.digest(),
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"
        );
        let md5 = Inputs {
            algorithm: Algorithm::Md5,
            ..RFC_7616
        };
        assert_eq!(md5.digest(), "8ca523f5e9506fed4657c9700eebdbec");
    }

    #[test]
    fn without_qop_the_older_formula_is_used() {
        let old = Inputs {
            algorithm: Algorithm::Md5,
            realm: "testrealm@host.com",
            password: "Circle Of Life",
            nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093",
            auth: None,
            ..RFC_7616
        };
        assert_eq!(old.digest(), "670fd8c2df070c60b045671b8b24ff02");
    }

    #[test]
    fn several_schemes_on_one_line_are_told_apart() {
        let digests = read_digests(
            r#"Basic realm="x, y", Digest realm = "a \"b\"",nonce="1", Other z=1, DIGEST nonce=2"#,
        );
        assert_eq!(digests.len(), 2);
        assert_eq!(digests[0].get("REALM"), Some("a \"b\""));
        assert_eq!(digests[0].get("z"), None);
        assert_eq!(digests[1].get("nonce"), Some("2"));
    }
}
