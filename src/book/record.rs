//! A number as the admin API and a sync answer write it: names and texts, and
//! the way from there to a [`Number`] and back.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    Answering, CallLimits, CallerAuth, DEFAULT_ANSWER_PEER, DigestAlgorithm, DtmfPolicy, Hook,
    HookContentType, Number, Outgoing, SipAuth, SipServer, SoundRecord, SoundSource, values,
};
use crate::ids::AppId;
use crate::keying::{SrtpKeying, SrtpPolicy};

/// A number or name longer than this is none (bytes).
const MAX_NUMBER: usize = 128;
/// A registration has to be somewhere.
pub const REGISTER_WHERE: &str = "there is no sip_server to register at; write one";
/// Networks of one number at most.
const MAX_SUBNETS: usize = 1_024;

/// One number, unchecked. Clients with typed bodies write `""` for what they
/// leave out, which counts as left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NumberRecord {
    /// The number.
    #[serde(default)]
    pub number: String,
    /// Whose it is; the root app's where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Networks that may call in; empty: nobody.
    #[serde(default)]
    pub subnets: Vec<String>,
    /// Callers are challenged for this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<CallerAuthRecord>,
    /// Where its call events go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<String>,
    /// `Json` or `Protobuf`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_content_type: Option<String>,
    /// Which `notify_ws` client hears of its calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// What happens to its calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerRecord>,
    /// Where its outgoing calls go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_server: Option<String>,
    /// Outbound proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_proxy: Option<String>,
    /// Digest credentials of outgoing calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sip_auth: Option<AuthRecord>,
    /// `off`, `optional` or `required`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srtp: Option<String>,
    /// `sdes` or `dtls`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub srtp_keying: Option<String>,
    /// `auto`, `events`, `info` or `tones`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtmf: Option<String>,
    /// Its calls at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls: Option<u64>,
    /// Its calls that may begin per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_calls_per_second: Option<u64>,
    /// What a caller hears while it rings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ringback: Option<SoundRecord>,
    /// What a caller hears alone in a room.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_music: Option<SoundRecord>,
    /// Keep a registration at `sip_server`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<bool>,
}

/// User name and password. The password is never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthRecord {
    /// User name.
    #[serde(default)]
    pub username: String,
    /// Password.
    #[serde(default)]
    pub password: String,
}

/// What callers have to prove. The password is never printed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerAuthRecord {
    /// User name.
    #[serde(default)]
    pub username: String,
    /// Password.
    #[serde(default)]
    pub password: String,
    /// `MD5`, `SHA-256` or both; MD5 where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithms: Option<Vec<String>>,
}

impl fmt::Debug for AuthRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthRecord({}, password hidden)", self.username)
    }
}

impl fmt::Debug for CallerAuthRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallerAuthRecord({}, password hidden)", self.username)
    }
}

/// `"ask"`, `"echo"`, or a room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AnswerRecord {
    /// `ask` or `echo`.
    Word(String),
    /// Into a room.
    Room(RoomRecord),
}

/// A room, and the name in it; both may hold `{call_id}`, `{from}` and `{to}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomRecord {
    /// The room.
    #[serde(default)]
    pub room: String,
    /// The name in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
}

