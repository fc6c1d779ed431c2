//! The HTTP events that Lambda delivers, and the responses that their sources take.
//!
//! `lambda_http` parses them. Its own conversion into a request panics on some malformed events and
//! keeps the last of several header lines, so the conversion is made here.

use std::{
    collections::HashMap,
    panic::{AssertUnwindSafe, catch_unwind},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Uri, uri::PathAndQuery};
use lambda_http::{
    aws_lambda_events::{
        alb::{AlbTargetGroupRequest, AlbTargetGroupResponse},
        apigw::{
            ApiGatewayProxyRequest, ApiGatewayProxyResponse, ApiGatewayV2httpRequest,
            ApiGatewayV2httpResponse,
        },
        vpc_lattice::{VpcLatticeRequestV2, VpcLatticeResponse},
    },
    request::LambdaRequest,
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};

use crate::{
    error::{Fault, FaultKind},
    request::PathParameters,
    route,
};

/// The service that invoked the function, and so the form of its response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventSource {
    /// A REST API, or an HTTP API with payload format 1.0.
    RestApi,
    /// An HTTP API with payload format 2.0, or a Function URL.
    HttpApi,
    /// An Application Load Balancer, with or without multi-value headers.
    LoadBalancer,
    /// VPC Lattice, event structure version 2.0.
    Lattice,
}

impl EventSource {
    /// The source of an event that cannot be read. It still takes its own form of response only.
    fn of_unreadable(event: &str) -> Self {
        let event = serde_json::from_str::<Value>(event).unwrap_or_default();
        let has = |member| event.pointer(member).is_some_and(|value| !value.is_null());
        if has("/requestContext/elb") {
            Self::LoadBalancer
        } else if has("/requestContext/serviceNetworkArn") {
            Self::Lattice
        } else if !has("/httpMethod") && (has("/rawPath") || has("/requestContext/http")) {
            Self::HttpApi
        } else {
            Self::RestApi
        }
    }
}

/// What the parsed event of a REST API, or of an HTTP API in its form, does not hold.
#[derive(Deserialize)]
struct Payload {
    version: Option<IgnoredAny>,
}

/// Converts an event into its request. An event that is not an HTTP request becomes a request with
/// a [`Fault`] among its extensions, which the service refuses in the provider's envelope.
#[must_use]
pub fn read(event: &str) -> (Request<Bytes>, EventSource) {
    // The parser panics on more header names than a map can hold.
    let parsed = catch_unwind(AssertUnwindSafe(|| serde_json::from_str::<LambdaRequest>(event)));
    let read = match parsed {
        Ok(Ok(LambdaRequest::ApiGatewayV1(parsed))) => {
            // An HTTP API, which names a payload version, decodes the path and its parameters; a
            // REST API passes them on as the client sent them.
            let payload = serde_json::from_str::<Payload>(event);
            let decoded = payload.is_ok_and(|payload| payload.version.is_some());
            Some((rest_api(parsed, decoded), EventSource::RestApi))
        }
        Ok(Ok(LambdaRequest::ApiGatewayV2(event))) => Some((http_api(event), EventSource::HttpApi)),
        Ok(Ok(LambdaRequest::Alb(event))) => {
            Some((load_balancer(event), EventSource::LoadBalancer))
        }
        Ok(Ok(LambdaRequest::VpcLatticeV2(event))) => Some((lattice(event), EventSource::Lattice)),
        Ok(Ok(_) | Err(_)) | Err(_) => None,
    };
    let (request, source) = read.unwrap_or_else(|| (None, EventSource::of_unreadable(event)));
    let request = request.unwrap_or_else(|| {
        let mut request = Request::new(Bytes::new());
        let fault = Fault::new(FaultKind::Event, "the Lambda event is not an HTTP request");
        request.extensions_mut().insert(fault);
        request
    });
    (request, source)
}

fn rest_api(event: ApiGatewayProxyRequest, decoded: bool) -> Option<Request<Bytes>> {
    let headers = merged(event.headers, event.multi_value_headers);
    let body = body(event.body, event.is_base64_encoded)?;
    request(event.http_method, event.path, decoded, event.path_parameters, headers, body)
}

