//! Log lines, one event each: JSON for CloudWatch, or plain text for people.
//!
//! Of every request there is one event, whose target is [`REQUEST`]. It is at the same time the request's metrics: CloudWatch reads those
//! that its `_aws` member names out of the line ([embedded metric format][emf]), which takes no call and no agent.
//!
//! [emf]: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html

use std::{
    env, fmt,
    io::{self, IsTerminal},
    panic,
    sync::LazyLock,
};

use serde::{Serialize, Serializer as _, ser::SerializeMap};
use serde_json::{
    ser::{Formatter, Serializer},
    value::{RawValue, to_raw_value},
};
use tracing::{
    Event, Subscriber, error,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer, layer},
    prelude::*,
    registry::LookupSpan,
};

pub use tracing_subscriber::filter::Targets;

use crate::{
    clock::{Timestamp, milliseconds},
    service::REQUEST,
};

/// Starts logging to `output`.
///
/// `RUST_LOG` (`info`, or `shared=debug,aws_config=info`) or else `AWS_LAMBDA_LOG_LEVEL` says how much; without
/// either, or with a value that is no such list, it is `unless_asked`. `AWS_LAMBDA_LOG_FORMAT` says how: `Text`, or else JSON; without it, text
/// on a terminal. A panic is logged by its place alone: its message might quote the request.
pub fn init<O: io::Write + IsTerminal>(
    output: impl Fn() -> O + Send + Sync + 'static,
    unless_asked: Targets,
) {
    let wanted = ["RUST_LOG", "AWS_LAMBDA_LOG_LEVEL"]
        .into_iter()
        .find_map(|name| env::var(name).ok());
    let filter = wanted
        .and_then(|text| text.to_lowercase().parse().ok())
        .unwrap_or(unless_asked);
    let text = match env::var("AWS_LAMBDA_LOG_FORMAT") {
        Ok(format) => format.eq_ignore_ascii_case("text"),
        Err(_) => output().is_terminal(),
    };
    let lines = layer().with_writer(output);
    let lines = if text {
        lines.compact().boxed()
    } else {
        lines.event_format(Json).boxed()
    };
    // Fails only where a subscriber is already there, which then is the one to use.
    let subscriber = tracing_subscriber::registry();
    #[cfg(feature = "opentelemetry")]
    let subscriber = subscriber.with(crate::traces::layer());
    // The lines' own filter: what is traced is not all logged.
    let _ = subscriber.with(lines.with_filter(filter)).try_init();
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        error!(place, "panicked");
    }));
}

/// One event as one line of JSON, with the members by which Lambda filters, `timestamp` and `level`.
struct Json;

impl<S: Subscriber + for<'a> LookupSpan<'a>, N: for<'a> FormatFields<'a> + 'static>
    FormatEvent<S, N> for Json
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Vec::with_capacity(1024);
        json(event, &mut line).map_err(|_| fmt::Error)?;
        line.push(b'\n');
        writer.write_str(&String::from_utf8_lossy(&line))
    }
}

/// JSON that shows what plain JSON lets stand in a text as it is: a terminal obeys some of it, and readers take other for the end of the line.
struct OneLine;

impl Formatter for OneLine {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut plain = 0;
        for (at, found) in fragment.match_indices(hidden) {
            writer.write_all(fragment.get(plain..at).unwrap_or_default().as_bytes())?;
            for character in found.chars() {
                write!(writer, "\\u{:04x}", u32::from(character))?;
            }
            plain = at + found.len();
        }
        writer.write_all(fragment.get(plain..).unwrap_or_default().as_bytes())
    }
}

fn hidden(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

fn json(event: &Event<'_>, line: &mut Vec<u8>) -> serde_json::Result<()> {
    let (about, now) = (event.metadata(), Timestamp::now());
    let mut serializer = Serializer::with_formatter(line, OneLine);
    let mut members = Members {
        map: serializer.serialize_map(None)?,
        failed: None,
    };
    members.add("timestamp", &milliseconds(now));
    members.add("level", about.level().as_str());
    members.add("target", about.target());
    event.record(&mut members);
    if about.target() == REQUEST {
        let metrics = Metrics {
            timestamp: now.as_millisecond(),
            cloud_watch_metrics: &DIRECTIVES,
        };
        members.add("_aws", &metrics);
    }
    match members.failed {
        None => members.map.end(),
        Some(failure) => Err(failure),
    }
}

/// The members of the line that is being written.
struct Members<M: SerializeMap> {
    map: M,
    failed: Option<M::Error>,
}

impl<M: SerializeMap> Members<M> {
    fn add(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        if self.failed.is_none() {
            self.failed = self.map.serialize_entry(name, value).err();
        }
    }
}

impl<M: SerializeMap> Visit for Members<M> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field.name(), &value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field.name(), &value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field.name(), &value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field.name(), &value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field.name(), &format!("{value:?}"));
    }
}

/// The `_aws` member.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metrics<'m> {
    timestamp: i64,
    cloud_watch_metrics: &'m RawValue,
}

/// [`METRICS`], written once.
#[expect(clippy::expect_used, reason = "names and lists always serialize")]
static DIRECTIVES: LazyLock<Box<RawValue>> =
    LazyLock::new(|| to_raw_value(METRICS).expect("METRICS as JSON"));

/// Members of the line that are metrics, and the members that tell them apart.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricDirective {
    namespace: &'static str,
    dimensions: &'static [&'static [&'static str]],
    metrics: &'static [MetricDefinition],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MetricDefinition {
    name: &'static str,
    unit: &'static str,
}

const fn metric(name: &'static str, unit: &'static str) -> MetricDefinition {
    MetricDefinition { name, unit }
}

/// Every combination of dimensions is a metric that is paid for: five providers, nine outcomes, and nothing that a caller can choose.
const METRICS: &[MetricDirective] = &[
    MetricDirective {
        namespace: "PaymentCancel",
        dimensions: &[&["provider", "outcome"]],
        metrics: &[metric("requests", "Count")],
    },
    MetricDirective {
        namespace: "PaymentCancel",
        dimensions: &[&["provider"]],
        metrics: &[
            metric("duration_ms", "Milliseconds"),
            metric("store_retries", "Count"),
        ],
    },
];
