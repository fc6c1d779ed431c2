//! A request as each event source delivers it to Lambda.
//!
//! What an event source makes of a request is AWS's documentation of its events, and captures of
//! live ones where it is silent: HTTP APIs decode path and parameters, the others do not; HTTP APIs
//! and Function URLs join header lines of one name with a comma.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use crate::Request;

/// The event sources, by the names that the literal events use.
pub const SOURCES: [&str; 7] = [
    "http_api_2.0",
    "http_api_1.0",
    "rest_api",
    "load_balancer",
    "load_balancer_multi_value",
    "function_url",
    "vpc_lattice",
];

/// What RFC 3986 leaves as it is.
pub(crate) const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Headers that intermediaries or HTTP clients add.
const ADDED: [&str; 6] = [
    "content-length",
    "host",
    "x-amzn-trace-id",
    "x-forwarded-for",
    "x-forwarded-port",
    "x-forwarded-proto",
];

/// In what an event source, or its configuration, may differ.
#[derive(Debug, Clone, Copy, Default)]
pub struct Variant {
    /// A stage, or a base path mapping, in front of the path: one of [`PREFIXES`].
    pub prefix: usize,
    /// What of the path parameters is there: one of [`PARAMETERS`].
    pub parameters: usize,
    /// Whether the client has percent-encoded every byte of the id, or only those that must be.
    pub escaped: bool,
    /// Whether the source has base64-encoded a body that is text.
    pub base64: bool,
    /// The case of the header names: one of [`NAMES`].
    pub names: usize,
    /// How values of one header are spread over its lines: one of [`LINES`].
    pub lines: usize,
}

/// No stage, a stage, a base path mapping.
pub const PREFIXES: [&str; 3] = ["", "/prod", "/billing/v2"];

/// The route's own; `null`, no member, or the whole path, as routes of `$default` and `{proxy+}`
/// have it.
pub const PARAMETERS: [&str; 4] = ["own", "null", "absent", "proxy"];

/// The spellings of a header's name.
pub const NAMES: [fn(&str) -> String; 3] = [str::to_lowercase, titled, str::to_uppercase];

/// As the client sent them; one line for each value; each line twice.
pub const LINES: [fn(&str) -> Vec<String>; 3] = [
    |value| vec![value.to_owned()],
    |value| value.split(',').map(str::to_owned).collect(),
    |value| vec![value.to_owned(); 2],
];

/// `x-api-key` as `X-Api-Key`.
fn titled(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    });
    words.collect::<Vec<_>>().join("-")
}

/// The name of a route's parameter: `payment_id` of `/payments/{payment_id}/cancel`.
#[must_use]
pub fn parameter(route: &str) -> &str {
    let named = route.split_once('{').and_then(|(_, rest)| rest.split_once('}'));
    named.map_or("", |(name, _)| name)
}

/// The request in a complete event, which is one of an HTTP API, payload 2.0, or of a Function URL.
///
/// # Errors
/// It is not.
pub fn request(event: &str) -> Result<Request> {
    let event: Value = serde_json::from_str(event)?;
    let text = |path: &str| event.pointer(path).and_then(Value::as_str);
    let path = text("/rawPath").context("no rawPath")?;
    let stage = text("/requestContext/stage").context("no stage")?;
    let behind = path.strip_prefix(&format!("/{stage}")).filter(|rest| rest.starts_with('/'));
    let path = behind.unwrap_or(path);
    // An HTTP API decodes the path, and a Function URL does not.
    let path = match text("/requestContext/domainName") {
        Some(domain) if domain.contains(".lambda-url.") => path.to_owned(),
        _ => encoded(path),
    };
    let mut headers: BTreeMap<String, String> =
        serde_json::from_value(event.get("headers").context("no headers")?.clone())?;
    headers.retain(|name, _| !ADDED.contains(&&**name));
    let base64 = event.get("isBase64Encoded") == Some(&Value::Bool(true));
    let body = match text("/body") {
        Some(body) if base64 => Some(STANDARD.decode(body).map_err(anyhow::Error::msg)?),
        body => body.map(|body| body.as_bytes().to_vec()),
    };
    Ok(Request {
        method: text("/requestContext/http/method").context("no method")?.to_owned(),
        path,
        headers,
        body,
    })
}

