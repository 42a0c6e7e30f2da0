//! The files of `config/`: they can be read, and name nothing that is not there.

use std::fs;
use std::path::{Path, PathBuf};

use yaml_rust2::{Yaml, YamlLoader};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(path: &str) -> Yaml {
    let mut documents =
        YamlLoader::load_from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(documents.len(), 1, "{path}");
    documents.remove(0)
}

/// Keys of a mapping.
fn keys(yaml: &Yaml) -> Vec<&str> {
    let hash = yaml.as_hash().expect("a mapping");
    hash.keys()
        .map(|key| key.as_str().expect("a name"))
        .collect()
}

/// Environment variables that the gateway reads, as its sources name them.
fn known_variables() -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("src/config")).expect("the sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            continue; // tests
        }
        let text = fs::read_to_string(path).expect("a source");
        for part in text.split("\"RINGWIRE_").skip(1) {
            let name = part.split('"').next().expect("the rest of a name");
            names.push(format!("RINGWIRE_{name}"));
        }
    }
    assert!(names.len() > 5, "the sources are not where this looks");
    names
}

/// Every `RINGWIRE_…` in a text.
fn named_variables(text: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_ascii_uppercase() || c == '_';
    text.match_indices("RINGWIRE_")
        .map(|(at, _)| {
            let rest = &text[at..];
            &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())]
        })
        .collect()
}

#[test]
fn environment_variables_of_the_examples_are_ones_the_gateway_knows() {
    let known = known_variables();
    for path in [
        "config/compose.yaml",
        "config/ringwire.service",
        "Dockerfile",
    ] {
        for name in named_variables(&read(path)) {
            assert!(known.iter().any(|one| one == name), "{path}: {name}");
        }
    }
}

#[test]
fn files_that_compose_mounts_are_there() {
    let compose = yaml("config/compose.yaml");
    assert_eq!(
        keys(&compose["services"]),
        ["ringwire", "prometheus", "grafana"]
    );
    let mut mounted = 0;
    for service in ["ringwire", "prometheus", "grafana"] {
        let service = &compose["services"][service];
        let build = service["build"]["context"].as_str();
        if let Some(context) = build {
            assert!(
                root()
                    .join("config")
                    .join(context)
                    .join("Dockerfile")
                    .is_file()
            );
        }
        for volume in service["volumes"].as_vec().into_iter().flatten() {
            let source = volume.as_str().expect("a volume").split(':').next();
            let source = source.expect("its source");
            if let Some(file) = source.strip_prefix("./") {
                assert!(root().join("config").join(file).exists(), "{source}");
                mounted += 1;
            } else {
                let volumes = keys(&compose["volumes"]);
                assert!(volumes.contains(&source), "{source} is declared nowhere");
            }
        }
    }
    assert!(mounted >= 3, "{mounted}");
}

#[test]
fn prometheus_asks_the_gateway_and_grafana_asks_prometheus() {
    let prometheus = yaml("config/prometheus.yml");
    let scrape = &prometheus["scrape_configs"][0];
    assert_eq!(scrape["job_name"].as_str(), Some("ringwire"));
    let target = scrape["static_configs"][0]["targets"][0].as_str();
    assert_eq!(target, Some("127.0.0.1:8008"));
    let sources = yaml("config/grafana/datasources/prometheus.yaml");
    let source = &sources["datasources"][0];
    assert_eq!(source["type"].as_str(), Some("prometheus"));
    assert_eq!(source["uid"].as_str(), Some("prometheus"));
}

#[test]
fn grafana_finds_the_dashboard_where_compose_mounts_it() {
    let providers = yaml("config/grafana/dashboards/ringwire.yaml");
    let path = providers["providers"][0]["options"]["path"]
        .as_str()
        .expect("a path");
    let compose = yaml("config/compose.yaml");
    let volumes = compose["services"]["grafana"]["volumes"].as_vec();
    let mounted = volumes.expect("volumes").iter().any(|volume| {
        let mut parts = volume.as_str().expect("a volume").split(':');
        let is_ours = parts.next() == Some("./grafana-dashboard.json");
        let target = Path::new(parts.next().expect("a target"));
        is_ours && target.parent() == Some(Path::new(path))
    });
    assert!(mounted, "{path}");
}

#[test]
fn the_unit_lets_the_gateway_do_what_it_does() {
    let unit = read("config/ringwire.service");
    for line in [
        // It says READY=1 and WATCHDOG=1 (see `service`).
        "Type=notify",
        "NotifyAccess=main",
        // io_uring, with rings in memory that is writable and never executed.
        "MemoryDenyWriteExecute=yes",
        "LimitMEMLOCK=infinity",
        // The data directory is below what the unit may write to.
        "StateDirectory=ringwire",
        "Environment=RINGWIRE_DATA_DIR=/var/lib/ringwire",
    ] {
        assert!(unit.lines().any(|one| one == line), "{line}");
    }
    let calls = unit
        .lines()
        .filter(|line| line.starts_with("SystemCallFilter="))
        .collect::<Vec<_>>()
        .join(" ");
    for call in [
        "@system-service",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
    ] {
        assert!(calls.contains(call), "{call}: {calls}");
    }
}
