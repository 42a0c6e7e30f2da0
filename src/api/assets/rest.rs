//! `/assets`: uploading sounds, listing them, and getting them back.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde::Serialize;
use tokio::fs::File;
use tokio::io::AsyncReadExt;
use utoipa::ToSchema;

use crate::book::values::asset_name;
use crate::sound::clip::{ClipError, ClipFormat};
use crate::store::assets::Asset;

use super::super::Shared;
use super::super::body::read_bytes_up_to;
use super::super::clips::ClipLoadError;
use super::super::error::{ApiError, done, success};
use super::super::openapi::{Denied, Done, Failure, Success, words};
use super::AssetError;

/// Read from the disk at once, in bytes.
const CHUNK: usize = 64 * 1024;

/// The media types of a body that are taken; what is in it counts.
const MEDIA_TYPES: [&str; 12] = [
    "audio/wav",
    "audio/x-wav",
    "audio/wave",
    "audio/vnd.wave",
    "audio/ogg",
    "audio/opus",
    "application/ogg",
    "audio/mpeg",
    "audio/mp3",
    "audio/x-mp3",
    "audio/mpeg3",
    "application/octet-stream",
];

/// A sound file.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code)]
pub struct SoundFile(Vec<u8>);

/// An uploaded sound.
#[derive(Serialize, ToSchema)]
#[schema(as = Asset)]
pub struct AssetView {
    #[schema(example = "hold.wav")]
    name: String,
    /// What kind of file it is.
    #[schema(schema_with = formats)]
    format: String,
    /// Its media type.
    media_type: &'static str,
    /// In bytes.
    size: u64,
    /// Of its bytes, hexadecimal.
    sha256: String,
    /// How long it plays.
    duration_ms: u64,
    /// In Hz.
    sample_rate: u32,
    /// 1 or 2; two are mixed down.
    channels: u8,
    /// When it was uploaded.
    changed_ms: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Assets)]
pub struct AssetsView {
    /// By name.
    assets: Vec<AssetView>,
}

fn formats() -> utoipa::openapi::schema::Object {
    words(&FORMATS.map(ClipFormat::as_str))
}

const FORMATS: [ClipFormat; 3] = [ClipFormat::Wav, ClipFormat::OggOpus, ClipFormat::Mp3];

/// Uploads a sound, or puts it in place of the one of its name. It is decoded
/// once to see that it can be.
#[utoipa::path(
    post,
    path = "/assets/{name}",
    tag = "assets",
    params(("name" = String, Path, description = "1 to 128 letters, digits, `-`, `_` or `.`, not `.` first")),
    request_body(
        description = "The file: WAV, Ogg Opus or MP3, at most `assets.max_file_mib` (20) MiB",
        content(
            (SoundFile = "audio/wav"),
            (SoundFile = "audio/ogg"),
            (SoundFile = "audio/mpeg"),
            (SoundFile = "application/octet-stream"),
        )
    ),
    responses(
        (status = 200, description = "It is in place of the former one", body = Success<AssetView>),
        (status = 201, description = "It is there", body = Success<AssetView>),
        (status = 400, description = "`BAD_REQUEST`: the name is none, or the body did not arrive whole", body = Failure),
        (status = 409, description = "`ASSETS_FULL`: the app has as many files or bytes as it may", body = Failure),
        (status = 413, description = "`PAYLOAD_TOO_LARGE`: more than `assets.max_file_mib`", body = Failure),
        (status = 415, description = "`UNSUPPORTED_MEDIA_TYPE`: neither WAV nor Ogg Opus nor MP3", body = Failure),
        (status = 422, description = "`CLIP_INVALID`: damaged, or a kind of file that is not read; `CLIP_TOO_LONG`: longer than `assets.max_minutes`", body = Failure),
        (status = 503, description = "`OVERLOADED`", body = Failure),
        Denied,
    )
)]
pub async fn upload_asset(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    asset_name(&name).map_err(|problem| ApiError::field("name", problem))?;
    check_media_type(&parts.headers)?;
    // Few at a time: each holds a file in memory.
    let _uploading = shared.clips.uploading().await?;
    let limit = usize::try_from(shared.settings().assets.max_file).unwrap_or(usize::MAX);
    let bytes = read_bytes_up_to(body, limit).await?;
    let clip = match shared.clips.decode(bytes.clone()).await {
        Ok(clip) => clip,
        Err(ClipLoadError::Invalid(error @ ClipError::UnknownFormat)) => {
            return Err(unsupported(error.to_string()));
        }
        Err(error) => return Err(error.into()),
    };
    let (asset, is_new) = shared.assets.put(&app, &name, &bytes, &clip).await?;
    tracing::info!(
        app = %app,
        name,
        format = asset.format,
        size = asset.size,
        duration_ms = asset.duration_ms,
        "an asset was uploaded"
    );
    let status = match is_new {
        true => StatusCode::CREATED,
        false => StatusCode::OK,
    };
    Ok((status, success(view(asset))).into_response())
}

