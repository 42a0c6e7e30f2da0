//! `/sdk/`, `/phone/`, `/docs/` and `/admin/`: the client SDK, the softphone
//! page, the browsable description of the API and the admin panel, which are
//! part of the binary.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use sha2::{Digest, Sha256};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::error::ApiError;
use super::openapi::Failure;

/// A file of `web/`, and below which path it is served.
struct Page {
    /// As a client asks for it, without the leading slash.
    path: &'static str,
    text: &'static str,
}

/// Files by directory and name, as `Page`s.
macro_rules! pages {
    ($($directory:literal: [$($name:literal),* $(,)?]),* $(,)?) => {
        &[$($(Page {
            path: concat!($directory, "/", $name),
            text: include_str!(concat!("../../web/", $directory, "/", $name)),
        }),*),*]
    };
}

const PAGES: &[Page] = pages! {
    "sdk": [
        "README.md",
        "call.js",
        "emitter.js",
        "errors.js",
        "http.js",
        "incoming.js",
        "meter.js",
        "outgoing.js",
        "peer.js",
        "play.js",
        "ringwire.d.ts",
        "ringwire.js",
        "room-control.js",
        "room.js",
        "sip-codes.js",
        "socket.js",
        "stats.js",
    ],
    "docs": [
        "docs.css",
        "docs.js",
        "index.html",
        "schema.js",
    ],
    "phone": [
        "api.js",
        "icon.svg",
        "index.html",
        "main.js",
        "phone.css",
        "phone.js",
        "settings.js",
        "tones.js",
        "view.js",
    ],
    "admin": [
        "admin.css",
        "api.js",
        "dom.js",
        "format.js",
        "icon.svg",
        "index.html",
        "live.js",
        "main.js",
        "parts.css",
        "quality.js",
        "ui.js",
    ],
    "admin/views": [
        "apps.js",
        "call.js",
        "calls.js",
        "figures.js",
        "hooks.js",
        "login.js",
        "number-fields.js",
        "number.js",
        "numbers.js",
        "password.js",
        "recordings.js",
        "records.js",
        "system.js",
        "test.js",
    ],
};

/// The page loads nothing but its own files and talks to nobody but this
/// gateway. Remote audio is a `blob:` or `mediastream:` to some browsers.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; connect-src 'self'; media-src 'self' blob: mediastream:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'self'";
/// The same for the admin panel, which in addition nobody may show in a frame:
/// a click into it could be stolen.
const ADMIN_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; media-src 'self'; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// ETags, in the order of `PAGES`: the same file has the same one on every
/// gateway, so that a client behind several of them need not load it again.
static ETAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let etag = |page: &Page| format!("\"{}\"", hex::encode(&Sha256::digest(page.text)[..12]));
    PAGES.iter().map(etag).collect()
});

/// The routes of all pages but the admin panel's.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> OpenApiRouter<S> {
    OpenApiRouter::new()
        .routes(routes!(sdk))
        .routes(routes!(phone_redirect))
        .routes(routes!(phone_page))
        .routes(routes!(phone))
        .routes(routes!(docs_redirect))
        .routes(routes!(docs_page))
        .routes(routes!(docs))
}

/// Serves a file of the client SDK.
#[utoipa::path(
    get,
    path = "/sdk/{file}",
    operation_id = "sdk",
    tag = "pages",
    params(("file" = String, Path)),
    responses(
        (status = 200, description = "The file", content((String = "text/javascript"), (String = "text/markdown"), (String = "text/plain"))),
        (status = 304, description = "The client has it already"),
        (status = 404, description = "`NOT_FOUND`", body = Failure),
    )
)]
async fn sdk(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    page("sdk", &file, &headers)
}

/// Leads to the page.
#[utoipa::path(
    get,
    path = "/phone",
    operation_id = "phone_redirect",
    tag = "pages",
    responses(
        (status = 308, description = "To `phone/`", headers(("Location" = String))),
    )
)]
async fn phone_redirect() -> Redirect {
    Redirect::permanent("phone/")
}

/// Serves a file of the softphone.
#[utoipa::path(
    get,
    path = "/phone/{file}",
    operation_id = "phone",
    tag = "pages",
    params(("file" = String, Path)),
    responses(
        (status = 200, description = "The file", content((String = "text/javascript"), (String = "text/css"), (String = "text/html"), (String = "image/svg+xml"))),
        (status = 304, description = "The client has it already"),
        (status = 404, description = "`NOT_FOUND`", body = Failure),
    )
)]
async fn phone(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    page("phone", &file, &headers)
}

/// Serves the softphone.
#[utoipa::path(
    get,
    path = "/phone/",
    operation_id = "phone_page",
    tag = "pages",
    responses(
        (status = 200, description = "The file", body = String, content_type = "text/html"),
        (status = 304, description = "The client has it already"),
    )
)]
async fn phone_page(headers: HeaderMap) -> Result<Response, ApiError> {
    page("phone", "index.html", &headers)
}