/// A decoded path as it was sent.
fn encoded(path: &str) -> String {
    let segments = path.split('/');
    let segments = segments.map(|segment| utf8_percent_encode(segment, RESERVED).to_string());
    segments.collect::<Vec<_>>().join("/")
}

/// The part before the route in an encoded path, and the decoded id, if the path ends like the
/// route.
fn named(route: &str, path: &str) -> Option<(String, String)> {
    let mut segments: Vec<&str> = path.split('/').collect();
    let mut id = None;
    for expected in route.rsplit('/').take_while(|segment| !segment.is_empty()) {
        let segment = segments.pop()?;
        if expected.starts_with('{') {
            id = percent_decode_str(segment).decode_utf8().ok();
        } else if segment != expected {
            return None;
        }
    }
    let front = segments.join("/");
    Some((front, id?.into_owned()))
}

/// The event of an HTTP API, payload 2.0.
#[must_use]
pub fn http_api(request: &Request, route: &str) -> Value {
    event(request, route, "http_api_2.0", Variant::default())
}

/// The event in which `source`, one of [`SOURCES`], delivers `request`.
///
/// # Panics
/// There is no such source.
#[must_use]
#[expect(clippy::indexing_slicing, reason = "a variant's members are places in these lists")]
pub fn event(request: &Request, route: &str, source: &str, variant: Variant) -> Value {
    let parameter = parameter(route);
    let place = format!("{{{parameter}}}");
    let prefix = PREFIXES[variant.prefix];
    let (encoded, decoded, id) = match named(route, &request.path) {
        Some((front, id)) => {
            let encoded_id: String = if variant.escaped {
                id.bytes().map(|byte| format!("%{byte:02X}")).collect()
            } else {
                utf8_percent_encode(&id, RESERVED).to_string()
            };
            let path = |id: &str| format!("{prefix}{front}{}", route.replace(&place, id));
            (path(&encoded_id), path(&id), Some((encoded_id, id)))
        }
        None => {
            let decoded = percent_decode_str(&request.path).decode_utf8_lossy();
            let decoded = format!("{prefix}{decoded}");
            (format!("{prefix}{}", request.path), decoded, None)
        }
    };
    let parameters = |id: Option<&str>, path: &str| match (PARAMETERS[variant.parameters], id) {
        ("own", Some(id)) => json!({ parameter: id }),
        ("proxy", _) => json!({ "proxy": path.trim_start_matches('/') }),
        _ => Value::Null,
    };
    let with_parameters = |mut event: Value, parameters: Value| {
        if PARAMETERS[variant.parameters] != "absent" {
            event["pathParameters"] = parameters;
        }
        event
    };

    let domain = match source {
        "function_url" => "u1.lambda-url.us-east-1.on.aws",
        _ => "pay.example.com",
    };
    let mut headers = request.headers.clone();
    let added = ["host", "x-forwarded-for", "x-forwarded-port", "x-forwarded-proto"];
    for (name, value) in added.into_iter().zip([domain, "203.0.113.7", "443", "https"]) {
        headers.insert(name.to_owned(), value.to_owned());
    }
    let trace = "Root=1-65a0ad08-8603f1b402cc0ca93774da00";
    headers.insert("x-amzn-trace-id".to_owned(), trace.to_owned());
    if let Some(body) = &request.body {
        headers.insert("content-length".to_owned(), body.len().to_string());
    }
    let lines: BTreeMap<String, Vec<String>> = headers
        .iter()
        .map(|(name, value)| (NAMES[variant.names](name), LINES[variant.lines](value)))
        .collect();
    let joined: BTreeMap<_, _> =
        lines.iter().map(|(name, lines)| (name, lines.join(","))).collect();
    let last: BTreeMap<_, _> = lines.iter().map(|(name, lines)| (name, lines.last())).collect();

    let text = request.body.as_ref().map(|body| String::from_utf8(body.clone()));
    let (body, base64) = match (&request.body, text) {
        (None, _) | (_, None) => (None, variant.base64),
        (Some(_), Some(Ok(text))) if !variant.base64 => (Some(text), false),
        (Some(body), _) => (Some(STANDARD.encode(body)), true),
    };
    let method = &request.method;
    let payload_2 = |path: &str, route_key: &str| {
        let mut event = json!({
            "version": "2.0", "routeKey": route_key, "rawPath": path, "rawQueryString": "",
            "headers": joined,
            "requestContext": {
                "accountId": "123456789012", "domainName": domain, "requestId": "r1",
                "routeKey": route_key, "stage": "$default",
                "http": {
                    "method": method, "path": path, "protocol": "HTTP/1.1",
                    "sourceIp": "203.0.113.7", "userAgent": request.headers.get("user-agent"),
                },
                "time": "12/Jan/2024:03:07:52 +0000", "timeEpoch": 1_705_028_872_104_u64,
            },
            "isBase64Encoded": base64,
        });
        if let Some(body) = &body {
            event["body"] = json!(body);
        }
        event
    };
    let payload_1 = |path: &str| {
        json!({
            "resource": route, "path": path, "httpMethod": method,
            "headers": last, "multiValueHeaders": lines,
            "queryStringParameters": null, "multiValueQueryStringParameters": null,
            "stageVariables": null,
            "requestContext": {
                "accountId": "123456789012", "resourcePath": route, "httpMethod": method,
                "path": path, "stage": "prod",
            },
            "body": body, "isBase64Encoded": base64,
        })
    };
    let balancer = |query: &str, headers: &str, values: Value| {
        let group = "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/t/1";
        json!({
            "requestContext": { "elb": { "targetGroupArn": group } },
            "httpMethod": method, "path": encoded, query: {}, headers: values,
            "body": body.clone().unwrap_or_default(), "isBase64Encoded": base64,
        })
    };
    let (encoded_id, id) = id.as_ref().map(|(encoded, id)| (&**encoded, &**id)).unzip();
    match source {
        "http_api_2.0" => {
            let event = payload_2(&decoded, &format!("POST {route}"));
            with_parameters(event, parameters(id, &decoded))
        }
        "http_api_1.0" => {
            let mut event = payload_1(&decoded);
            event["version"] = json!("1.0");
            with_parameters(event, parameters(id, &decoded))
        }
        "rest_api" => with_parameters(payload_1(&encoded), parameters(encoded_id, &encoded)),
        "load_balancer" => balancer("queryStringParameters", "headers", json!(joined)),
        "load_balancer_multi_value" => {
            balancer("multiValueQueryStringParameters", "multiValueHeaders", json!(lines))
        }
        "function_url" => payload_2(&encoded, "$default"),
        "vpc_lattice" => json!({
            "version": "2.0", "path": encoded, "method": method, "headers": lines,
            "queryStringParameters": {}, "body": body, "isBase64Encoded": base64,
            "requestContext": {
                "serviceNetworkArn": "arn:aws:vpc-lattice:us-east-1:123456789012:servicenetwork/n",
                "serviceArn": "arn:aws:vpc-lattice:us-east-1:123456789012:service/s",
                "targetGroupArn": "arn:aws:vpc-lattice:us-east-1:123456789012:targetgroup/t",
                "region": "us-east-1", "timeEpoch": "1705028872104000",
            },
        }),
        other => unreachable!("{other} is no event source"),
    }
}
