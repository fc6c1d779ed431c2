//! SECURITY.md and the tree agree: each named test exists, and its statements on the manifests
//! hold.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Every file of the tree that tests can be in.
fn sources() -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "-co", "--exclude-standard", "*.rs", "*.py", "*.ts"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "git cannot list the tree's files");
    let names = String::from_utf8(listed.stdout).unwrap();
    names.lines().filter_map(|name| fs::read_to_string(root().join(name)).ok()).collect()
}

/// The texts between back-quotes in the rows of the table of promises, the last column only.
fn named() -> Vec<String> {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let (_, rest) = text.split_once("## What is promised").unwrap();
    let table = rest.split("\n## ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    rows.flat_map(|row| {
        let last = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap();
        let names = last.split('`').skip(1).step_by(2).map(str::to_owned);
        let names = names.collect::<Vec<_>>();
        assert!(!names.is_empty(), "a promise without a test: {row}");
        names
    })
    .collect()
}

#[test]
fn every_test_that_security_md_names_is_there() {
    let (sources, named) = (sources(), named());
    assert!(named.len() > 15, "only {} tests are named", named.len());
    for name in named {
        let there = if name.contains('/') {
            let path = name.split(' ').next().unwrap();
            root().join(path).exists()
        } else {
            let (function, title) = (format!("fn {name}("), format!("\"{name}\""));
            let python = format!("def {name}(");
            sources.iter().any(|source| {
                [&function, &title, &python].iter().any(|form| source.contains(*form))
            })
        };
        assert!(there, "SECURITY.md names `{name}`, which is not there");
    }
}

#[test]
fn every_package_has_the_workspaces_lints_and_these_forbid_unsafe_code() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, lints) = manifest.split_once("[workspace.lints.rust]").unwrap();
    let lints = lints.split("\n[").next().unwrap();
    assert!(lints.contains("unsafe_code = \"forbid\""), "{lints}");

    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() >= 9, "only {} packages", packages.len());
    for package in packages {
        let path = package["manifest_path"].as_str().unwrap();
        let manifest = fs::read_to_string(path).unwrap();
        assert!(
            manifest.contains("\n[lints]\nworkspace = true\n"),
            "{path} does not take the workspace's lints"
        );
    }
}
