//! The import rule of `src/lib.rs` as a test: imports go downward only, pure
//! rooms name no runtime, socket or clock, and `unsafe` is where it may be.

use std::fs;
use std::path::{Path, PathBuf};

/// A room, and what of the crate it may name besides itself.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    (
        "main",
        &["gateway", "config", "banner", "doctor", "logging"],
    ),
    ("doctor", &["config", "io"]),
    (
        "gateway",
        &[
            "api",
            "recording",
            "store",
            "shard",
            "config",
            "book",
            "ids",
            "io",
            "banner",
        ],
    ),
    ("banner", &["config"]),
    ("logging", &["config"]),
    (
        "api",
        &[
            "book",
            "call::request",
            "call::event",
            "shard::mailbox",
            "sound::clip",
            "shard::guards",
            "config",
            "ids",
            "keying",
            "recording",
            "store",
            "trace",
        ],
    ),
    (
        "recording",
        &["config", "ids", "io::host", "sound", "store"],
    ),
    ("store", &["book", "ids", "sound"]),
    ("config", &["book", "ids", "keying", "sound", "trace"]),
    (
        "shard",
        &[
            "sound",
            "io",
            "call",
            "sip",
            "media",
            "sdp",
            "book",
            "config",
            "ids",
            "timers",
            "keying",
            "clock",
            "trace",
            "recording",
        ],
    ),
    (
        "call",
        &[
            "sip", "sdp", "media", "sound", "book", "ids", "timers", "keying", "clock", "trace",
        ],
    ),
    (
        "io",
        &["media::packet", "media::dtls", "ids", "keying", "trace"],
    ),
    ("sip", &["ids", "timers"]),
    ("sdp", &["ids", "timers", "keying"]),
    ("media", &["ids", "timers", "keying", "clock"]),
    ("sound", &["ids", "timers"]),
    ("book", &["ids", "timers", "keying"]),
    ("trace", &["ids"]),
    ("timers", &["ids"]),
    ("clock", &[]),
    ("ids", &[]),
    ("keying", &[]),
    (
        "lib",
        &[
            "api",
            "banner",
            "book",
            "call",
            "clock",
            "config",
            "doctor",
            "gateway",
            "ids",
            "io",
            "keying",
            "logging",
            "media",
            "recording",
            "sdp",
            "shard",
            "sip",
            "sound",
            "store",
            "timers",
            "trace",
        ],
    ),
];

/// Rooms that are handed `now`, seeds and buffers.
const PURE: &[&str] = &[
    "ids", "keying", "timers", "clock", "sip", "sdp", "media", "sound", "book", "call", "banner",
    "trace",
];

/// What a pure room does not name.
const NOT_PURE: &[&str] = &[
    "tokio",
    "axum",
    "io_uring",
    "socket2",
    "reqwest",
    "libc",
    "std::thread",
    "std::fs",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "Instant::now",
    "SystemTime",
    ".elapsed()",
];

/// Where `unsafe` may stand: the rings, and the packet slot they fill.
const MAY_BE_UNSAFE: &[&str] = &["io", "media/packet.rs"];

struct Source {
    /// Path below `src`.
    path: PathBuf,
    /// The room: the first directory, or the file's name.
    room: String,
    /// Without comments, texts and test modules.
    lines: Vec<(usize, String)>,
}

