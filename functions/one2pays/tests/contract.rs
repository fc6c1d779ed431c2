//! Everything that holds for every provider, tried on this one.

fn main() -> std::process::ExitCode {
    harness::contract::<one2pays::One2Pays>(env!("CARGO_BIN_EXE_one2pays"))
}
