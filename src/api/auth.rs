//! Who is asking: an app with its secret, or the bearer of a token that an
//! app handed out.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::book::Book;
use crate::ids::{AppId, CallId};

use super::error::ApiError;

type HmacSha256 = Hmac<Sha256>;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Call,
    Room,
    Notify,
}

/// A token's content.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    app: String,
    kind: Kind,
    /// Call id, room, or client id.
    sub: String,
    /// Room tokens: the name in the room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<String>,
    /// Seconds since the Unix epoch (RFC 7519 section 4.1.4).
    exp: u64,
}

/// What a credential allows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Permit {
    /// Everything in this app.
    App(AppId),
    /// This call only.
    Call(AppId, CallId),
    /// This place in this room only.
    Room(AppId, String, String),
    /// To hear of this client's incoming calls only.
    Notify(AppId, String),
}

impl Permit {
    /// The app, for calls that take an app_secret only.
    pub fn app(self) -> Result<AppId, ApiError> {
        match self {
            Permit::App(app) => Ok(app),
            Permit::Call(..) | Permit::Room(..) | Permit::Notify(..) => Err(ApiError::forbidden(
                "this needs the app_secret; a token may do only what it was made for",
            )),
        }
    }
}

/// Recognises secrets and makes and reads tokens.
pub struct Gate {
    apps: RwLock<Arc<Apps>>,
    index_key: [u8; 32],
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

/// The apps that there are.
#[derive(Default)]
struct Apps {
    /// By the keyed hash of a secret: looking one up takes the same path
    /// whatever was sent, and its time says nothing about any secret.
    by_secret: HashMap<[u8; 32], Opens>,
    ids: HashSet<AppId>,
}

/// What a secret opens.
struct Opens {
    app: AppId,
    secret: String,
    /// A secret from before a rotation: milliseconds since the Unix epoch.
    until_ms: Option<u64>,
}

/// A secret from before a rotation that still opens its app for a while.
#[derive(Clone, PartialEq, Eq)]
pub struct FormerSecret {
    /// Of which app.
    pub app: AppId,
    /// The secret.
    pub secret: String,
    /// Until when, milliseconds since the Unix epoch.
    pub until_ms: u64,
}

impl Gate {
    /// For the apps of this book; tokens are signed with a key derived from
    /// the root app's secret.
    pub fn new(book: &Book, root_secret: &str) -> Self {
        let token_key = keyed_hash(root_secret.as_bytes(), b"ringwire tokens v1");
        let index_key = keyed_hash(root_secret.as_bytes(), b"ringwire secret index v1");
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        let gate = Gate {
            apps: RwLock::default(),
            index_key,
            encoding: EncodingKey::from_secret(&token_key),
            decoding: DecodingKey::from_secret(&token_key),
            validation,
        };
        gate.use_apps(book, &[]);
        gate
    }

    /// From now on these apps count, and beside their secrets the former ones.
    pub fn use_apps(&self, book: &Book, former: &[FormerSecret]) {
        let mut by_secret = HashMap::new();
        let mut add = |app: &AppId, secret: &str, until_ms| {
            let key = keyed_hash(&self.index_key, secret.as_bytes());
            let opens = Opens {
                app: app.clone(),
                secret: secret.to_string(),
                until_ms,
            };
            // Where two apps have one secret, which is refused wherever it
            // can be, the root app has it.
            if app.as_str() == AppId::ROOT || !by_secret.contains_key(&key) {
                by_secret.insert(key, opens);
            }
        };
        for app in book.apps() {
            add(&app.id, &app.secret, None);
        }
        for former in former {
            add(&former.app, &former.secret, Some(former.until_ms));
        }
        let apps = Apps {
            by_secret,
            ids: book.apps().map(|app| app.id.clone()).collect(),
        };
        *self.apps.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(apps);
    }