/// A field of a record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct RecordError {
    /// Which field.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl NumberRecord {
    /// The number that the record describes.
    ///
    /// # Errors
    /// The first field that cannot be used.
    pub fn to_number(&self) -> Result<Number, RecordError> {
        Ok(Number {
            number: self.checked_number()?,
            app: self.app(),
            subnets: self.checked_subnets()?,
            auth: self.auth.as_ref().map(caller_auth).transpose()?,
            hook: self.checked_hook()?,
            client_id: given(&self.client_id).map(str::to_string),
            answering: self.answer.as_ref().map_or(Ok(Answering::Ask), answering)?,
            outgoing: self.checked_outgoing()?,
            srtp: word(
                "srtp",
                &self.srtp,
                SrtpPolicy::from_name,
                "off, optional or required",
            )?,
            srtp_keying: word(
                "srtp_keying",
                &self.srtp_keying,
                SrtpKeying::from_name,
                "sdes or dtls",
            )?,
            dtmf: word(
                "dtmf",
                &self.dtmf,
                DtmfPolicy::from_name,
                "auto, events, info or tones",
            )?,
            limits: CallLimits {
                max_calls: limit("max_calls", self.max_calls)?,
                max_calls_per_second: limit("max_calls_per_second", self.max_calls_per_second)?,
            },
            ringback: self.checked_sound("ringback", &self.ringback)?,
            hold_music: self.checked_sound("hold_music", &self.hold_music)?,
        })
    }

    /// A password that the record leaves out stays as it was in `old`.
    pub fn keep_passwords(&mut self, old: &Number) {
        if let (Some(auth), Some(old)) = (&mut self.auth, &old.auth)
            && auth.password.is_empty()
        {
            auth.password.clone_from(&old.credentials.password);
        }
        if let (Some(auth), Some(old)) = (&mut self.sip_auth, &old.outgoing.sip_auth)
            && auth.password.is_empty()
        {
            auth.password.clone_from(&old.password);
        }
    }

    fn app(&self) -> AppId {
        AppId::new(given(&self.app_id).unwrap_or(AppId::ROOT))
    }

    fn checked_number(&self) -> Result<String, RecordError> {
        let problem = match self.number.as_str() {
            "" => "is missing; write the called number, e.g. \"+4930123\"".to_string(),
            text if text.len() > MAX_NUMBER => format!("is longer than {MAX_NUMBER} bytes"),
            // It stands in URIs, logs and paths.
            text if text
                .chars()
                .any(|c| c.is_control() || c.is_whitespace() && c != ' ') =>
            {
                "has a control character; write digits or a name".to_string()
            }
            text => return Ok(text.to_string()),
        };
        Err(fail("number", problem))
    }

    fn checked_subnets(&self) -> Result<Vec<ipnet::IpNet>, RecordError> {
        if self.subnets.len() > MAX_SUBNETS {
            let problem = format!("has more than {MAX_SUBNETS} networks; join neighbours");
            return Err(fail("subnets", problem));
        }
        let read = |text: &String| values::subnet(text).map_err(|p| fail("subnets", p));
        self.subnets.iter().map(read).collect()
    }

    fn checked_hook(&self) -> Result<Option<Hook>, RecordError> {
        let content_type = word(
            "hook_content_type",
            &self.hook_content_type,
            HookContentType::from_name,
            "\"Json\" or \"Protobuf\"",
        )?;
        let Some(url) = given(&self.hook) else {
            return Ok(None);
        };
        values::hook_url(url).map_err(|problem| fail("hook", problem))?;
        Ok(Some(Hook {
            url: Arc::from(url),
            content_type: content_type.unwrap_or_default(),
            trusted: self.app().is_root(),
        }))
    }

    fn checked_sound(
        &self,
        field: &'static str,
        sound: &Option<SoundRecord>,
    ) -> Result<Option<SoundSource>, RecordError> {
        match sound {
            Some(sound) => sound
                .to_source(self.app().is_root())
                .map_err(|problem| fail(field, problem)),
            None => Ok(None),
        }
    }

    fn checked_outgoing(&self) -> Result<Outgoing, RecordError> {
        let register = self.register == Some(true);
        if register && given(&self.sip_server).is_none() {
            return Err(fail("register", REGISTER_WHERE));
        }
        let server = |field, text: &Option<String>| match given(text) {
            Some(text) => match text.parse::<SipServer>() {
                Ok(_) => Ok(Some(text.to_string())),
                Err(problem) => Err(fail(field, problem.to_string())),
            },
            None => Ok(None),
        };
        Ok(Outgoing {
            sip_server: server("sip_server", &self.sip_server)?,
            sip_proxy: server("sip_proxy", &self.sip_proxy)?,
            sip_auth: match &self.sip_auth {
                Some(auth) => Some(credentials("sip_auth", &auth.username, &auth.password)?),
                None => None,
            },
            register,
        })
    }
}

