//! What a check found, for people and for programs.

use std::fmt::Write;

use serde::Serialize;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// It works, and would work better.
    Advice,
    /// The gateway will not start, or will lose calls.
    Problem,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's name, stable.
    pub check: String,
    /// How grave it is.
    pub level: Level,
    /// What was found.
    pub finding: String,
    /// Why it matters; empty where all is well.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub why: &'static str,
    /// The command, or the setting, that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// All is well.
    pub(super) fn ok(check: &str, finding: impl Into<String>) -> Finding {
        Finding {
            check: check.to_owned(),
            level: Level::Ok,
            finding: finding.into(),
            why: "",
            remedy: None,
        }
    }

    /// It could be better.
    pub(super) fn advice(
        check: &str,
        finding: impl Into<String>,
        why: &'static str,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            level: Level::Advice,
            why,
            remedy: Some(remedy.into()),
            ..Finding::ok(check, finding)
        }
    }

    /// It has to be mended.
    pub(super) fn problem(
        check: &str,
        finding: impl Into<String>,
        why: &'static str,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            level: Level::Problem,
            ..Finding::advice(check, finding, why, remedy)
        }
    }
}

/// The findings for people, the gravest last, where the eye is.
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    let width = findings.iter().map(|finding| finding.check.len()).max();
    let width = width.unwrap_or_default();
    for level in [Level::Ok, Level::Advice, Level::Problem] {
        for finding in findings.iter().filter(|finding| finding.level == level) {
            line(&mut text, finding, width);
        }
    }
    let count = |level| findings.iter().filter(|one| one.level == level).count();
    // Writing to a String cannot fail.
    let _ = write!(
        text,
        "{} ok, {} advice, {} {}",
        count(Level::Ok),
        count(Level::Advice),
        count(Level::Problem),
        if count(Level::Problem) == 1 {
            "problem"
        } else {
            "problems"
        },
    );
    text
}

fn line(text: &mut String, finding: &Finding, width: usize) {
    let level = match finding.level {
        Level::Ok => "ok",
        Level::Advice => "advice",
        Level::Problem => "PROBLEM",
    };
    let _ = writeln!(
        text,
        "{level:<8} {:<width$}  {}",
        finding.check, finding.finding
    );
    if !finding.why.is_empty() {
        let _ = writeln!(text, "         why: {}", finding.why);
    }
    if let Some(remedy) = &finding.remedy {
        let _ = writeln!(text, "         do:  {remedy}");
    }
}

/// The findings for programs: `{"findings": […]}`.
pub fn json(findings: &[Finding]) -> String {
    serde_json::json!({ "findings": findings }).to_string()
}
