//! Each module imports only modules of the layers before its own.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

const LAYERS: &[&str] = &[
    "clock key limits route",
    "budget error idempotency",
    "headers json",
    "request",
    "auth payment",
    "cancel",
    "provider",
    "cors service",
    "store traces",
    "telemetry",
    "lambda",
];

#[test]
fn a_module_imports_only_the_layers_before_it() {
    let layer = |module: &str| LAYERS.iter().position(|all| all.split(' ').any(|m| m == module));
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = vec![src.clone()];
    while let Some(path) = paths.pop() {
        if let Ok(entries) = fs::read_dir(&path) {
            paths.extend(entries.map(|entry| entry.unwrap().path()));
            continue;
        }
        let name = path.strip_prefix(&src).unwrap().iter().next().unwrap();
        let module = name.to_str().unwrap().trim_end_matches(".rs");
        if module != "lib" && !path.ends_with("tests.rs") {
            let own = layer(module).unwrap_or_else(|| panic!("{module} has no layer"));
            for used in imports(&fs::read_to_string(&path).unwrap()) {
                let before = used == module || layer(&used) < Some(own);
                assert!(before, "{module} imports {used}");
            }
        }
    }
}

/// The modules that follow `crate::` outside of comments and tests.
fn imports(text: &str) -> Vec<String> {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code = text.lines().map(|line| line.split("//").next().unwrap());
    let code = code.collect::<Vec<_>>().join(" ");
    let mut used = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let mut depth = 0;
        for part in rest.trim_start_matches('{').split_inclusive(['{', '}', ',', ';']) {
            if depth == 0 {
                let word = part.trim().split(|c: char| !c.is_ascii_lowercase()).next();
                used.extend(word.filter(|word| !word.is_empty()).map(str::to_owned));
            }
            depth += i32::from(part.ends_with('{')) - i32::from(part.ends_with('}'));
            if depth < 0 || part.ends_with(';') || !rest.starts_with('{') {
                break;
            }
        }
    }
    used
}