fn http_api(event: ApiGatewayV2httpRequest) -> Option<Request<Bytes>> {
    // An HTTP API decodes the path, a Function URL does not (seen in captures of live events,
    // hotsock/voker#8 and aws/chalice#511).
    let domain = event.request_context.domain_name.unwrap_or_default();
    let decoded = event.version.is_some() && !domain.contains(".lambda-url.");
    let body = body(event.body, event.is_base64_encoded)?;
    let method = event.request_context.http.method;
    request(method, event.raw_path, decoded, event.path_parameters, event.headers, body)
}

fn load_balancer(event: AlbTargetGroupRequest) -> Option<Request<Bytes>> {
    let headers = merged(event.headers, event.multi_value_headers);
    let body = body(event.body, event.is_base64_encoded)?;
    request(event.http_method, event.path, false, HashMap::new(), headers, body)
}

fn lattice(event: VpcLatticeRequestV2) -> Option<Request<Bytes>> {
    let body = body(event.body, event.is_base64_encoded)?;
    request(event.method?, event.path, false, HashMap::new(), event.headers, body)
}

/// `decoded` tells whether the source has decoded the path and its parameters.
fn request(
    method: Method,
    path: Option<String>,
    decoded: bool,
    mut parameters: HashMap<String, String>,
    headers: HeaderMap,
    body: Bytes,
) -> Option<Request<Bytes>> {
    if !decoded {
        for value in parameters.values_mut() {
            *value = route::decode(value).into_owned();
        }
    }
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = uri(&path?, decoded)?;
    *request.headers_mut() = headers;
    request.extensions_mut().insert(PathParameters(parameters));
    Some(request)
}

/// All header lines. API Gateway sends every line in both maps, `single` with the last of a name.
fn merged(single: HeaderMap, mut lines: HeaderMap) -> HeaderMap {
    for (name, value) in &single {
        if !lines.get_all(name).iter().any(|line| line == value) {
            lines.append(name, value.clone());
        }
    }
    lines
}

/// What must be percent-encoded in a path (RFC 3986, section 3.3).
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The percent-encoded path, as a URI. `None` if it is longer than one may be.
fn uri(path: &str, decoded: bool) -> Option<Uri> {
    const NOT_IN_DECODED: &AsciiSet = &NOT_IN_PATH.add(b'%');
    let encoded = if decoded {
        utf8_percent_encode(path, NOT_IN_DECODED).to_string()
    } else {
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        utf8_percent_encode(path, NOT_IN_PATH).to_string()
    };
    let rooted = if encoded.starts_with('/') { encoded } else { format!("/{encoded}") };
    rooted.parse::<PathAndQuery>().ok().map(Uri::from)
}

fn body(body: Option<String>, base64: bool) -> Option<Bytes> {
    let body = body.unwrap_or_default();
    if base64 { STANDARD.decode(body).ok().map(Bytes::from) } else { Some(Bytes::from(body)) }
}

/// The response in the form that `source` takes, as JSON.
#[must_use]
pub fn write(response: Response<String>, source: EventSource) -> Box<RawValue> {
    // Strings, numbers and maps of strings always serialize. Anything else would become the
    // source's own 5xx.
    fn raw(response: &impl Serialize) -> Box<RawValue> {
        to_raw_value(response).unwrap_or_else(|_| RawValue::NULL.to_owned())
    }
    let (parts, body) = response.into_parts();
    let (status, headers, body) = (parts.status.as_u16(), parts.headers, Some(body.into()));
    match source {
        EventSource::RestApi => {
            let mut response = ApiGatewayProxyResponse::default();
            response.status_code = status.into();
            response.multi_value_headers = headers;
            response.body = body;
            raw(&response)
        }
        EventSource::HttpApi => {
            let mut response = ApiGatewayV2httpResponse::default();
            response.status_code = status.into();
            response.headers = headers;
            response.body = body;
            raw(&response)
        }
        EventSource::LoadBalancer => {
            let mut response = AlbTargetGroupResponse::default();
            response.status_code = status.into();
            // It takes one of both, by its setting, and ignores the other.
            response.headers = headers.clone();
            response.multi_value_headers = headers;
            response.body = body;
            raw(&response)
        }
        EventSource::Lattice => {
            let mut response = VpcLatticeResponse::default();
            response.status_code = status;
            response.headers = headers;
            response.body = body;
            raw(&response)
        }
    }
}
