//! What a hook's URL leads to: the name under which its failures are counted.

/// Scheme, host and port: what fails and recovers together.
pub fn of_url(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(url) => url.origin().ascii_serialization(),
        Err(_) => String::new(),
    }
}

/// The URL without what may hold a secret: query, user and password.
pub fn without_secrets(url: &str) -> String {
    match url::Url::parse(url) {
        Ok(mut url) => {
            url.set_query(None);
            url.set_fragment(None);
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.to_string()
        }
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_scheme_host_and_port() {
        assert_eq!(of_url("https://u:p@Example.com/a?b"), "https://example.com");
        assert_eq!(of_url("http://10.0.0.1:80/a"), "http://10.0.0.1");
        assert_eq!(of_url("http://[::1]:9000/"), "http://[::1]:9000");
    }

    #[test]
    fn the_log_names_a_hook_without_its_secrets() {
        assert_eq!(
            without_secrets("https://u:p@example.com:8443/hook?key=hush#x"),
            "https://example.com:8443/hook"
        );
    }
}
