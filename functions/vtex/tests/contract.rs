//! Everything that holds for every provider, tried on this one.

fn main() -> std::process::ExitCode {
    harness::contract::<vtex::Vtex>(env!("CARGO_BIN_EXE_vtex"))
}
