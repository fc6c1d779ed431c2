//! Everything that holds for every provider, tried on this one.

fn main() -> std::process::ExitCode {
    harness::contract::<hyperswitch::Hyperswitch>(env!("CARGO_BIN_EXE_hyperswitch"))
}
