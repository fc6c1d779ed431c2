//! Log lines for CloudWatch: one JSON object each, on standard output.

use tracing_subscriber::{filter::Targets, fmt, prelude::*};

/// Starts logging. `RUST_LOG` (`info`, or `shared=debug,aws_config=info`) or else `AWS_LAMBDA_LOG_LEVEL` says how much; without
/// either, or with a value that is no such list, it is `info`.
pub fn init() {
    let wanted = ["RUST_LOG", "AWS_LAMBDA_LOG_LEVEL"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok());
    let filter = wanted
        .and_then(|text| text.to_lowercase().parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let lines = fmt::layer()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false);
    // Fails only where a subscriber is already there, which then is the one to use.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init();
}