impl From<&Number> for NumberRecord {
    fn from(number: &Number) -> Self {
        let hook = number.hook.as_ref();
        NumberRecord {
            number: number.number.clone(),
            app_id: Some(number.app.to_string()),
            subnets: number.subnets.iter().map(ToString::to_string).collect(),
            auth: number.auth.as_ref().map(|auth| CallerAuthRecord {
                username: auth.credentials.username.clone(),
                password: auth.credentials.password.clone(),
                algorithms: Some(
                    auth.algorithms
                        .iter()
                        .map(|a| a.name().to_string())
                        .collect(),
                ),
            }),
            hook: hook.map(|hook| hook.url.to_string()),
            hook_content_type: hook.map(|hook| hook.content_type.name().to_string()),
            client_id: number.client_id.clone(),
            answer: match &number.answering {
                Answering::Ask => None,
                Answering::Echo => Some(AnswerRecord::Word("echo".to_string())),
                Answering::Room { room, peer } => Some(AnswerRecord::Room(RoomRecord {
                    room: room.clone(),
                    peer: Some(peer.clone()),
                })),
            },
            sip_server: number.outgoing.sip_server.clone(),
            sip_proxy: number.outgoing.sip_proxy.clone(),
            sip_auth: number.outgoing.sip_auth.as_ref().map(|auth| AuthRecord {
                username: auth.username.clone(),
                password: auth.password.clone(),
            }),
            srtp: number.srtp.map(|policy| policy.name().to_string()),
            srtp_keying: number.srtp_keying.map(|keying| keying.name().to_string()),
            dtmf: number.dtmf.map(|policy| policy.name().to_string()),
            max_calls: number.limits.max_calls.map(u64::from),
            max_calls_per_second: number.limits.max_calls_per_second.map(u64::from),
            ringback: number.ringback.as_ref().map(SoundRecord::from),
            hold_music: number.hold_music.as_ref().map(SoundRecord::from),
            register: number.outgoing.register.then_some(true),
        }
    }
}

fn fail(field: &'static str, problem: impl Into<String>) -> RecordError {
    RecordError {
        field,
        problem: problem.into(),
    }
}

fn limit(field: &'static str, limit: Option<u64>) -> Result<Option<u32>, RecordError> {
    let read = limit.map(values::call_limit).transpose();
    read.map_err(|problem| fail(field, problem))
}

fn given(text: &Option<String>) -> Option<&str> {
    text.as_deref().filter(|text| !text.is_empty())
}

fn word<T>(
    field: &'static str,
    text: &Option<String>,
    from_name: fn(&str) -> Option<T>,
    words: &str,
) -> Result<Option<T>, RecordError> {
    let Some(text) = given(text) else {
        return Ok(None);
    };
    let known = from_name(text).map(Some);
    known.ok_or_else(|| fail(field, format!("{text:?} is not {words}")))
}

fn credentials(
    field: &'static str,
    username: &str,
    password: &str,
) -> Result<SipAuth, RecordError> {
    if username.is_empty() || password.is_empty() {
        return Err(fail(field, "needs both username and password"));
    }
    Ok(SipAuth {
        username: username.to_string(),
        password: password.to_string(),
    })
}

fn caller_auth(record: &CallerAuthRecord) -> Result<CallerAuth, RecordError> {
    let algorithm = |name: &String| {
        let known = DigestAlgorithm::from_name(name);
        known.ok_or_else(|| {
            fail(
                "auth",
                format!("{name:?} is neither \"MD5\" nor \"SHA-256\""),
            )
        })
    };
    let algorithms = match &record.algorithms {
        None => vec![DigestAlgorithm::Md5],
        Some(names) if names.is_empty() => {
            let problem = "algorithms is empty; list \"MD5\", \"SHA-256\" or both, or leave it out";
            return Err(fail("auth", problem));
        }
        Some(names) => names.iter().map(algorithm).collect::<Result<_, _>>()?,
    };
    Ok(CallerAuth {
        credentials: credentials("auth", &record.username, &record.password)?,
        algorithms,
    })
}