    fn apps(&self) -> Arc<Apps> {
        self.apps
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Who sends this request, by its `Authorization` header, or by `?token=`
    /// because browsers cannot set headers on a WebSocket.
    pub fn permit(&self, parts: &Parts) -> Result<Permit, ApiError> {
        let token = bearer(&parts.headers)?.or_else(|| query_value(parts, "token"));
        match token {
            Some(token) => self.recognise(&token),
            None => Err(ApiError::unauthorized(
                "send the app_secret or a token as Authorization: Bearer, or as ?token=",
            )),
        }
    }

    fn recognise(&self, token: &str) -> Result<Permit, ApiError> {
        let key = keyed_hash(&self.index_key, token.as_bytes());
        let apps = self.apps();
        if let Some(opens) = apps.by_secret.get(&key)
            && bool::from(opens.secret.as_bytes().ct_eq(token.as_bytes()))
        {
            return match opens.until_ms {
                Some(until) if unix_ms() >= until => Err(ApiError::unauthorized(
                    "this app_secret was replaced by a new one, and its time is over",
                )),
                Some(_) | None => Ok(Permit::App(opens.app.clone())),
            };
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.decoding, &self.validation)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::ExpiredSignature => {
                    ApiError::unauthorized("the token has expired; ask for a new one")
                }
                _ => ApiError::unauthorized("neither an app_secret nor a valid token"),
            })?
            .claims;
        let app = AppId::new(&claims.app);
        if !apps.ids.contains(&app) {
            return Err(ApiError::unauthorized("the token's app no longer exists"));
        }
        let unreadable = || ApiError::unauthorized("the token cannot be read");
        match claims.kind {
            Kind::Call => {
                let call = claims.sub.parse().map_err(|_| unreadable())?;
                Ok(Permit::Call(app, call))
            }
            Kind::Room => {
                let peer = claims.peer.ok_or_else(unreadable)?;
                Ok(Permit::Room(app, claims.sub, peer))
            }
            Kind::Notify => Ok(Permit::Notify(app, claims.sub)),
        }
    }

    /// A token for one call.
    pub fn call_token(&self, app: &AppId, call: CallId, ttl: Duration) -> Result<String, ApiError> {
        self.sign(app, Kind::Call, call.to_string(), None, ttl)
    }

    /// A token for one place in a room.
    pub fn room_token(
        &self,
        app: &AppId,
        room: String,
        peer: String,
        ttl: Duration,
    ) -> Result<String, ApiError> {
        self.sign(app, Kind::Room, room, Some(peer), ttl)
    }

    /// A token to hear of a client's incoming calls.
    pub fn notify_token(
        &self,
        app: &AppId,
        client_id: String,
        ttl: Duration,
    ) -> Result<String, ApiError> {
        self.sign(app, Kind::Notify, client_id, None, ttl)
    }

    fn sign(
        &self,
        app: &AppId,
        kind: Kind,
        sub: String,
        peer: Option<String>,
        ttl: Duration,
    ) -> Result<String, ApiError> {
        let claims = Claims {
            app: app.to_string(),
            kind,
            sub,
            peer,
            exp: unix_time().saturating_add(ttl).as_secs(),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(
            |error| {
                tracing::error!(%error, "a token could not be signed");
                ApiError::of_status(axum::http::StatusCode::INTERNAL_SERVER_ERROR)
            },
        )
    }
}

/// Time since the Unix epoch.
pub fn unix_time() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The same in milliseconds.
pub fn unix_ms() -> u64 {
    unix_time().as_millis() as u64
}

/// HMAC-SHA256.
pub fn keyed_hash(key: &[u8], message: &[u8]) -> [u8; 32] {
    // RFC 2104 takes a key of any length; a key that the crate refused would
    // hash like an empty one, which no secret is.
    let mut mac = match HmacSha256::new_from_slice(key) {
        Ok(mac) => mac,
        Err(_) => HmacSha256::new(&Default::default()),
    };
    mac.update(message);
    mac.finalize().into_bytes().into()
}

fn bearer(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let wrong = || ApiError::unauthorized("write Authorization: Bearer, then the secret or token");
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .ok_or_else(wrong)?;
    // RFC 9110 section 11.1: schemes are compared without case.
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(wrong());
    }
    Ok(Some(token.trim().to_string()))
}

