//! Log lines, one event each: JSON for CloudWatch, or plain text for people.
//!
//! Every request has one event, whose target is [`TARGET`](crate::service::TARGET). The deployment
//! makes metrics of it with filters.

use std::{
    env, fmt,
    io::{self, IsTerminal},
    panic,
};

use serde::{Serialize, Serializer as _, ser::SerializeMap};
use serde_json::ser::{Formatter, Serializer};
use tracing::{
    Event, Subscriber, error,
    field::{Field, Visit},
    level_filters::LevelFilter,
    warn,
};
use tracing_subscriber::{
    Layer,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer, layer},
    prelude::*,
    registry::LookupSpan,
};

pub use tracing_subscriber::filter::Targets;

use crate::clock::{Timestamp, milliseconds};

/// Starts logging to `output`.
///
/// `RUST_LOG` (`info`, or `shared=debug,aws_config=info`), else `AWS_LAMBDA_LOG_LEVEL`, sets the
/// levels. Without either, or if it is invalid, they are `default`, and so is what it does not
/// name. Events of other crates are never logged below DEBUG: there the SDK and the runtime quote
/// requests, with their credentials. `AWS_LAMBDA_LOG_FORMAT` sets the format: `Text`, else JSON; by
/// default text on a terminal. A panic is logged by its location alone: its message might quote the
/// request.
pub fn init<O: io::Write + IsTerminal>(
    output: impl Fn() -> O + Send + Sync + 'static,
    default: Targets,
) {
    let configured = ["RUST_LOG", "AWS_LAMBDA_LOG_LEVEL"]
        .into_iter()
        .find_map(|name| Some((name, env::var(name).ok().filter(|text| !text.is_empty())?)));
    let parsed = configured.as_ref().map(|(_, text)| levels(text));
    let invalid = parsed == Some(None);
    let filter = within_debug(&over(default, parsed.flatten()));
    let text = match env::var("AWS_LAMBDA_LOG_FORMAT") {
        Ok(format) => format.eq_ignore_ascii_case("text"),
        Err(_) => output().is_terminal(),
    };
    let lines = layer().with_writer(output);
    let lines = if text { lines.compact().boxed() } else { lines.event_format(Json).boxed() };
    // Fails only if a subscriber is already there, which then is the one to use.
    let subscriber = tracing_subscriber::registry();
    #[cfg(feature = "opentelemetry")]
    let subscriber = subscriber.with(crate::traces::layer());
    // The lines' own filter: not everything that is traced is logged.
    let _ = subscriber.with(lines.with_filter(filter)).try_init();
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        error!(place, "panicked");
    }));
    if let Some((variable, value)) = configured.filter(|_| invalid) {
        warn!(
            variable,
            value, "the variable sets no log levels; it must be like info or shared=debug,info"
        );
    }
}

/// The levels that `text` sets, `None` if it is invalid. Unlike [`Targets`] it takes no target
/// without a level: a typing error in a level would otherwise silence everything else.
fn levels(text: &str) -> Option<Targets> {
    let text = text.to_lowercase().replace("fatal", "error").replace(' ', "");
    let complete = |directive: &str| {
        directive.contains('=') || !directive.is_empty() && directive.parse::<LevelFilter>().is_ok()
    };
    text.split(',').all(complete).then(|| text.parse().ok())?
}

/// `levels`, and `default` for all that they do not name: a typing error in a target must not
/// silence every other.
fn over(default: Targets, levels: Option<Targets>) -> Targets {
    match levels {
        Some(levels) if levels.default_level().is_some() => levels,
        Some(levels) => default.with_targets(levels),
        None => default,
    }
}

