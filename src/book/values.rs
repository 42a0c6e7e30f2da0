//! Values of a number's record that are written as text: each check says what
//! would be right, wherever the record comes from.

use ipnet::IpNet;

/// What is wrong with a value and what would be right.
pub type Problem = String;

/// A network in CIDR form; a lone address is a network of one.
pub fn subnet(text: &str) -> Result<IpNet, Problem> {
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(IpNet::from(address));
    }
    let net: IpNet = text.parse().map_err(|_| {
        format!("{text:?} is no network; write CIDR, e.g. \"192.0.2.0/24\" or \"2001:db8::/32\"")
    })?;
    if net.trunc() != net {
        let meant = net.trunc();
        return Err(format!(
            "{text} has bits set beyond its prefix; write {meant}, or {}/{} for this address only",
            net.addr(),
            net.max_prefix_len()
        ));
    }
    Ok(net)
}

/// An app's secret: it travels in a header and in a query.
pub fn secret(secret: &str) -> Result<(), Problem> {
    if secret.is_empty() {
        return Err("is empty; write a long random text, or leave it out".to_string());
    }
    if !secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(
            "has a character that cannot travel in a header; use printable ASCII without spaces"
                .to_string(),
        );
    }
    Ok(())
}

/// An app's id: it stands in paths, logs and tokens.
pub fn app_id(app_id: &str) -> Result<(), Problem> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if app_id.is_empty() || app_id.len() > 64 || !app_id.bytes().all(fine) {
        return Err("write 1 to 64 letters, digits, '-', '_' or '.'".to_string());
    }
    Ok(())
}

/// An http or https URL with a host.
pub fn hook_url(text: &str) -> Result<url::Url, Problem> {
    let url = url::Url::parse(text).map_err(|error| {
        format!("{text:?} is no URL ({error}); write e.g. \"https://example.com/hook\"")
    })?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!(
            "{text:?} is neither an http:// nor an https:// URL"
        ));
    }
    Ok(url)
}

/// An asset's name: it stands in paths, and is a file's.
pub fn asset_name(name: &str) -> Result<(), Problem> {
    const LONGEST: usize = 128;
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let named = !name.is_empty() && !name.starts_with('.') && name.bytes().all(fine);
    if !named || name.len() > LONGEST {
        let shown: String = name.chars().take(LONGEST).collect();
        return Err(format!(
            "{shown:?} is no asset's name; write 1 to {LONGEST} letters, digits, '-', '_' or '.', not '.' first"
        ));
    }
    Ok(())
}

/// A room or peer name in which `{call_id}`, `{from}` and `{to}` are replaced.
pub fn template(text: &str) -> Result<(), Problem> {
    const NAMES: [&str; 3] = ["call_id", "from", "to"];
    if text.is_empty() {
        return Err("is empty; write a name, which may hold {call_id}, {from} and {to}".into());
    }
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let name = rest[at..]
            .strip_prefix('{')
            .and_then(|inside| inside.split_once('}'));
        let Some((name, after)) = name else {
            return Err(format!(
                "{text:?} has a brace without its partner; only {{call_id}}, {{from}} and {{to}} may stand in braces"
            ));
        };
        if !NAMES.contains(&name) {
            let hint = match nearest(name, NAMES) {
                Some(name) => format!("; did you mean {{{name}}}?"),
                None => String::new(),
            };
            return Err(format!(
                "{{{name}}} is not replaced by anything; {{call_id}}, {{from}} and {{to}} are{hint}"
            ));
        }
        rest = after;
    }
    Ok(())
}

/// The candidate that `text` may be a misspelling of.
pub fn nearest<'a>(text: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let text = text.to_lowercase();
    let allowed = (text.chars().count() / 3).clamp(1, 4);
    candidates
        .into_iter()
        .map(|candidate| {
            let lower = candidate.to_lowercase();
            // A field without its unit, or a word with an ornament, is meant too.
            let related = text.len() > 2 && (lower.contains(&text) || text.contains(&lower));
            let distance = distance(&text, &lower);
            (if related { distance.min(1) } else { distance }, candidate)
        })
        .filter(|(distance, _)| *distance <= allowed && !text.is_empty())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, in which two neighbours changing places count once.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before_last = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut cost = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before_last[j - 2] + 1);
            }
            row.push(cost);
        }
        before_last = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

/// More calls than a gateway takes.
pub const MAX_CALL_LIMIT: u64 = 10_000_000;

/// A limit of calls at a time or per second.
///
/// # Errors
/// What would be right.
pub fn call_limit(limit: u64) -> Result<u32, String> {
    match limit {
        1..=MAX_CALL_LIMIT => Ok(limit as u32),
        _ => Err(format!(
            "{limit} is out of range; write 1 to {MAX_CALL_LIMIT} calls, or leave it out"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assets_name_leads_nowhere_else() {
        for name in ["a", "hold-music_2.wav", "A..b", &"x".repeat(128)] {
            assert!(asset_name(name).is_ok(), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            ".hidden",
            "a/b",
            "../a",
            "a\\b",
            "a b",
            "ä",
            "a\0",
            "a\n",
            &"x".repeat(129),
        ] {
            assert!(asset_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn template_typos_are_told() {
        assert!(template("call-{call_id}-{from}-{to}").is_ok());
        assert!(
            template("room {form}")
                .unwrap_err()
                .contains("did you mean {from}")
        );
        assert!(template("{call_id").unwrap_err().contains("partner"));
        assert!(template("call_id}").unwrap_err().contains("partner"));
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let names = ["listen", "user_agent", "answer_timeout_s"];
        assert_eq!(nearest("lisen", names), Some("listen"));
        assert_eq!(nearest("useragent", names), Some("user_agent"));
        assert_eq!(nearest("answer_timeout", names), Some("answer_timeout_s"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest("", names), None);
    }
}
