//! Every crate the gateway names has its line in `docs/DEPENDENCIES.md`, and the
//! instruction counts are taken with the same crates.

use std::collections::BTreeSet;
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

/// The instruction counts are those of the gateway only while both are built
/// from the same crates.
#[test]
fn the_instruction_counts_are_taken_with_the_gateways_versions() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = |path: &str| -> toml::Table {
        let text = fs::read_to_string(root.join(path)).unwrap();
        text.parse().unwrap()
    };
    let ours = table("Cargo.toml");
    let ours = ours["dependencies"].as_table().unwrap();
    let theirs = table("benches/instructions/Cargo.toml");
    let theirs = theirs["dependencies"].as_table().unwrap();
    for (name, wanted) in theirs {
        assert_eq!(
            ours.get(name),
            Some(wanted),
            "benches/instructions/Cargo.toml asks for another `{name}` than Cargo.toml"
        );
    }

    let locked = |path: &str| -> BTreeSet<String> {
        let packages = table(path);
        let packages = packages["package"].as_array().unwrap();
        packages
            .iter()
            .filter(|package| package.get("source").is_some())
            .map(|package| {
                let text = |key: &str| package[key].as_str().unwrap().to_owned();
                format!("{} {}", text("name"), text("version"))
            })
            .collect()
    };
    let ours = locked("Cargo.lock");
    let theirs = locked("benches/instructions/Cargo.lock");
    assert!(
        theirs.len() > 50,
        "the lock file has {} crates",
        theirs.len()
    );
    let other: Vec<&String> = theirs.difference(&ours).collect();
    assert!(
        other.is_empty(),
        "benches/instructions/Cargo.lock has {other:?} and Cargo.lock has not: copy Cargo.lock \
         there, then `cargo metadata --manifest-path benches/instructions/Cargo.toml`"
    );
}
