//! `[admin]`: who may use the admin panel and its API, and where.

use std::fmt;

use argon2::password_hash::phc::PasswordHash;

use super::file::{self, File, Setting};
use super::resolve::{Origin, Reader, written};
use super::{Admin, ConfigError, values};

/// An example of the form; no default.
const LISTEN: &str = "127.0.0.1:8009";
/// A shorter password of the administrator is refused (characters).
pub const MIN_PASSWORD: usize = 12;
/// A longer one too: hashing it should not take long (bytes).
pub const MAX_PASSWORD: usize = 1_024;

/// The administrator's password as it is configured. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub enum AdminPassword {
    /// In the clear.
    Plain(String),
    /// An Argon2 hash in PHC form.
    Hash(String),
}

impl fmt::Debug for AdminPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminPassword(hidden)")
    }
}

/// What an administrator's password has to be like.
///
/// # Errors
/// What is wrong with it and what would be right.
pub fn check_admin_password(password: &str) -> Result<(), String> {
    if password.chars().count() < MIN_PASSWORD {
        return Err(format!(
            "is too short; write {MIN_PASSWORD} characters at least"
        ));
    }
    if password.len() > MAX_PASSWORD {
        return Err(format!("is longer than {MAX_PASSWORD} bytes"));
    }
    Ok(())
}

pub(super) fn admin(reader: &Reader<'_>, file: &File) -> Result<Admin, ConfigError> {
    let admin = &file.admin;
    let listen = match listen(reader, admin) {
        Some((text, origin)) => {
            let read = values::listen(&text, LISTEN);
            Some(read.map_err(|problem| reader.fail(&origin, problem))?)
        }
        None => None,
    };
    let settings = Admin {
        enabled: admin.enabled.as_ref().is_none_or(|on| *on.get_ref()),
        listen,
        password: password(reader, admin)?,
        secure_cookie: admin.secure_cookie.as_ref().is_some_and(|on| *on.get_ref()),
        session_idle: reader.seconds(&admin.session_idle_s, 1_800, 60..=86_400)?,
        session_max: reader.seconds(&admin.session_max_s, 43_200, 60..=30 * 86_400)?,
    };
    if settings.session_max < settings.session_idle {
        let longest = admin.session_max_s.as_ref().map(written);
        let origin = longest.or(admin.session_idle_s.as_ref().map(written));
        let origin = origin.unwrap_or(Origin::Default("admin.session_max_s"));
        let problem = "session_max_s must not be smaller than session_idle_s";
        return Err(reader.fail(&origin, problem));
    }
    Ok(settings)
}

fn listen(reader: &Reader<'_>, admin: &file::Admin) -> Option<(String, Origin)> {
    let set = |text: &Setting<String>| {
        let text = text.as_ref()?;
        Some((text.get_ref().clone(), written(text)))
    };
    reader
        .environment("RINGWIRE_ADMIN_LISTEN")
        .or_else(|| set(&admin.listen))
}

fn password(
    reader: &Reader<'_>,
    admin: &file::Admin,
) -> Result<Option<AdminPassword>, ConfigError> {
    let plain = |(text, origin): (String, Origin)| {
        check_admin_password(&text).map_err(|problem| reader.fail(&origin, problem))?;
        Ok(Some(AdminPassword::Plain(text)))
    };
    if let Some(found) = reader.environment("RINGWIRE_ADMIN_PASSWORD") {
        return plain(found);
    }
    match (&admin.password_hash, &admin.password) {
        (Some(hash), Some(_)) => {
            let problem = "there is a password too; write one of the two";
            Err(reader.fail(&written(hash), problem))
        }
        (Some(hash), None) => {
            let text = hash.get_ref();
            let argon2 = |hash: PasswordHash| hash.algorithm.as_str().starts_with("argon2");
            match PasswordHash::new(text).map(argon2) {
                Ok(true) => Ok(Some(AdminPassword::Hash(text.clone()))),
                Ok(false) | Err(_) => {
                    let problem = "is no Argon2 hash in PHC form; write e.g. what `argon2 \"$(openssl rand -hex 16)\" -id -e` prints";
                    Err(reader.fail(&written(hash), problem))
                }
            }
        }
        (None, Some(text)) => plain((text.get_ref().clone(), written(text))),
        (None, None) => Ok(None),
    }
}