#[test]
fn imports_go_downward_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        let allowed = MAY_IMPORT
            .iter()
            .find(|(room, _)| *room == source.room)
            .unwrap_or_else(|| {
                panic!(
                    "src/{} is in a room the rule does not know",
                    source.path.display()
                )
            })
            .1;
        for (line, path) in crate_paths(&source.lines) {
            let own = path == source.room || path.starts_with(&format!("{}::", source.room));
            let fine = allowed
                .iter()
                .any(|room| path == *room || path.starts_with(&format!("{room}::")));
            if !own && !fine {
                wrong.push(format!(
                    "src/{}:{line}: `{}` may not import `crate::{path}`, only {}",
                    source.path.display(),
                    source.room,
                    allowed.join(", ")
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports go downward only (see src/lib.rs):\n{}",
        wrong.join("\n")
    );
}

#[test]
fn pure_rooms_name_no_runtime_socket_or_clock() {
    let mut wrong = Vec::new();
    for source in sources()
        .iter()
        .filter(|source| PURE.contains(&source.room.as_str()))
    {
        for (line, text) in &source.lines {
            for name in NOT_PURE.iter().filter(|name| names(text, name)) {
                wrong.push(format!(
                    "src/{}:{line}: `{}` is pure and may not name `{name}`: hand it in",
                    source.path.display(),
                    source.room
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn unsafe_stands_only_in_io_and_the_packet_slot_each_with_its_reason() {
    let mut wrong = Vec::new();
    for source in sources() {
        let may = MAY_BE_UNSAFE
            .iter()
            .any(|place| source.path.starts_with(place));
        let original = read(&source.path);
        let original: Vec<&str> = original.lines().collect();
        for (line, text) in source
            .lines
            .iter()
            .filter(|(_, text)| names(text, "unsafe"))
        {
            if !may {
                wrong.push(format!(
                    "src/{}:{line}: no `unsafe` here",
                    source.path.display()
                ));
            }
            // A declaration states its contract in `# Safety`; a use says why it holds.
            let declares = ["unsafe fn", "unsafe extern", "unsafe trait"]
                .iter()
                .any(|start| text.contains(start));
            let above = &original[line.saturating_sub(8)..*line];
            if !declares && !above.iter().any(|text| text.contains("SAFETY")) {
                wrong.push(format!(
                    "src/{}:{line}: `unsafe` without a SAFETY line",
                    source.path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_file_is_longer_than_600_lines() {
    let mut wrong = Vec::new();
    for source in sources() {
        let count = read(&source.path).lines().count();
        if count > 600 {
            wrong.push(format!(
                "src/{}: {count} lines; make it two files",
                source.path.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn read(path: &Path) -> String {
    fs::read_to_string(root().join(path))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn sources() -> Vec<Source> {
    let mut files = Vec::new();
    collect(&root(), &mut files);
    files.sort();
    assert!(
        files.len() > 10,
        "the sources are not where this test looks"
    );
    files
        .into_iter()
        .filter(|path| !is_test_file(path))
        .map(|path| {
            let first = path
                .components()
                .next()
                .expect("a path")
                .as_os_str()
                .to_string_lossy()
                .into_owned();
            let room = first.trim_end_matches(".rs").to_owned();
            let lines = code(&read(&path));
            Source { path, room, lines }
        })
        .collect()
}

fn collect(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory of sources") {
        let path = entry.expect("a directory entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(
                path.strip_prefix(root())
                    .expect("a path below src")
                    .to_owned(),
            );
        }
    }
}

/// Files that are compiled for tests only, by the names used here.
fn is_test_file(path: &Path) -> bool {
    path.components().any(|part| {
        let name = part.as_os_str().to_string_lossy();
        let name = name.trim_end_matches(".rs");
        name == "tests"
            || name.ends_with("_tests")
            || name.ends_with("_test")
            || name == "fake_network"
    })
}

/// The lines that are code of the product: no comments, no text literals,
/// nothing from the first `#[cfg(test)] mod` on (tests stand last in a file).
fn code(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut after_cfg_test = false;
    for (n, line) in text.lines().enumerate() {
        let bare = without_texts(line);
        let bare = bare
            .split("//")
            .next()
            .unwrap_or_default()
            .trim_end()
            .to_owned();
        let trimmed = bare.trim_start();
        if after_cfg_test && trimmed.contains("mod ") && trimmed.ends_with('{') {
            break;
        }
        after_cfg_test =
            trimmed.starts_with("#[cfg(test)]") || (after_cfg_test && trimmed.starts_with("#["));
        if !bare.is_empty() {
            lines.push((n + 1, bare));
        }
    }
    lines
}

/// The line with what stands between double quotes taken out.
fn without_texts(line: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\\' if inside => {
                characters.next();
            }
            // The character literal of a double quote opens nothing.
            '\'' if !inside && characters.peek() == Some(&'"') => {
                characters.next();
                characters.next();
            }
            '"' => inside = !inside,
            _ if !inside => out.push(character),
            _ => {}
        }
    }
    out
}

/// Every `crate::…` path with the groups of a `use` taken apart, as
/// `room::item`, with its line.
fn crate_paths(lines: &[(usize, String)]) -> Vec<(usize, String)> {
    let mut paths = Vec::new();
    for (index, (line, text)) in lines.iter().enumerate() {
        // The binary sees the library under its own name.
        let text = text.replace("ringwire::", "crate::");
        let mut rest = text.as_str();
        while let Some(at) = rest.find("crate::") {
            let is_word = at > 0
                && rest[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
            rest = &rest[at + "crate::".len()..];
            if is_word {
                continue;
            }
            if rest.starts_with('{') {
                // A group may go over several lines.
                let mut group = rest.to_owned();
                for (_, more) in &lines[index + 1..] {
                    if group.contains(';') {
                        break;
                    }
                    group.push_str(more);
                }
                expand(&group, "", &mut |path| paths.push((*line, path)));
            } else {
                paths.push((*line, head(rest)));
            }
        }
    }
    paths
}

/// `a::b` of `a::b::c::{…}`: two steps are as far as the rule looks.
fn head(path: &str) -> String {
    let end = path
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(path.len());
    let steps: Vec<&str> = path[..end]
        .split("::")
        .filter(|step| !step.is_empty())
        .take(2)
        .collect();
    steps.join("::")
}

/// The members of `{a::b, c::{d, e}}`, each with its prefix.
fn expand(group: &str, prefix: &str, found: &mut dyn FnMut(String)) {
    let Some(inner) = group.strip_prefix('{') else {
        return;
    };
    let mut depth = 0;
    let mut start = 0;
    for (at, character) in inner.char_indices() {
        let ends = depth == 0 && matches!(character, ',' | '}');
        if ends {
            let member = inner[start..at].trim();
            if let Some(open) = member.find('{') {
                expand(
                    &member[open..],
                    &format!("{prefix}{}", &member[..open]),
                    found,
                );
            } else if !member.is_empty() {
                found(head(&format!("{prefix}{member}")));
            }
            start = at + 1;
            if character == '}' {
                return;
            }
        }
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
}

/// Whether the line has this name as a word of its own.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + name.len()..].chars().next();
        !(after.is_some_and(part) || name.starts_with(part) && before.is_some_and(part))
    })
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let text = "use crate::{ids::CallId, sip::{self, agent::Agent}};\nlet x = crate::io::uring::Ring::new(); // crate::api\nlet s = \"crate::api\";\n#[cfg(test)]\nmod tests {\n    use crate::shard;\n}\n";
    let found: Vec<String> = crate_paths(&code(text))
        .into_iter()
        .map(|(_, path)| path)
        .collect();
    assert_eq!(
        found,
        ["ids::CallId", "sip::self", "sip::agent", "io::uring"]
    );
}

#[test]
fn the_reader_of_names_wants_whole_words() {
    assert!(names("let now = Instant::now();", "Instant::now"));
    assert!(!names("let tokio_like = 1;", "tokio"));
    assert!(!names("\"tokio\"", "io"));
    assert!(names("unsafe { f() }", "unsafe"));
    assert!(!names("#![deny(unsafe_code)]", "unsafe"));
}