/// `targets`, but nothing of other crates below DEBUG.
fn within_debug(targets: &Targets) -> Targets {
    let ours = |target: &str| target == "shared" || target.starts_with("shared::");
    let default = targets.default_level().unwrap_or(LevelFilter::OFF);
    // Targets are prefixes: `shared` alone would include a crate `shared_x`.
    let named = targets.iter().map(|(target, level)| match target {
        "shared" => ("shared::", level),
        _ if ours(target) => (target, level),
        _ => (target, level.min(LevelFilter::DEBUG)),
    });
    let capped = Targets::new().with_default(default.min(LevelFilter::DEBUG)).with_targets(named);
    if targets.iter().any(|(target, _)| ours(target)) {
        capped
    } else {
        capped.with_target("shared::", default)
    }
}

/// One event as one line of JSON, with the members by which Lambda filters, `timestamp` and
/// `level`.
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

/// JSON that escapes what plain JSON leaves as it is: terminals interpret some of it, and readers
/// take some for the end of the line.
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
    let about = event.metadata();
    let mut serializer = Serializer::with_formatter(line, OneLine);
    let mut members = Line { map: serializer.serialize_map(None)?, failed: None };
    members.add("timestamp", &milliseconds(Timestamp::now()));
    members.add("level", about.level().as_str());
    members.add("target", about.target());
    event.record(&mut members);
    match members.failed {
        None => members.map.end(),
        Some(failure) => Err(failure),
    }
}

/// The members of the line that is being written.
struct Line<M: SerializeMap> {
    map: M,
    failed: Option<M::Error>,
}

impl<M: SerializeMap> Line<M> {
    fn add(&mut self, name: &str, value: &(impl Serialize + ?Sized)) {
        if self.failed.is_none() {
            self.failed = self.map.serialize_entry(name, value).err();
        }
    }
}

impl<M: SerializeMap> Visit for Line<M> {
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

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    #[test]
    fn levels_are_read_and_a_typing_error_is_noticed() {
        for (text, target, level) in [
            ("INFO", "hyper", LevelFilter::INFO),
            ("fatal", "shared", LevelFilter::ERROR),
            ("shared=debug,warn", "shared::request", LevelFilter::DEBUG),
            ("shared=debug, warn", "hyper", LevelFilter::WARN),
        ] {
            let targets = levels(text).expect(text);
            let mut levels = [Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR].into_iter();
            let lowest = levels.find(|level| targets.would_enable(target, level));
            assert_eq!(lowest.map(LevelFilter::from_level), Some(level), "{text}");
        }
        for typo in ["inof", "shared", "shared=inof", "info,", "shared=info,inof", ""] {
            assert_eq!(levels(typo), None, "{typo}");
        }
    }

    #[test]
    fn what_the_levels_do_not_name_keeps_its_default() {
        let info = || Targets::new().with_default(Level::INFO);
        for (text, enabled) in [
            ("sharde=debug", true),
            ("hyper=debug", true),
            ("shared=warn", false),
            ("warn", false),
            ("off", false),
        ] {
            let targets = within_debug(&over(info(), levels(text)));
            let enables = targets.would_enable("shared::request", &Level::INFO);
            assert_eq!(enables, enabled, "{text}");
        }
        let errors = Targets::new().with_target("shared", Level::ERROR);
        let targets = within_debug(&over(errors, levels("shared=info")));
        assert!(targets.would_enable("shared::request", &Level::INFO));
        assert!(!targets.would_enable("hyper", &Level::ERROR));
    }

    #[test]
    fn only_our_own_events_are_ever_below_debug() {
        for text in ["trace", "trace,aws_smithy_runtime=trace", "hyper=trace,shared=trace"] {
            let targets = within_debug(&levels(text).expect(text));
            assert!(targets.would_enable("shared::service", &Level::TRACE), "{text}");
            for other in ["aws_smithy_runtime", "hyper::client", "lambda_runtime", "shared_x"] {
                assert!(!targets.would_enable(other, &Level::TRACE), "{text} {other}");
            }
        }
        let targets = within_debug(&levels("info").expect("info"));
        assert!(!targets.would_enable("shared::service", &Level::DEBUG));
    }
}