/// The first value of this name in the query.
pub fn query_value(parts: &Parts, name: &str) -> Option<String> {
    let mut url = reqwest::Url::parse("http://localhost/").ok()?;
    url.set_query(parts.uri.query());
    let found = url.query_pairs().find(|(key, _)| key == name);
    found.map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::book::App;
    use crate::ids::ShardId;
    use axum::http::Request;

    const HOUR: Duration = Duration::from_secs(3600);

    fn gate_with(root_secret: &str) -> Gate {
        let app = |id: &str, secret: &str| App {
            id: AppId::new(id),
            secret: secret.to_string(),
            limits: crate::book::CallLimits::default(),
        };
        let apps = [app(AppId::ROOT, root_secret), app("acme", "acme-secret")];
        Gate::new(&Book::new(apps, []).unwrap(), root_secret)
    }

    fn gate() -> Gate {
        gate_with("root-secret")
    }

    fn parts(uri: &str, authorization: Option<&str>) -> Parts {
        let mut request = Request::builder().uri(uri);
        if let Some(value) = authorization {
            request = request.header("Authorization", value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn message(result: Result<Permit, ApiError>) -> String {
        result.unwrap_err().message
    }

    #[test]
    fn a_secret_opens_its_app_by_header_and_by_query() {
        let gate = gate();
        let acme = Permit::App(AppId::new("acme"));
        let permit = |uri, header| gate.permit(&parts(uri, header));
        assert_eq!(permit("/", Some("Bearer acme-secret")), Ok(acme.clone()));
        assert_eq!(permit("/", Some("bearer acme-secret")), Ok(acme.clone()));
        assert_eq!(permit("/?a=b&token=acme%2Dsecret", None), Ok(acme));
        let root = Permit::App(AppId::new("root"));
        assert_eq!(permit("/", Some("Bearer root-secret")), Ok(root));
    }

    #[test]
    fn a_former_secret_opens_its_app_until_its_time_is_over() {
        let gate = gate();
        let app = |id: &str, secret: &str| App {
            id: AppId::new(id),
            secret: secret.to_string(),
            limits: crate::book::CallLimits::default(),
        };
        let book = Book::new([app("acme", "new-secret")], []).unwrap();
        let former = |secret: &str, until_ms| FormerSecret {
            app: AppId::new("acme"),
            secret: secret.to_string(),
            until_ms,
        };
        let hour_on = unix_ms() + 3_600_000;
        gate.use_apps(&book, &[former("acme-secret", hour_on), former("older", 1)]);
        let acme = Ok(Permit::App(AppId::new("acme")));
        assert_eq!(gate.recognise("new-secret"), acme);
        assert_eq!(gate.recognise("acme-secret"), acme);
        assert!(message(gate.recognise("older")).contains("replaced"));
        assert_eq!(gate.recognise("root-secret").unwrap_err().status, 401);
    }

    #[test]
    fn what_is_neither_secret_nor_token_is_refused() {
        let gate = gate();
        for header in [
            "Bearer x",
            "Bearer acme-secret2",
            "Bearer ",
            "Basic eDp5",
            "acme-secret",
        ] {
            let error = gate.permit(&parts("/", Some(header))).unwrap_err();
            assert_eq!(error.status, 401, "{header}");
        }
        assert_eq!(gate.permit(&parts("/", None)).unwrap_err().status, 401);
    }

    #[test]
    fn tokens_read_back_as_what_they_were_made_for() {
        let gate = gate();
        let acme = AppId::new("acme");
        let call = CallId {
            shard: ShardId(1),
            random: 9,
        };
        let token = gate.call_token(&acme, call, HOUR).unwrap();
        assert_eq!(gate.recognise(&token), Ok(Permit::Call(acme.clone(), call)));
        let token = gate
            .room_token(&acme, "lobby".into(), "anna".into(), HOUR)
            .unwrap();
        assert_eq!(
            gate.recognise(&token),
            Ok(Permit::Room(acme.clone(), "lobby".into(), "anna".into()))
        );
        let token = gate.notify_token(&acme, "desk".into(), HOUR).unwrap();
        let permit = gate.recognise(&token).unwrap();
        assert_eq!(permit, Permit::Notify(acme, "desk".into()));
        assert_eq!(permit.app().unwrap_err().status, 403);
    }

    #[test]
    fn an_expired_a_forged_and_a_foreign_token_are_refused() {
        let gate = gate();
        let acme = AppId::new("acme");
        let long_ago = Claims {
            app: "acme".to_string(),
            kind: Kind::Notify,
            sub: "desk".to_string(),
            peer: None,
            exp: 1_000_000_000,
        };
        let expired = jsonwebtoken::encode(&Header::default(), &long_ago, &gate.encoding).unwrap();
        assert!(message(gate.recognise(&expired)).contains("expired"));

        let token = gate.notify_token(&acme, "desk".into(), HOUR).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        let forged = format!("{signed}.{first}{}", &signature[1..]);
        assert_eq!(gate.recognise(&forged).unwrap_err().status, 401);
        let other = gate_with("another root").notify_token(&acme, "desk".into(), HOUR);
        assert!(message(gate.recognise(&other.unwrap())).contains("neither"));

        let gone = gate
            .notify_token(&AppId::new("gone"), "x".into(), HOUR)
            .unwrap();
        assert!(message(gate.recognise(&gone)).contains("no longer exists"));
    }

    #[test]
    fn a_token_that_names_no_algorithm_is_refused() {
        // {"alg":"none"} . {"app":"root","kind":"notify","sub":"x","exp":99999999999} .
        let none = "eyJhbGciOiJub25lIn0.eyJhcHAiOiJyb290Iiwia2luZCI6Im5vdGlmeSIsInN1YiI6IngiLCJleHAiOjk5OTk5OTk5OTk5fQ.";
        assert_eq!(gate().recognise(none).unwrap_err().status, 401);
    }
}
