//! Prints a provider's golden cases as one JSON array, for tools in other languages: each case with
//! its Lambda event, unsigned, and the response's body as text. `cargo run -p golden -- vtex`.

use anyhow::{Context, Result};
use serde_json::{Value, json};

#[expect(clippy::print_stdout, reason = "printing is what it is for")]
fn main() -> Result<()> {
    let provider = std::env::args().nth(1).context("usage: golden PROVIDER")?;
    let route = golden::route(&provider)?;
    let cases = golden::cases(&provider)?.into_iter().map(|case| {
        let event: Value = match &case.event {
            Some(event) => serde_json::from_str(event)?,
            None => golden::source::http_api(&case.request, &route),
        };
        Ok(json!({
            "name": case.name, "source": case.source, "request": case.request, "event": event,
            "given": case.given, "sign": case.sign, "then": case.then,
        }))
    });
    println!("{}", Value::Array(cases.collect::<Result<_>>()?));
    Ok(())
}
