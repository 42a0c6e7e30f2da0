//! The `[[app]]` and `[[number]]` tables.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use toml::Spanned;

use crate::book::values::{self as book_values, nearest};
use crate::book::{
    Answering, App, Book, CallLimits, CallerAuth, DEFAULT_ANSWER_PEER, DigestAlgorithm, Hook,
    HookContentType, Number, Outgoing, REGISTER_WHERE, SipAuth, SipServer, SoundRecord,
    SoundSource, comparable,
};
use crate::ids::AppId;

use super::ConfigError;
use super::error::Source;
use super::file::{self, File, Setting, Whole};
use super::values;

/// The file's apps and numbers; the root app is not among them.
pub(super) fn book(source: &Source<'_>, file: &File) -> Result<Book, ConfigError> {
    let apps = apps(source, file)?;
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut numbers = Vec::with_capacity(file.number.len());
    for written in &file.number {
        let number = number(source, written, &apps)?;
        let at = text_span(&written.get_ref().number, written);
        if let Some(first) = seen.insert(comparable(&number.number), at.start) {
            let line = source.text[..first].matches('\n').count() + 1;
            let problem = format!(
                "number {:?} is in the book already, by line {line} (a leading '+' and separators do not count)",
                number.number
            );
            return Err(source.error(at, problem));
        }
        numbers.push(number);
    }
    Book::new(apps, numbers).map_err(|error| source.error(0..0, error.to_string()))
}

fn apps(source: &Source<'_>, file: &File) -> Result<Vec<App>, ConfigError> {
    let mut ids = HashSet::new();
    let mut secrets: HashSet<&str> = file.secret.iter().map(|s| s.get_ref().as_str()).collect();
    let mut apps = Vec::with_capacity(file.app.len());
    for written in &file.app {
        let app = written.get_ref();
        let id = required(source, &app.app_id, written, "app_id", "the tenant's name")?;
        let secret = required(
            source,
            &app.app_secret,
            written,
            "app_secret",
            "a long random text",
        )?;
        if id == AppId::ROOT {
            let problem = "the root app always exists; its secret is the top-level `secret`";
            return Err(source.error(text_span(&app.app_id, written), problem));
        }
        if !ids.insert(id) {
            let problem = format!("app {id:?} is listed twice");
            return Err(source.error(text_span(&app.app_id, written), problem));
        }
        let at = || text_span(&app.app_secret, written);
        book_values::secret(secret).map_err(|problem| source.error(at(), problem))?;
        if !secrets.insert(secret) {
            let problem = "another app has this secret; each needs its own, for it names the app";
            return Err(source.error(at(), problem));
        }
        apps.push(App {
            id: AppId::new(id),
            secret: secret.to_string(),
            limits: read_limits(source, &app.max_calls, &app.max_calls_per_second)?,
        });
    }
    Ok(apps)
}

fn number(
    source: &Source<'_>,
    written: &Spanned<file::Number>,
    apps: &[App],
) -> Result<Number, ConfigError> {
    let record = written.get_ref();
    let text = required(
        source,
        &record.number,
        written,
        "number",
        "the called number, e.g. \"+4930123\"",
    )?;
    let mut subnets = Vec::with_capacity(record.subnets.len());
    for subnet in &record.subnets {
        subnets.push(
            book_values::subnet(subnet.get_ref()).map_err(|p| source.error(subnet.span(), p))?,
        );
    }
    Ok(Number {
        number: text.to_string(),
        app: read_app(source, &record.app_id, apps)?,
        subnets,
        auth: read_caller_auth(source, &record.auth)?,
        hook: read_hook(source, record)?,
        client_id: optional(source, &record.client_id)?,
        answering: read_answer(source, &record.answer)?,
        outgoing: Outgoing {
            sip_server: read_server(source, &record.sip_server)?,
            sip_proxy: read_server(source, &record.sip_proxy)?,
            sip_auth: read_auth(source, &record.sip_auth)?,
            register: read_register(source, record)?,
        },
        srtp: read_word(source, &record.srtp, values::srtp)?,
        srtp_keying: read_word(source, &record.srtp_keying, values::srtp_keying)?,
        dtmf: read_word(source, &record.dtmf, values::dtmf)?,
        limits: read_limits(source, &record.max_calls, &record.max_calls_per_second)?,
        ringback: read_sound(source, &record.ringback)?,
        hold_music: read_sound(source, &record.hold_music)?,
    })
}