/// Leads to the page.
#[utoipa::path(
    get,
    path = "/docs",
    operation_id = "docs_redirect",
    tag = "pages",
    responses(
        (status = 308, description = "To `docs/`", headers(("Location" = String))),
    )
)]
async fn docs_redirect() -> Redirect {
    Redirect::permanent("docs/")
}

/// Serves a file of the page that shows this description.
#[utoipa::path(
    get,
    path = "/docs/{file}",
    operation_id = "docs",
    tag = "pages",
    params(("file" = String, Path)),
    responses(
        (status = 200, description = "The file", content((String = "text/javascript"), (String = "text/css"), (String = "text/html"), (String = "image/svg+xml"))),
        (status = 304, description = "The client has it already"),
        (status = 404, description = "`NOT_FOUND`", body = Failure),
    )
)]
async fn docs(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    page("docs", &file, &headers)
}

/// Serves the page that shows this description.
#[utoipa::path(
    get,
    path = "/docs/",
    operation_id = "docs_page",
    tag = "pages",
    responses(
        (status = 200, description = "The file", body = String, content_type = "text/html"),
        (status = 304, description = "The client has it already"),
    )
)]
async fn docs_page(headers: HeaderMap) -> Result<Response, ApiError> {
    page("docs", "index.html", &headers)
}

/// The file of this name below this directory of `web`.
pub(super) fn page(directory: &str, file: &str, headers: &HeaderMap) -> Result<Response, ApiError> {
    let wanted = |page: &Page| page.path.rsplit_once('/') == Some((directory, file));
    let index = PAGES
        .iter()
        .position(wanted)
        .ok_or_else(|| ApiError::of_status(StatusCode::NOT_FOUND))?;
    let (page, etag) = (&PAGES[index], &ETAGS[index]);
    let policy = match directory {
        "admin" | "admin/views" => ADMIN_POLICY,
        _ => POLICY,
    };
    let common = [
        (header::ETAG, etag.as_str()),
        // A browser asks every time, so that a new gateway's SDK and page are
        // never mixed with an old one's; the answer is a short 304.
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    if is_known(headers, etag) {
        return Ok((StatusCode::NOT_MODIFIED, common).into_response());
    }
    let kind = [(header::CONTENT_TYPE, content_type(page.path))];
    Ok((common, kind, page.text).into_response())
}

/// RFC 9110 section 13.1.2.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("html") => "text/html; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("md") => "text/markdown; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path as FilePath;

    use super::*;

    #[test]
    fn every_file_for_browsers_is_served() {
        let web = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("web");
        for directory in ["sdk", "phone", "docs", "admin", "admin/views"] {
            for entry in fs::read_dir(web.join(directory)).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                if name.ends_with(".test.js") || entry.path().is_dir() {
                    continue;
                }
                let reply = page(directory, &name, &HeaderMap::new()).unwrap();
                assert_eq!(reply.status(), StatusCode::OK, "{directory}/{name}");
                assert_ne!(content_type(&name), "", "{directory}/{name}");
            }
        }
    }

    #[test]
    fn a_module_is_javascript_that_a_browser_does_not_guess_at() {
        let reply = page("sdk", "ringwire.js", &HeaderMap::new()).unwrap();
        let headers = reply.headers();
        assert_eq!(
            headers[header::CONTENT_TYPE],
            "text/javascript; charset=utf-8"
        );
        assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(headers[header::CACHE_CONTROL], "no-cache");
    }

    #[test]
    fn a_file_that_the_client_has_is_not_sent_again() {
        let first = page("phone", "index.html", &HeaderMap::new()).unwrap();
        let etag = first.headers()[header::ETAG].to_str().unwrap();
        let mut headers = HeaderMap::new();
        let tags = format!("\"other\", W/{etag}");
        headers.insert(header::IF_NONE_MATCH, tags.parse().unwrap());
        let again = page("phone", "index.html", &headers).unwrap();
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        headers.insert(header::IF_NONE_MATCH, "\"other\"".parse().unwrap());
        let changed = page("phone", "index.html", &headers).unwrap();
        assert_eq!(changed.status(), StatusCode::OK);
    }

    #[test]
    fn the_panel_runs_no_inline_script_and_is_shown_in_no_frame() {
        let reply = page("admin", "index.html", &HeaderMap::new()).unwrap();
        let policy = reply.headers()[header::CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap();
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn nothing_else_is_served() {
        for (directory, file) in [
            ("sdk", "../phone/main.js"),
            ("admin", "views/calls.js"),
            ("sdk", "main.js"),
            ("phone", ""),
        ] {
            assert!(page(directory, file, &HeaderMap::new()).is_err());
        }
    }
}
