//! Whether requests are rendered as the event sources deliver them: compared with literal events,
//! and read back.

use std::collections::BTreeSet;

use golden::source::{self, Variant};
use serde_json::Value;

#[test]
fn a_request_is_rendered_as_the_literal_events_show_it() {
    let base64 = Variant { base64: true, ..Variant::default() };
    let variants =
        [("cancels_an_ordinary_request", Variant::default()), ("reads_a_base64_body", base64)];
    let mut compared = 0;
    for provider in golden::providers().unwrap() {
        let route = golden::route(&provider).unwrap();
        for (case, events) in golden::delivered(&provider).unwrap() {
            let Some((_, variant)) = variants.iter().find(|(name, _)| *name == case.name) else {
                continue;
            };
            for (source, literal) in events {
                let literal: Value = serde_json::from_str(&literal).unwrap();
                let rendered = source::event(&case.request, &route, &source, *variant);
                for place in [
                    "/version",
                    "/rawPath",
                    "/path",
                    "/pathParameters",
                    "/httpMethod",
                    "/requestContext/http/method",
                    "/body",
                    "/isBase64Encoded",
                ] {
                    assert_eq!(
                        rendered.pointer(place),
                        literal.pointer(place),
                        "{}, {source}: {place}",
                        case.name
                    );
                }
                let members = |event: &Value| -> BTreeSet<String> {
                    event.as_object().unwrap().keys().cloned().collect()
                };
                assert_eq!(members(&rendered), members(&literal), "{}, {source}", case.name);
                compared += 1;
            }
        }
    }
    assert_eq!(compared, variants.len() * source::SOURCES.len());
}

#[test]
fn a_rendered_event_holds_the_request_it_was_made_of() {
    for provider in golden::providers().unwrap() {
        let route = golden::route(&provider).unwrap();
        for case in golden::cases(&provider).unwrap() {
            // Sources decode the path, so its own encoding is lost.
            let mut read =
                source::request(&source::http_api(&case.request, &route).to_string()).unwrap();
            read.path.clone_from(&case.request.path);
            assert_eq!(read, case.request, "{provider}: {}", case.name);
        }
    }
}