fn read_sound(
    source: &Source<'_>,
    setting: &Setting<file::Sound>,
) -> Result<Option<SoundSource>, ConfigError> {
    let Some(setting) = setting else {
        return Ok(None);
    };
    let file::Sound { asset, url } = setting.get_ref();
    let record = SoundRecord {
        asset: asset.clone(),
        url: url.clone(),
    };
    let sound = record.to_source(true);
    let sound = sound.map_err(|problem| source.error(setting.span(), problem))?;
    match sound {
        Some(sound) => Ok(Some(sound)),
        None => {
            let problem = "names no sound; write { asset = \"hold.wav\" } or { url = \"https://example.com/hold.mp3\" }";
            Err(source.error(setting.span(), problem))
        }
    }
}

fn read_register(source: &Source<'_>, record: &file::Number) -> Result<bool, ConfigError> {
    match &record.register {
        Some(register) if *register.get_ref() && record.sip_server.is_none() => {
            Err(source.error(register.span(), REGISTER_WHERE.to_string()))
        }
        Some(register) => Ok(*register.get_ref()),
        None => Ok(false),
    }
}

fn read_limits(
    source: &Source<'_>,
    max_calls: &Setting<Whole>,
    max_calls_per_second: &Setting<Whole>,
) -> Result<CallLimits, ConfigError> {
    let read = |setting: &Setting<Whole>| match setting {
        None => Ok(None),
        Some(setting) => book_values::call_limit(setting.get_ref().0)
            .map(Some)
            .map_err(|problem| source.error(setting.span(), problem)),
    };
    Ok(CallLimits {
        max_calls: read(max_calls)?,
        max_calls_per_second: read(max_calls_per_second)?,
    })
}

fn read_app(
    source: &Source<'_>,
    setting: &Setting<String>,
    apps: &[App],
) -> Result<AppId, ConfigError> {
    let Some(setting) = setting else {
        return Ok(AppId::new(AppId::ROOT));
    };
    let id = setting.get_ref().as_str();
    let known = || apps.iter().map(|app| app.id.as_str()).chain([AppId::ROOT]);
    if known().any(|app| app == id) {
        return Ok(AppId::new(id));
    }
    let hint = match nearest(id, known()) {
        Some(app) => format!("; did you mean {app:?}?"),
        None => "; add an [[app]] with this app_id".to_string(),
    };
    Err(source.error(setting.span(), format!("there is no app {id:?}{hint}")))
}

fn read_caller_auth(
    source: &Source<'_>,
    setting: &Setting<file::CallerAuth>,
) -> Result<Option<CallerAuth>, ConfigError> {
    let Some(setting) = setting else {
        return Ok(None);
    };
    let auth = setting.get_ref();
    let username = required(source, &auth.username, setting, "username", "the user name")?;
    let password = required(source, &auth.password, setting, "password", "the password")?;
    let algorithms = match &auth.algorithms {
        None => vec![DigestAlgorithm::Md5],
        Some(listed) => listed
            .iter()
            .map(|name| {
                let text = name.get_ref();
                DigestAlgorithm::from_name(text).ok_or_else(|| {
                    let problem = format!("{text:?} is neither \"MD5\" nor \"SHA-256\"");
                    source.error(name.span(), problem)
                })
            })
            .collect::<Result<_, _>>()?,
    };
    if algorithms.is_empty() {
        let problem = "algorithms is empty; list \"MD5\", \"SHA-256\" or both, or leave it out";
        return Err(source.error(setting.span(), problem));
    }
    Ok(Some(CallerAuth {
        credentials: SipAuth {
            username: username.to_string(),
            password: password.to_string(),
        },
        algorithms,
    }))
}

fn read_auth(
    source: &Source<'_>,
    setting: &Setting<file::Auth>,
) -> Result<Option<SipAuth>, ConfigError> {
    let Some(setting) = setting else {
        return Ok(None);
    };
    let auth = setting.get_ref();
    let username = required(source, &auth.username, setting, "username", "the user name")?;
    let password = required(source, &auth.password, setting, "password", "the password")?;
    Ok(Some(SipAuth {
        username: username.to_string(),
        password: password.to_string(),
    }))
}

