//! Collects the lines that the function would write to standard output, through the same code.

use std::{
    env,
    fs::{self, File},
    io::{Read, Seek},
    panic, process,
    sync::OnceLock,
};

use shared::telemetry::{self, Targets};

/// A file without a name. The subscriber checks whether its output is a terminal, which memory
/// cannot be.
static LINES: OnceLock<File> = OnceLock::new();

/// Starts keeping it.
pub fn keep() {
    LINES.get_or_init(|| {
        let path = env::temp_dir().join(format!("fuzz-{}.log", process::id()));
        let file = File::options().read(true).append(true).create_new(true).open(&path);
        let file = file.expect("a file for the log");
        fs::remove_file(&path).expect("it is ours");
        let lines = file.try_clone().expect("the same file");
        // libFuzzer's own hook ends the process at a panic, even one that the service would have
        // caught.
        let hook = panic::take_hook();
        let level = "info".parse::<Targets>().expect("a level");
        telemetry::init(move || lines.try_clone().expect("the same file"), level);
        panic::set_hook(hook);
        file
    });
}

/// What was logged since the last time.
#[must_use]
pub fn take() -> String {
    let mut file = LINES.get().expect("the log is kept");
    let mut lines = String::new();
    file.rewind().expect("a file");
    file.read_to_string(&mut lines).expect("the log is UTF-8");
    file.set_len(0).expect("a file");
    lines
}
