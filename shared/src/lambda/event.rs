//! The HTTP events that Lambda delivers, and the answers it takes: API Gateway's payload formats 1.0 and 2.0, Function URLs, and
//! load balancers with single and with multi-value headers. One struct reads them all in one pass, because what a cancel needs
//! of them lies in a handful of members whose names do not clash.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    cancel::{Fault, FaultKind},
    headers::Headers,
    provider::Reply,
    request::Incoming,
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    /// REST APIs, payload 1.0, load balancers.
    http_method: Option<String>,
    path: Option<String>,
    /// Load balancers with multi-value headers send these only; API Gateway sends both, and the single ones then hold the last value.
    multi_value_headers: Option<Members<Vec<String>>>,
    /// Payload 2.0 and Function URLs.
    raw_path: Option<String>,
    /// HTTP APIs and Function URLs.
    version: Option<IgnoredAny>,
    /// All of them.
    headers: Option<Members<String>>,
    path_parameters: Option<Members<String>>,
    request_context: Option<RequestContext>,
    body: Option<String>,
    is_base64_encoded: Option<bool>,
}

/// What tells the front ends apart, whatever else is wrong with the event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    headers: Option<IgnoredAny>,
    multi_value_headers: Option<IgnoredAny>,
    raw_path: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    http: Option<Http>,
    domain_name: Option<String>,
}

#[derive(Deserialize)]
struct Http {
    method: Option<String>,
}

impl Event {
    /// Whether path and path parameters come percent-decoded. HTTP APIs, which name a payload version, decode both; REST APIs and
    /// load balancers, which name none, and Function URLs leave them as the client sent them (seen in captures of live events, hotsock/voker#8 and
    /// aws/chalice#511).
    fn is_decoded(&self) -> bool {
        let context = self.request_context.as_ref();
        let domain = context.and_then(|context| context.domain_name.as_deref());
        self.version.is_some() && !domain.is_some_and(|name| name.contains(".lambda-url."))
    }
}

/// The members of a JSON object in their order, those of the same name included: a map would keep the last of them.
struct Members<T>(Vec<(String, T)>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Members<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for All<T> {
            type Value = Members<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(All(PhantomData))
    }
}

/// What the event's front end wants of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontEnd {
    /// Headers with one value each.
    SingleValueHeaders,
    /// A load balancer with multi-value headers takes no others.
    MultiValueHeaders,
    /// Payload 2.0: headers with one value each, and cookies apart, which `cargo lambda watch` wants even where there are none.
    Payload2,
}

impl FrontEnd {
    /// The front end whose events have these members.
    fn with(headers: bool, multi_value_headers: bool, raw_path: bool) -> Self {
        match (headers, multi_value_headers, raw_path) {
            (false, true, _) => Self::MultiValueHeaders,
            (_, _, true) => Self::Payload2,
            (_, _, false) => Self::SingleValueHeaders,
        }
    }

    /// The front end of an event that cannot be read: it still takes its own form of answer only.
    fn of_unreadable(event: &str) -> Self {
        serde_json::from_str::<Shape>(event).map_or(Self::SingleValueHeaders, |shape| {
            Self::with(
                shape.headers.is_some(),
                shape.multi_value_headers.is_some(),
                shape.raw_path.is_some(),
            )
        })
    }
}

/// Reads an event. One that cannot be read, or that names no method or no path, becomes a request that says so, which the provider then
/// refuses in its own words.
#[must_use]
pub fn read(event: &str) -> (Incoming, FrontEnd) {
    request(event).unwrap_or_else(|| {
        let fault = Fault::new(FaultKind::Event, "the Lambda event is not an HTTP request");
        let incoming = Incoming {
            fault: Some(fault),
            ..Incoming::default()
        };
        (incoming, FrontEnd::of_unreadable(event))
    })
}