/// Lists the app's sounds.
#[utoipa::path(
    get,
    path = "/assets",
    tag = "assets",
    responses(
        (status = 200, description = "All of them", body = Success<AssetsView>),
        (status = 503, description = "`OVERLOADED`: the database cannot be read", body = Failure),
        Denied,
    )
)]
pub async fn all_assets(
    State(shared): State<Arc<Shared>>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let assets = shared.assets.all(&app).await?;
    Ok(success(AssetsView {
        assets: assets.into_iter().map(view).collect(),
    }))
}

/// Tells what a sound is.
#[utoipa::path(
    get,
    path = "/assets/{name}",
    tag = "assets",
    params(("name" = String, Path)),
    responses(
        (status = 200, description = "The asset", body = Success<AssetView>),
        (status = 404, description = "`ASSET_NOT_FOUND`", body = Failure),
        (status = 503, description = "`OVERLOADED`: the database cannot be read", body = Failure),
        Denied,
    )
)]
pub async fn one_asset(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    Ok(success(view(shared.assets.one(&app, &name).await?)))
}

/// Gives a sound's file back as it was uploaded.
#[utoipa::path(
    get,
    path = "/assets/{name}/audio",
    tag = "assets",
    params(("name" = String, Path)),
    responses(
        (
            status = 200,
            description = "The file",
            content(
                (SoundFile = "audio/wav"),
                (SoundFile = "audio/ogg"),
                (SoundFile = "audio/mpeg"),
            )
        ),
        (status = 404, description = "`ASSET_NOT_FOUND`", body = Failure),
        (status = 503, description = "`OVERLOADED`: the file or the database cannot be read", body = Failure),
        Denied,
    )
)]
pub async fn asset_audio(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    let asset = shared.assets.one(&app, &name).await?;
    let file = shared.assets.open(&app, &asset.name).await?;
    let length = file.metadata().await.map_err(AssetError::from)?.len();
    let mut response = Body::from_stream(stream::try_unfold(file, next_chunk)).into_response();
    let headers = response.headers_mut();
    let media_type = HeaderValue::from_static(media_type(&asset.format));
    headers.insert(header::CONTENT_TYPE, media_type);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    if let Ok(etag) = HeaderValue::from_str(&format!("\"{}\"", asset.sha256)) {
        headers.insert(header::ETAG, etag);
    }
    Ok(response)
}

async fn next_chunk(mut file: File) -> std::io::Result<Option<(Bytes, File)>> {
    let mut chunk = vec![0; CHUNK];
    let count = file.read(&mut chunk).await?;
    chunk.truncate(count);
    Ok((count > 0).then(|| (Bytes::from(chunk), file)))
}

/// Deletes a sound. What plays it plays on to its end.
#[utoipa::path(
    delete,
    path = "/assets/{name}",
    tag = "assets",
    params(("name" = String, Path)),
    responses(
        (status = 200, description = "It is gone", body = Done),
        (status = 404, description = "`ASSET_NOT_FOUND`", body = Failure),
        (status = 503, description = "`OVERLOADED`: the database cannot be written", body = Failure),
        Denied,
    )
)]
pub async fn delete_asset(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, _) = request.into_parts();
    let app = shared.gate.permit(&parts)?.app()?;
    shared.assets.delete(&app, &name).await?;
    tracing::info!(app = %app, name, "an asset was deleted");
    Ok(done())
}

fn view(asset: Asset) -> AssetView {
    AssetView {
        media_type: media_type(&asset.format),
        name: asset.name,
        format: asset.format,
        size: asset.size,
        sha256: asset.sha256,
        duration_ms: asset.duration_ms,
        sample_rate: asset.sample_rate,
        channels: asset.channels,
        changed_ms: asset.changed_ms,
    }
}

fn media_type(format: &str) -> &'static str {
    FORMATS
        .into_iter()
        .find(|known| known.as_str() == format)
        .map_or("application/octet-stream", ClipFormat::media_type)
}

fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let essence = value.to_str().unwrap_or_default();
    let essence = essence.split(';').next().unwrap_or_default().trim();
    let known = MEDIA_TYPES
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known));
    match known {
        true => Ok(()),
        false => Err(unsupported(
            "send the file itself, with Content-Type: audio/wav, audio/ogg, audio/mpeg or application/octet-stream",
        )),
    }
}

fn unsupported(message: impl Into<String>) -> ApiError {
    ApiError::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        "UNSUPPORTED_MEDIA_TYPE",
        message,
    )
}
