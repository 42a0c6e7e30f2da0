//! `/openapi.json`: the description of the REST routes (OpenAPI 3.1), made
//! from the attributes beside their handlers. A route is registered and
//! described by the same word (`routes!` in `routes`), so there is none
//! without the other.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    Components, ContentBuilder, HeaderBuilder, Paths, Ref, RefOr, Response as Described,
    ResponseBuilder,
};
use utoipa::{IntoResponses, OpenApi, ToSchema};

use super::routes;

/// The title page of the description; routes add themselves.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "ringwire",
        description = "SIP media gateway: phones and trunks into application rooms. \
            Every answer in JSON is an envelope, `{\"status\": true, \"data\": …}` or \
            `{\"status\": false, \"error\": \"SNAKE_CODE\", \"message\": \"…\"}`.",
    ),
    components(schemas(Failure)),
    tags(
        (name = "calls", description = "Outgoing and incoming calls"),
        (name = "recordings", description = "Recordings of calls"),
        (name = "rooms", description = "Rooms, and the WebRTC peers that come in over HTTP"),
        (name = "assets", description = "Sounds that are played to calls and rooms"),
        (name = "sound", description = "What is played, keyed, turned and recorded in calls and rooms"),
        (name = "tokens", description = "Tokens that reach a part of an app"),
        (name = "hooks", description = "What became of the events posted to hooks"),
        (name = "operation", description = "Health, metrics, this description"),
        (name = "pages", description = "Files for browsers, which are part of the gateway"),
    ),
)]
pub struct Base;

/// Success, with what was asked for.
#[derive(Serialize, ToSchema)]
pub struct Success<T> {
    #[schema(schema_with = always_true)]
    pub status: bool,
    pub data: T,
}

/// Success with nothing to say.
#[derive(Serialize, ToSchema)]
pub struct Done {
    #[schema(schema_with = always_true)]
    pub status: bool,
}

/// What was wrong, and what to do.
#[derive(Serialize, ToSchema)]
pub struct Failure {
    #[schema(schema_with = always_false)]
    pub status: bool,
    /// Stable, for programs.
    #[schema(value_type = String, pattern = "^[A-Z0-9_]+$", example = "BAD_REQUEST")]
    pub error: &'static str,
    /// For people.
    pub message: String,
}

/// What a route with a credential may refuse. It also marks the operation as
/// one that needs a credential.
pub struct Denied;

/// What a route that reads JSON may refuse.
pub struct JsonBody;

impl IntoResponses for Denied {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let mut unauthorized = failure("`UNAUTHORIZED`: no credential, or a wrong or expired one");
        let scheme = HeaderBuilder::new().description(Some("`Bearer`"));
        unauthorized
            .headers
            .insert("WWW-Authenticate".to_owned(), scheme.build());
        let forbidden = failure("`FORBIDDEN`: a good credential, but not for this");
        described([("401", unauthorized), ("403", forbidden)])
    }
}

impl IntoResponses for JsonBody {
    fn responses() -> BTreeMap<String, RefOr<Described>> {
        let wrong = "`BAD_REQUEST`: no JSON object, or a field that is missing or wrong; the message names it";
        described([
            ("400", failure(wrong)),
            ("413", failure("`PAYLOAD_TOO_LARGE`: more than 64 KiB")),
            (
                "415",
                failure("`UNSUPPORTED_MEDIA_TYPE`: send `application/json`"),
            ),
        ])
    }
}

/// One of these words.
pub fn words(words: &[&str]) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(words.iter().copied()))
        .build()
}

/// The description, as `/openapi.json` serves it.
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "operation",
    responses((status = 200, description = "OpenAPI 3.1", body = serde_json::Value))
)]
/// This description.
pub async fn description() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| text(routes::described()));
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (content_type, TEXT.as_str()).into_response()
}

fn text(router: utoipa_axum::router::OpenApiRouter<std::sync::Arc<super::Shared>>) -> String {
    let (_, api) = router.split_for_parts();
    // A description is plain data; there is nothing in it that cannot be JSON.
    finished(api).to_json().unwrap_or_default()
}

/// Adds what holds for every route: what `routes::around` may answer, and how
/// a credential is sent.
fn finished(mut api: utoipa::openapi::OpenApi) -> utoipa::openapi::OpenApi {
    let components = api.components.get_or_insert_with(Components::new);
    components.add_security_scheme(
        "bearer",
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some("An app_secret, or a call, room or notify token"))
                .build(),
        ),
    );
    let in_query = ApiKeyValue::with_description(
        "token",
        "The same, for clients that cannot set headers: browsers on a WebSocket",
    );
    components.add_security_scheme("token", SecurityScheme::ApiKey(ApiKey::Query(in_query)));
    // Taken from Cargo.toml, which names none.
    api.info.license = None;
    operations(&mut api.paths).for_each(|operation| {
        let responses = &mut operation.responses.responses;
        for (status, response) in of_every_route() {
            responses
                .entry(status.to_owned())
                .or_insert(response.into());
        }
        if responses.contains_key("401") {
            let schemes = ["bearer", "token"].map(|name| {
                let no_scopes: [String; 0] = [];
                SecurityRequirement::new(name, no_scopes)
            });
            operation.security = Some(schemes.into());
        }
    });
    api
}