/// The request that an event is, if it is one.
fn request(event: &str) -> Option<(Incoming, FrontEnd)> {
    let event = serde_json::from_str::<Event>(event).ok()?;
    let front_end = FrontEnd::with(
        event.headers.is_some(),
        event.multi_value_headers.is_some(),
        event.raw_path.is_some(),
    );
    let decoded = event.is_decoded();

    let mut headers = Headers::default();
    for (name, values) in event.multi_value_headers.iter().flat_map(|all| &all.0) {
        values.iter().for_each(|value| headers.append(name, value));
    }
    for (name, value) in event.headers.iter().flat_map(|all| &all.0) {
        // REST APIs say every header twice: what both members have is one line, so that sizes do not depend on the front end.
        if !headers.lines(name).any(|line| line == value.trim()) {
            headers.append(name, value);
        }
    }

    let context = event
        .request_context
        .and_then(|context| context.http)
        .and_then(|http| http.method);
    let body = event.body.unwrap_or_default();
    let (body, fault) = if event.is_base64_encoded == Some(true) {
        match STANDARD.decode(body.as_bytes()) {
            Ok(bytes) => (bytes, None),
            Err(_) => (
                Vec::new(),
                Some(Fault::new(
                    FaultKind::Event,
                    "request body is not valid base64",
                )),
            ),
        }
    } else {
        (body.into_bytes(), None)
    };

    let incoming = Incoming {
        // `cargo lambda watch` says GET at the top of every payload 2.0, where API Gateway says nothing.
        method: context.or(event.http_method)?,
        path: event.raw_path.or(event.path)?,
        path_parameters: event.path_parameters.map(|all| all.0).unwrap_or_default(),
        decoded,
        headers,
        body,
        fault,
        // Id, trace and deadline come from the runtime.
        ..Incoming::default()
    };
    Some((incoming, front_end))
}

/// The answer that says `reply` to `front_end`, as JSON: written here and not by the runtime, whose code is generated in each function's own crate, for size.
pub(super) fn write(reply: Reply, front_end: FrontEnd) -> Box<RawValue> {
    // Strings, numbers and maps of strings always serialize; what is not the form of an answer becomes the front end's own 5xx.
    to_raw_value(&Answer::new(reply, front_end)).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// An answer in the form that every front end takes.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    multi_value_headers: BTreeMap<&'static str, [String; 1]>,
    body: String,
    is_base64_encoded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cookies: Option<[String; 0]>,
}

