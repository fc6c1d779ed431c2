//! Everything that holds for every provider, tried on this one.

fn main() -> std::process::ExitCode {
    harness::contract::<hedgepayments::HedgePayments>(env!("CARGO_BIN_EXE_hedgepayments"))
}