fn answering(record: &AnswerRecord) -> Result<Answering, RecordError> {
    let room = match record {
        AnswerRecord::Word(word) => {
            return match word.as_str() {
                "" | "ask" => Ok(Answering::Ask),
                "echo" => Ok(Answering::Echo),
                _ => Err(fail(
                    "answer",
                    format!("{word:?} is none of \"ask\", \"echo\" and {{\"room\", \"peer\"}}"),
                )),
            };
        }
        AnswerRecord::Room(room) => room,
    };
    let peer = given(&room.peer).unwrap_or(DEFAULT_ANSWER_PEER);
    for text in [room.room.as_str(), peer] {
        values::template(text).map_err(|problem| fail("answer", problem))?;
    }
    Ok(Answering::Room {
        room: room.room.clone(),
        peer: peer.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(json: serde_json::Value) -> NumberRecord {
        serde_json::from_value(json).unwrap()
    }

    fn refused(json: serde_json::Value) -> String {
        record(json).to_number().unwrap_err().to_string()
    }

    #[test]
    fn a_record_becomes_a_number_and_back_again() {
        let full = record(serde_json::json!({
            "number": "+4930123", "app_id": "acme", "subnets": ["192.0.2.0/24", "2001:db8::/32"],
            "auth": {"username": "u", "password": "p", "algorithms": ["MD5", "SHA-256"]},
            "hook": "https://example.com/h", "hook_content_type": "Protobuf",
            "client_id": "desk", "answer": {"room": "r-{from}", "peer": "{call_id}"},
            "sip_server": "sip.example.com", "sip_proxy": "192.0.2.1:5070",
            "sip_auth": {"username": "a", "password": "b"},
            "srtp": "required", "srtp_keying": "dtls", "dtmf": "info",
            "ringback": {"asset": "ring.wav"}, "hold_music": {"url": "https://example.com/hold.mp3"},
        }));
        let number = full.to_number().unwrap();
        assert_eq!(number.app, AppId::new("acme"));
        assert_eq!(NumberRecord::from(&number), full);
    }

    #[test]
    fn what_typed_clients_leave_empty_is_left_out() {
        let number = record(serde_json::json!({
            "number": "100", "app_id": "", "hook": "", "hook_content_type": "", "client_id": "",
            "answer": "", "sip_server": "", "srtp": "", "register": false,
        }))
        .to_number()
        .unwrap();
        assert_eq!(number.app, AppId::new(AppId::ROOT));
        assert_eq!(
            (number.hook, number.client_id, number.srtp),
            (None, None, None)
        );
        assert_eq!(number.answering, Answering::Ask);
    }

    #[test]
    fn every_field_that_is_wrong_is_named_with_what_would_be_right() {
        let cases = [
            (serde_json::json!({}), "number: is missing"),
            (
                serde_json::json!({"number": "1\n2"}),
                "number: has a control",
            ),
            (
                serde_json::json!({"number": "1", "subnets": ["10.0.0.1/8"]}),
                "write 10.0.0.0/8",
            ),
            (
                serde_json::json!({"number": "1", "auth": {"username": "u"}}),
                "auth: needs both",
            ),
            (
                serde_json::json!({"number": "1", "auth": {"username": "u", "password": "p", "algorithms": ["MD4"]}}),
                "auth: \"MD4\" is neither",
            ),
            (
                serde_json::json!({"number": "1", "hook": "ftp://x/"}),
                "hook: \"ftp://x/\"",
            ),
            (
                serde_json::json!({"number": "1", "hook_content_type": "Xml"}),
                "hook_content_type: \"Xml\"",
            ),
            (
                serde_json::json!({"number": "1", "answer": "no"}),
                "answer: \"no\" is none of",
            ),
            (
                serde_json::json!({"number": "1", "answer": {"room": "{x}"}}),
                "answer: {x} is not",
            ),
            (
                serde_json::json!({"number": "1", "sip_server": "sips:x"}),
                "sip_server: ",
            ),
            (
                serde_json::json!({"number": "1", "sip_auth": {"username": "u"}}),
                "sip_auth: needs",
            ),
            (
                serde_json::json!({"number": "1", "srtp": "maybe"}),
                "srtp: \"maybe\" is not off",
            ),
            (
                serde_json::json!({"number": "1", "ringback": {"asset": "a/b"}}),
                "ringback: \"a/b\" is no asset's name",
            ),
            (
                serde_json::json!({"number": "1", "hold_music": {"url": "hold.mp3"}}),
                "hold_music: \"hold.mp3\" is no URL",
            ),
            (
                serde_json::json!({"number": "1", "register": true}),
                "register: ",
            ),
        ];
        for (json, expected) in cases {
            let words = refused(json.clone());
            assert!(words.contains(expected), "{json}: {words}");
        }
    }
}