impl Answer {
    fn new(reply: Reply, front_end: FrontEnd) -> Self {
        let Reply {
            status,
            headers,
            body,
        } = reply;
        let mut answer = Self {
            status_code: status,
            headers: BTreeMap::new(),
            multi_value_headers: BTreeMap::new(),
            body,
            is_base64_encoded: false,
            cookies: (front_end == FrontEnd::Payload2).then_some([]),
        };
        match front_end {
            FrontEnd::SingleValueHeaders | FrontEnd::Payload2 => answer.headers.extend(headers),
            FrontEnd::MultiValueHeaders => {
                let lines = headers.into_iter().map(|(name, value)| (name, [value]));
                answer.multi_value_headers.extend(lines);
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{cancel::CancelError, clock::Timestamp, request::Request};

    const ROUTE: &str = "/payments/{payment_id}/cancel";

    /// The same request as each front end delivers it: path, stage, headers and body in the form that AWS documents for it.
    fn every_front_end() -> Vec<(&'static str, Value)> {
        let rest = json!({
            "resource": ROUTE, "path": "/billing/payments/pay%5F1/cancel", "httpMethod": "POST",
            "headers": {"Api-Key": "k"}, "multiValueHeaders": {"Api-Key": ["k"]},
            "pathParameters": {"payment_id": "pay%5F1"}, "queryStringParameters": null, "stageVariables": null,
            "requestContext": {"stage": "prod", "httpMethod": "POST", "identity": {"sourceIp": "203.0.113.1"}},
            "body": "{}", "isBase64Encoded": false,
        });
        let http = json!({
            "version": "2.0", "routeKey": "POST /payments/{payment_id}/cancel", "rawPath": "/prod/payments/pay_1/cancel",
            "rawQueryString": "", "headers": {"api-key": "k"}, "pathParameters": {"payment_id": "pay_1"},
            "requestContext": {"stage": "prod", "http": {"method": "POST", "path": "/prod/payments/pay_1/cancel"}},
            "body": "{}", "isBase64Encoded": false,
        });
        let mut watch = http.clone();
        watch["httpMethod"] = json!("GET");
        let mut http_1 = rest.clone();
        http_1["version"] = json!("1.0");
        http_1["path"] = json!("/prod/payments/pay_1/cancel");
        http_1["pathParameters"] = json!({"payment_id": "pay_1"});
        let mut url = http.clone();
        url["rawPath"] = json!("/payments/pay%5F1/cancel");
        url["pathParameters"] = json!(null);
        url["requestContext"]["domainName"] = json!("u1.lambda-url.us-east-1.on.aws");
        url["body"] = json!("e30=");
        url["isBase64Encoded"] = json!(true);
        let balancer = json!({
            "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/t/1"}},
            "httpMethod": "POST", "path": "/payments/pay_1/cancel", "queryStringParameters": {},
            "headers": {"api-key": "k"}, "body": "{}", "isBase64Encoded": false,
        });
        let mut balancer_multi = balancer.clone();
        let removed = balancer_multi
            .as_object_mut()
            .and_then(|event| event.remove("headers"));
        assert!(removed.is_some());
        balancer_multi["multiValueHeaders"] = json!({"api-key": ["k"]});
        vec![
            ("REST API", rest),
            ("HTTP API, payload 1.0", http_1),
            ("HTTP API, payload 2.0", http),
            ("Function URL", url),
            ("cargo lambda watch", watch),
            ("load balancer", balancer),
            ("load balancer, multi-value headers", balancer_multi),
        ]
    }

    #[test]
    fn every_front_end_delivers_the_same_request() {
        for (name, event) in every_front_end() {
            let (incoming, _) = read(&event.to_string());
            assert_eq!(incoming.fault, None, "{name}");
            let request = Request::new(&incoming, ROUTE, Timestamp::UNIX_EPOCH);
            assert_eq!(incoming.method, "POST", "{name}");
            assert_eq!(request.payment_id, "pay_1", "{name}");
            assert_eq!(request.headers.single("Api-Key"), Ok(Some("k")), "{name}");
            assert_eq!(request.body, b"{}", "{name}");
        }
    }

    #[test]
    fn only_a_load_balancer_with_multi_value_headers_gets_such_an_answer() {
        for (name, event) in every_front_end() {
            let (_, front_end) = read(&event.to_string());
            let reply = Reply::json(200, &json!({})).header("x-request-id", "1");
            let answer = serde_json::to_value(write(reply, front_end)).unwrap();
            let expected = if name.ends_with("multi-value headers") {
                json!({"statusCode": 200, "multiValueHeaders": {"x-request-id": ["1"]}, "body": "{}", "isBase64Encoded": false})
            } else if [
                "HTTP API, payload 2.0",
                "Function URL",
                "cargo lambda watch",
            ]
            .contains(&name)
            {
                json!({"statusCode": 200, "headers": {"x-request-id": "1"}, "body": "{}", "isBase64Encoded": false, "cookies": []})
            } else {
                json!({"statusCode": 200, "headers": {"x-request-id": "1"}, "body": "{}", "isBase64Encoded": false})
            };
            assert_eq!(answer, expected, "{name}");
        }
    }

    #[test]
    fn of_two_header_lines_none_is_dropped() {
        let event = json!({
            "httpMethod": "POST", "path": "/", "headers": {"api-key": "b"}, "multiValueHeaders": {"api-key": ["a", "b"]},
        });
        assert!(
            read(&event.to_string())
                .0
                .headers
                .single("api-key")
                .is_err()
        );
        let twins =
            json!({"httpMethod": "POST", "path": "/", "headers": {"api-key": "a", "Api-Key": "b"}});
        assert!(
            read(&twins.to_string())
                .0
                .headers
                .single("api-key")
                .is_err()
        );
    }

    #[test]
    fn of_two_header_members_none_is_dropped() {
        for event in [
            r#""headers": {"api-key": "a", "api-key": "b"}"#,
            r#""multiValueHeaders": {"api-key": ["a"], "api-key": ["b"]}"#,
            r#""headers": {"api-key": "a"}, "multiValueHeaders": {"API-KEY": ["b"]}"#,
        ] {
            let event = format!(r#"{{"httpMethod": "POST", "path": "/", {event}}}"#);
            let (incoming, _) = read(&event);
            assert!(incoming.headers.single("api-key").is_err(), "{event}");
        }
    }

    #[test]
    fn a_rest_api_saying_every_header_twice_is_no_larger_request() {
        let names = (0..60).map(|n| format!("x-{n}"));
        let lines = names.clone().map(|name| (name, json!("v".repeat(150))));
        let twice = names.map(|name| (name, json!(["v".repeat(150)])));
        let event = json!({
            "httpMethod": "POST", "path": "/", "headers": Value::from_iter(lines), "multiValueHeaders": Value::from_iter(twice),
        });
        let (incoming, _) = read(&event.to_string());
        assert_eq!(incoming.headers.within_limits(), Ok(()));
        assert_eq!(incoming.headers.lines("x-1").count(), 1);
    }

    #[test]
    fn an_event_that_cannot_be_read_is_answered_in_its_front_ends_form() {
        for (event, form) in [
            (
                r#"{"multiValueHeaders": {"a": 1}}"#,
                FrontEnd::MultiValueHeaders,
            ),
            (
                r#"{"multiValueHeaders": {}, "body": {}}"#,
                FrontEnd::MultiValueHeaders,
            ),
            (r#"{"rawPath": "/", "headers": 1}"#, FrontEnd::Payload2),
            (
                r#"{"headers": {}, "multiValueHeaders": {}, "body": 1}"#,
                FrontEnd::SingleValueHeaders,
            ),
            ("[]", FrontEnd::SingleValueHeaders),
            ("", FrontEnd::SingleValueHeaders),
        ] {
            let (incoming, front_end) = read(event);
            assert!(incoming.fault.is_some(), "{event}");
            assert_eq!(front_end, form, "{event}");
        }
    }

    #[test]
    fn a_member_given_twice_is_a_fault() {
        let (incoming, _) =
            read(r#"{"httpMethod": "POST", "path": "/", "body": "a", "body": "b"}"#);
        assert!(incoming.fault.is_some());
    }

    #[test]
    fn nesting_without_end_is_answered() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let ignored = format!(r#"{{"httpMethod": "POST", "path": "/", "extra": {deep}}}"#);
        assert_eq!(read(&ignored).0.fault, None);
        for member in ["headers", "body", "requestContext", "pathParameters"] {
            let event = format!(r#"{{"httpMethod": "POST", "{member}": {deep}}}"#);
            assert!(read(&event).0.fault.is_some(), "{member}");
        }
    }

    #[test]
    fn an_event_that_cannot_be_read_is_a_fault_of_the_request() {
        let unreadable = [
            json!(null),
            json!([]),
            json!("POST"),
            json!({}),
            json!({"httpMethod": "POST"}),
            json!({"path": "/"}),
            json!({"rawPath": "/", "requestContext": {"http": {}}}),
        ];
        let whole =
            |member: &str, value: Value| json!({"httpMethod": "POST", "path": "/", member: value});
        let broken = [
            whole("headers", json!(1)),
            whole("headers", json!({"api-key": 1})),
            whole("headers", json!({"api-key": null})),
            whole("multiValueHeaders", json!({"api-key": "k"})),
            whole("body", json!({})),
            whole("isBase64Encoded", json!("yes")),
            whole("pathParameters", json!([1])),
            whole("requestContext", json!("none")),
            json!({"httpMethod": "POST", "path": "/", "body": "not base64!", "isBase64Encoded": true}),
        ];
        assert_eq!(read(&whole("body", json!(null)).to_string()).0.fault, None);
        for event in unreadable.into_iter().chain(broken) {
            let (incoming, _) = read(&event.to_string());
            let fault = incoming.fault.map(CancelError::from);
            assert!(
                matches!(
                    fault,
                    Some(CancelError::Malformed(Fault {
                        kind: FaultKind::Event,
                        ..
                    }))
                ),
                "{event}"
            );
        }
    }

    proptest::proptest! {
        /// Whatever the event is, there is a request to answer.
        #[test]
        fn any_text_becomes_a_request(event in ".{0,300}") {
            let _ = read(&event);
        }
    }
}
