//! `/admin/`: the panel's page. Its requests go to `/admin/api`.

use axum::Router;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::{Redirect, Response};
use axum::routing::get;

use crate::api::error::ApiError;
use crate::api::pages::page;

/// The page's routes. The one module of the SDK that it uses is below `/admin`
/// too, so that an address that serves only this has the whole of it.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/admin", get(|| async { Redirect::permanent("admin/") }))
        .route("/admin/", get(index))
        .route("/admin/{file}", get(file))
        .route("/admin/views/{file}", get(view))
        .route("/admin/sdk/{file}", get(sdk))
}

async fn index(headers: HeaderMap) -> Result<Response, ApiError> {
    page("admin", "index.html", &headers)
}

async fn file(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    page("admin", &file, &headers)
}

async fn view(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    page("admin/views", &file, &headers)
}

async fn sdk(Path(file): Path<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    page("sdk", &file, &headers)
}
