//! What is linked into the functions.

use std::{fs, path::Path, process::Command};

#[test]
fn a_function_has_one_tls_stack_and_nothing_that_gathers_entropy_or_looks_for_credentials() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut checked = 0;
    for folder in fs::read_dir(root.join("functions")).unwrap() {
        let name = folder.unwrap().file_name().into_string().unwrap();
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--locked", "--edges", "normal"])
            .args(["--prefix", "none", "--format", "{p}", "-p", &name])
            .current_dir(&root)
            .output()
            .unwrap();
        let crates = String::from_utf8(tree.stdout).unwrap();
        let linked = |start: &str| crates.lines().any(|line| line.starts_with(start));
        assert!(
            linked("ring v") && linked("rustls v0.23"),
            "{name}: {crates}"
        );
        for unwanted in [
            "aws-lc",
            "aws-config",
            "aws-sdk-sts",
            "native-tls",
            "openssl-sys",
            "rustls v0.21",
            "lambda_http",
        ] {
            assert!(!linked(unwanted), "{name} links {unwanted}");
        }
        checked += 1;
    }
    assert!(checked > 0, "no functions");
}
