//! Not committed: counts of given binaries.
#![expect(clippy::print_stdout, reason = "x")]
use anyhow::{Context, Result};
use harness::{golden::cases, measure::Ground};
#[tokio::main]
async fn main() -> Result<()> {
    let ground = Ground::set("/tmp/w/measure".into()).await?;
    let mut args = std::env::args().skip(1);
    let case = cases("hyperswitch")?
        .into_iter()
        .find(|c| c.name == "cancels_requires_capture")
        .context("c")?;
    for binary in &mut args {
        let start = ground.start_instructions(&[&binary]).await?;
        let request = ground.request_instructions(&[&binary], &case, 20).await?;
        println!(
            "{binary} start {start} request {request} bytes {}",
            std::fs::metadata(&binary)?.len()
        );
    }
    Ok(())
}
