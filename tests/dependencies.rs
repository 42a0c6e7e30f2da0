//! Every crate the gateway names has its line in `docs/DEPENDENCIES.md`.

use std::fs;
use std::path::Path;

#[test]
fn every_dependency_has_its_line() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let lines = fs::read_to_string(root.join("docs/DEPENDENCIES.md")).unwrap();
    let tables = ["dependencies", "build-dependencies", "dev-dependencies"];
    let missing: Vec<&String> = tables
        .iter()
        .filter_map(|table| manifest.get(*table)?.as_table())
        .flat_map(toml::Table::keys)
        .filter(|name| !lines.contains(&format!("`{name}`")))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/DEPENDENCIES.md says nothing of {missing:?}: what for, why this one, what would replace it"
    );
}
