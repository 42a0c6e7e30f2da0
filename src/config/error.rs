//! What is wrong with a configuration, where, and what would be right.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::book::values::nearest;

/// A configuration that cannot be used. `Display` is one line for the
/// operator: `gateway.toml:12:9: rtp.ports: "30000" is no range; …`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ConfigError {
    /// Where it stands.
    pub place: Place,
    /// What is wrong and what would be right.
    pub problem: String,
}

/// Where a setting came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The file as a whole: it could not be read.
    File(PathBuf),
    /// A line of the file.
    Line {
        /// The file.
        file: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// Column in characters, counted from 1.
        column: usize,
        /// The field with its table, as `rtp.ports`; empty where no field can
        /// be named.
        field: String,
    },
    /// An environment variable.
    Environment(&'static str),
    /// Something that follows from several settings or from the machine.
    Field(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File(file) => write!(f, "{}", file.display()),
            Place::Line {
                file,
                line,
                column,
                field,
            } => {
                write!(f, "{}:{line}:{column}", file.display())?;
                match field.as_str() {
                    "" => Ok(()),
                    field => write!(f, ": {field}"),
                }
            }
            Place::Environment(name) => write!(f, "environment variable {name}"),
            Place::Field(field) => f.write_str(field),
        }
    }
}

/// A configuration file's text, to tell where in it a span is.
pub(super) struct Source<'a> {
    pub path: &'a Path,
    pub text: &'a str,
}

impl Source<'_> {
    /// The error for something at these bytes of the text.
    pub fn error(&self, span: Range<usize>, problem: impl Into<String>) -> ConfigError {
        let before = &self.text[..floor_char_boundary(self.text, span.start)];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        ConfigError {
            place: Place::Line {
                file: self.path.to_path_buf(),
                line: before.matches('\n').count() + 1,
                column: before[line_start..].chars().count() + 1,
                field: field_at(self.text, span.start),
            },
            problem: problem.into(),
        }
    }

    /// What the TOML reader or serde found, in our words.
    pub fn reader_error(&self, error: &toml::de::Error) -> ConfigError {
        let message = error.message();
        let span = error.span().unwrap_or(0..0);
        let problem = match message.strip_prefix("unknown field ") {
            Some(rest) => unknown_field(rest),
            None => message.replace('\n', "; "),
        };
        self.error(span, problem)
    }
}

/// `rest` is serde's "`lisen`, expected one of `listen`, `port`".
fn unknown_field(rest: &str) -> String {
    let mut names = rest.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let known_list = known.join(", ");
    match nearest(unknown, known.iter().copied()) {
        Some(name) => format!("unknown field; did you mean `{name}`? Known here: {known_list}"),
        None => format!("unknown field; known here: {known_list}"),
    }
}

fn floor_char_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// The dotted name of the field whose key or value holds this byte.
fn field_at(text: &str, at: usize) -> String {
    let (table, _) = DeTable::parse_recoverable(text);
    let mut path = Vec::new();
    if find_in_table(table.get_ref(), at, &mut path) {
        path.join(".")
    } else {
        String::new()
    }
}

/// Tables written as `[name]` do not span their fields, so every branch is
/// looked into before a table's own span counts.
fn find_in_table(table: &DeTable<'_>, at: usize, path: &mut Vec<String>) -> bool {
    let mut own = None;
    for (key, value) in table.iter() {
        path.push(key.get_ref().to_string());
        if find_in_value(value, at, path) {
            return true;
        }
        if key.span().contains(&at) || value.span().contains(&at) {
            own = Some(key.get_ref().to_string());
        }
        path.pop();
    }
    match own {
        Some(key) => {
            path.push(key);
            true
        }
        None => false,
    }
}

fn find_in_value(value: &Spanned<DeValue<'_>>, at: usize, path: &mut Vec<String>) -> bool {
    match value.get_ref() {
        DeValue::Table(table) => find_in_table(table, at, path),
        DeValue::Array(array) => array
            .iter()
            .any(|item| find_in_value(item, at, path) || item.span().contains(&at)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_is_told_as_line_column_and_field() {
        let text = "data_dir = \"x\"\n[rtp]\nports = \"ü\"\n[[number]]\nnumber = \"1\"\n\
                    subnets = [\"10.0.0.0/8\", \"zz\"]\n";
        let source = Source {
            path: Path::new("g.toml"),
            text,
        };
        let told = |needle: &str| {
            let at = text.find(needle).unwrap();
            source.error(at..at + 1, "no").to_string()
        };
        assert_eq!(told("\"x\""), "g.toml:1:12: data_dir: no");
        assert_eq!(told("\"ü\""), "g.toml:3:9: rtp.ports: no");
        assert_eq!(told("zz"), "g.toml:6:27: number.subnets: no");
        assert_eq!(told("[[number]]"), "g.toml:4:1: number: no");
    }
}