fn read_hook(source: &Source<'_>, record: &file::Number) -> Result<Option<Hook>, ConfigError> {
    let content_type = match &record.hook_content_type {
        Some(setting) => values::hook_content_type(setting.get_ref())
            .map_err(|problem| source.error(setting.span(), problem))?,
        None => HookContentType::default(),
    };
    let Some(setting) = &record.hook else {
        return match &record.hook_content_type {
            Some(setting) => Err(source.error(setting.span(), "there is no `hook` that it is for")),
            None => Ok(None),
        };
    };
    book_values::hook_url(setting.get_ref())
        .map_err(|problem| source.error(setting.span(), problem))?;
    Ok(Some(Hook {
        url: Arc::from(setting.get_ref().as_str()),
        content_type,
        trusted: true,
    }))
}

fn read_answer(
    source: &Source<'_>,
    setting: &Setting<file::Answer>,
) -> Result<Answering, ConfigError> {
    let Some(setting) = setting else {
        return Ok(Answering::Ask);
    };
    let room = match setting.get_ref() {
        file::Answer::Word(word) => {
            return match word.as_str() {
                "ask" => Ok(Answering::Ask),
                "echo" => Ok(Answering::Echo),
                _ => {
                    let problem = format!(
                        "{word:?} is none of \"ask\", \"echo\" and a table like {{ room = \"lobby\", peer = \"{{from}}\" }}"
                    );
                    Err(source.error(setting.span(), problem))
                }
            };
        }
        file::Answer::Room(room) => room,
    };
    let name = required(source, &room.room, setting, "room", "the room's name")?;
    let check = |setting: &Setting<String>| match setting {
        Some(setting) => book_values::template(setting.get_ref())
            .map_err(|problem| source.error(setting.span(), problem)),
        None => Ok(()),
    };
    check(&room.room)?;
    check(&room.peer)?;
    Ok(Answering::Room {
        room: name.to_string(),
        peer: match &room.peer {
            Some(peer) => peer.get_ref().clone(),
            None => DEFAULT_ANSWER_PEER.to_string(),
        },
    })
}

fn read_server(
    source: &Source<'_>,
    setting: &Setting<String>,
) -> Result<Option<String>, ConfigError> {
    let Some(setting) = setting else {
        return Ok(None);
    };
    match setting.get_ref().parse::<SipServer>() {
        Ok(_) => Ok(Some(setting.get_ref().clone())),
        Err(problem) => Err(source.error(setting.span(), problem.to_string())),
    }
}

fn read_word<T>(
    source: &Source<'_>,
    setting: &Setting<String>,
    read: fn(&str) -> Result<T, values::Problem>,
) -> Result<Option<T>, ConfigError> {
    let Some(setting) = setting else {
        return Ok(None);
    };
    let value = read(setting.get_ref());
    value
        .map(Some)
        .map_err(|problem| source.error(setting.span(), problem))
}

fn optional(source: &Source<'_>, setting: &Setting<String>) -> Result<Option<String>, ConfigError> {
    match setting {
        Some(text) if text.get_ref().is_empty() => {
            Err(source.error(text.span(), "is empty; write it or leave it out"))
        }
        Some(text) => Ok(Some(text.get_ref().clone())),
        None => Ok(None),
    }
}

fn required<'a, T>(
    source: &Source<'_>,
    setting: &'a Setting<String>,
    table: &Spanned<T>,
    field: &str,
    what: &str,
) -> Result<&'a str, ConfigError> {
    match setting {
        Some(text) if !text.get_ref().is_empty() => Ok(text.get_ref()),
        Some(text) => Err(source.error(text.span(), format!("is empty; write {what}"))),
        None => Err(source.error(table.span(), format!("`{field}` is missing: {what}"))),
    }
}

fn text_span<T>(setting: &Setting<String>, table: &Spanned<T>) -> std::ops::Range<usize> {
    setting
        .as_ref()
        .map_or_else(|| table.span(), |text| text.span())
}