fn of_every_route() -> [(&'static str, Described); 3] {
    let unreadable = failure("`BAD_REQUEST`: the request could not be read");
    let slow = failure("`TIMEOUT`: the request took too long to arrive");
    let mut busy = failure(
        "`OVERLOADED`: more at a time than the gateway takes; try again after `Retry-After`",
    );
    let seconds = HeaderBuilder::new()
        .schema(ObjectBuilder::new().schema_type(Type::Integer))
        .description(Some("Seconds"));
    busy.headers
        .insert("Retry-After".to_owned(), seconds.build());
    [("400", unreadable), ("408", slow), ("503", busy)]
}

fn operations(paths: &mut Paths) -> impl Iterator<Item = &mut Operation> {
    paths.paths.values_mut().flat_map(|item| {
        [
            &mut item.get,
            &mut item.put,
            &mut item.post,
            &mut item.delete,
            &mut item.options,
            &mut item.head,
            &mut item.patch,
        ]
        .into_iter()
        .flatten()
    })
}

fn failure(description: &str) -> Described {
    let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("Failure")));
    ResponseBuilder::new()
        .description(description)
        .content("application/json", body.build())
        .build()
}

fn described<const N: usize>(
    responses: [(&str, Described); N],
) -> BTreeMap<String, RefOr<Described>> {
    let responses = responses.into_iter();
    responses
        .map(|(status, response)| (status.to_owned(), response.into()))
        .collect()
}

fn always_true() -> Object {
    always(true)
}

fn always_false() -> Object {
    always(false)
}

fn always(value: bool) -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Boolean)
        .enum_values(Some([value]))
        .build()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    fn sources() -> Vec<(String, String)> {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api");
        let mut sources = Vec::new();
        let mut directories = vec![directory];
        while let Some(directory) = directories.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                // What is below /admin is for the panel alone: docs/ADMIN.md
                // tells of it.
                let aside = path.ends_with("tests") || path.ends_with("admin");
                if path.is_dir() {
                    directories.extend((!aside).then_some(path));
                } else {
                    let text = fs::read_to_string(&path).unwrap();
                    // The tests of a file stand at its end.
                    let code = text.split("#[cfg(test)]").next().unwrap().to_owned();
                    sources.push((path.display().to_string(), code));
                }
            }
        }
        assert!(sources.len() > 15, "the sources are not where this looks");
        sources
    }

    #[test]
    fn a_route_is_registered_with_its_description_or_not_at_all() {
        let ways_around = [
            ".route(",
            ".route_service(",
            ".nest_service(",
            "axum::routing",
        ];
        for (file, code) in sources() {
            for way in ways_around {
                assert!(!code.contains(way), "{file}: `{way}`; use routes!");
            }
        }
    }

    #[test]
    fn every_described_handler_is_registered() {
        let written = sources()
            .iter()
            .map(|(_, code)| code.matches("#[utoipa::path(").count())
            .sum::<usize>();
        let (_, mut api) = routes::described().split_for_parts();
        assert_eq!(operations(&mut api.paths).count(), written);
    }

    #[test]
    fn operation_ids_are_unique_and_every_operation_has_a_summary_and_a_tag() {
        let (_, mut api) = routes::described().split_for_parts();
        let mut ids = Vec::new();
        for operation in operations(&mut api.paths) {
            let id = operation.operation_id.clone().unwrap();
            assert!(operation.summary.is_some(), "{id} has no summary");
            assert!(operation.tags.is_some(), "{id} has no tag");
            assert!(!ids.contains(&id), "two operations are called {id}");
            ids.push(id);
        }
    }

    #[test]
    fn it_is_openapi_3_1_and_every_reference_leads_somewhere() {
        let json: serde_json::Value = serde_json::from_str(&text(routes::described())).unwrap();
        assert!(json["openapi"].as_str().unwrap().starts_with("3.1."));
        let text = json.to_string();
        for rest in text.split("\"$ref\":\"#").skip(1) {
            let pointer = rest.split('"').next().unwrap();
            assert!(json.pointer(pointer).is_some(), "{pointer} leads nowhere");
        }
    }
}
