use std::time::Duration;

use lambda_http::tower::service_fn;
use serde_json::{Value, json};

use super::{settings::from, *};
use crate::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError},
    error::{Fault, FaultKind},
    headers::HeaderMapExt,
    provider::{Body, Exchange, Statuses},
    request::{self, PathParameters},
    route,
    service::Settings,
    store::dynamodb::Tables,
};

const ROUTE: &str = "/payments/{payment_id}/cancel";

/// The same request as each source delivers it: path, stage, headers and body in the form that AWS
/// documents for it.
fn every_source() -> Vec<(&'static str, Value, EventSource)> {
    let rest = json!({
        "resource": ROUTE, "path": "/payments/pay_1/cancel", "httpMethod": "POST",
        "headers": {"Api-Key": "k"}, "multiValueHeaders": {"Api-Key": ["k"]},
        "queryStringParameters": null, "multiValueQueryStringParameters": null,
        "pathParameters": {"payment_id": "pay_1"}, "stageVariables": null,
        "requestContext": {"resourceId": "3pjgi2", "resourcePath": ROUTE, "httpMethod": "POST",
            "path": "/prod/payments/pay_1/cancel", "stage": "prod", "requestTimeEpoch": 1},
        "body": "{}", "isBase64Encoded": false,
    });
    let mut http_1 = rest.clone();
    http_1["version"] = json!("1.0");
    let http_2 = json!({
        "version": "2.0", "routeKey": "POST /payments/{payment_id}/cancel",
        "rawPath": "/prod/payments/pay_1/cancel", "rawQueryString": "",
        "headers": {"api-key": "k"}, "pathParameters": {"payment_id": "pay_1"},
        "requestContext": {"domainName": "a.execute-api.eu-west-1.amazonaws.com", "stage": "prod",
            "http": {"method": "POST", "path": "/prod/payments/pay_1/cancel",
                "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "curl"}},
        "body": "{}", "isBase64Encoded": false,
    });
    let url = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": "/payments/pay_1/cancel",
        "rawQueryString": "", "headers": {"api-key": "k"},
        "requestContext": {"domainName": "u.lambda-url.eu-west-1.on.aws", "stage": "$default",
            "http": {"method": "POST", "path": "/payments/pay_1/cancel", "protocol": "HTTP/1.1",
                "sourceIp": "192.0.2.1", "userAgent": "curl"}},
        "body": "e30=", "isBase64Encoded": true,
    });
    let balancer = json!({
        "requestContext": {"elb": {"targetGroupArn": "arn:aws:elasticloadbalancing:t/1"}},
        "httpMethod": "POST", "path": "/payments/pay_1/cancel", "queryStringParameters": {},
        "headers": {"api-key": "k"}, "body": "{}", "isBase64Encoded": false,
    });
    let mut balancer_multi = balancer.clone();
    balancer_multi.as_object_mut().unwrap().remove("headers");
    balancer_multi["multiValueHeaders"] = json!({"api-key": ["k"]});
    let lattice = json!({
        "version": "2.0", "path": "/payments/pay_1/cancel?x=1", "method": "POST",
        "headers": {"api-key": ["k"]}, "queryStringParameters": {"x": ["1"]},
        "body": "e30=", "isBase64Encoded": true,
        "requestContext": {"serviceNetworkArn": "arn:n", "serviceArn": "arn:s",
            "targetGroupArn": "arn:t", "region": "eu-west-1", "timeEpoch": "1690497599177430"},
    });
    vec![
        ("REST API", rest, EventSource::RestApi),
        ("HTTP API, payload 1.0", http_1, EventSource::RestApi),
        ("HTTP API, payload 2.0", http_2, EventSource::HttpApi),
        ("Function URL", url, EventSource::HttpApi),
        ("load balancer", balancer, EventSource::LoadBalancer),
        ("load balancer, multi-value headers", balancer_multi, EventSource::LoadBalancer),
        ("VPC Lattice", lattice, EventSource::Lattice),
    ]
}

fn payment_id(request: &Request<Bytes>) -> Option<String> {
    let parameters = request.extensions().get::<PathParameters>();
    let given = parameters.and_then(|all| all.get("payment_id"));
    route::payment_id(ROUTE, request.uri().path(), given)
}

fn fault(event: &str) -> Option<FaultKind> {
    let (request, _) = read(event);
    request.extensions().get::<Fault>().map(|fault| fault.kind)
}

#[test]
fn every_source_delivers_the_same_request() {
    for (name, event, source) in every_source() {
        let (request, read_as) = read(&event.to_string());
        assert_eq!(read_as, source, "{name}");
        assert!(request.extensions().get::<Fault>().is_none(), "{name}");
        assert_eq!(request.method(), "POST", "{name}");
        assert_eq!(payment_id(&request).as_deref(), Some("pay_1"), "{name}");
        assert_eq!(request.headers().single("Api-Key"), Ok(Some("k")), "{name}");
        assert_eq!(request.headers().len(), 1, "{name}");
        assert_eq!(request.body(), "{}", "{name}");
    }
}

#[test]
fn every_source_gets_the_form_of_response_that_it_takes() {
    let single = json!({"x-request-id": "1"});
    let lines = json!({"x-request-id": ["1"]});
    for (source, members) in [
        (EventSource::RestApi, json!({"headers": {}, "multiValueHeaders": lines})),
        (EventSource::HttpApi, json!({"headers": single, "multiValueHeaders": {}, "cookies": []})),
        (
            EventSource::LoadBalancer,
            json!({"headers": single, "multiValueHeaders": lines, "statusDescription": null}),
        ),
        (EventSource::Lattice, json!({"headers": single})),
    ] {
        let response = Response::builder().header("x-request-id", "1");
        let response = write(response.body("{}".to_owned()).unwrap(), source);
        let mut expected = json!({"statusCode": 200, "body": "{}", "isBase64Encoded": false});
        let members = members.as_object().unwrap().clone();
        expected.as_object_mut().unwrap().extend(members);
        assert_eq!(serde_json::to_value(&response).unwrap(), expected, "{source:?}");
    }
}

#[test]
fn no_header_line_is_lost() {
    let (_, mut event, _) = every_source().swap_remove(0);
    event["headers"] = json!({"api-key": "b", "only-here": "c"});
    event["multiValueHeaders"] = json!({"Api-Key": ["a", "b"]});
    let (request, _) = read(&event.to_string());
    let lines = request.headers().get_all("api-key").iter();
    assert_eq!(lines.collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(request.headers()["only-here"], "c");
}

#[test]
fn the_path_is_decoded_once_whoever_does_it() {
    for (decoded_by_source, sent) in [(true, "pay%5F1"), (false, "pay%255F1")] {
        let (_, mut event, _) = every_source().swap_remove(if decoded_by_source { 2 } else { 0 });
        let path = if decoded_by_source { "rawPath" } else { "path" };
        event[path] = json!(format!("/payments/{sent}/cancel"));
        event["pathParameters"] = json!({ "payment_id": sent });
        let (request, _) = read(&event.to_string());
        assert_eq!(payment_id(&request).as_deref(), Some("pay%5F1"), "{sent}");
        event["pathParameters"] = json!(null);
        let (request, _) = read(&event.to_string());
        assert_eq!(payment_id(&request).as_deref(), Some("pay%5F1"), "{sent}");
    }
}

#[test]
fn a_path_of_any_characters_becomes_a_uri() {
    for (index, path) in [(0, "/päy ments/<\"%zz\u{1}"), (2, "/a?b#c d\\{}"), (4, ""), (6, "x")] {
        let (name, mut event, _) = every_source().swap_remove(index);
        let member = if index == 2 { "rawPath" } else { "path" };
        event[member] = json!(path);
        assert_eq!(fault(&event.to_string()), None, "{name}");
    }
}

#[test]
fn an_unreadable_event_gets_a_response_in_its_sources_format() {
    for (event, source) in [
        (r#"{"requestContext": {"elb": {}}, "headers": {"a": 1}}"#, EventSource::LoadBalancer),
        (r#"{"rawPath": "/", "headers": 1}"#, EventSource::HttpApi),
        (r#"{"requestContext": {"serviceNetworkArn": "n"}, "method": 1}"#, EventSource::Lattice),
        (r#"{"httpMethod": "POST", "headers": {}, "body": 1}"#, EventSource::RestApi),
        ("[]", EventSource::RestApi),
        ("", EventSource::RestApi),
    ] {
        let (request, read_as) = read(event);
        assert!(request.extensions().get::<Fault>().is_some(), "{event}");
        assert_eq!(read_as, source, "{event}");
    }
}

#[test]
fn an_event_that_is_no_http_request_is_a_fault_of_the_request() {
    for event in [
        "null",
        "[]",
        "\"POST\"",
        "{}",
        r#"{"httpMethod": "POST"}"#,
        r#"{"rawPath": "/", "requestContext": {"http": {}}}"#,
    ] {
        assert_eq!(fault(event), Some(FaultKind::Event), "{event}");
    }
    for (name, event, _) in every_source() {
        for (member, value) in [
            ("headers", json!(1)),
            ("headers", json!({"api-key": {}})),
            ("headers", json!({"api key": "k"})),
            ("body", json!({})),
            ("body", json!("not base64!")),
            ("isBase64Encoded", json!("yes")),
            ("requestContext", json!("none")),
        ] {
            let mut event = event.clone();
            event["isBase64Encoded"] = json!(true);
            event[member] = value;
            let event = event.to_string();
            assert_eq!(fault(&event), Some(FaultKind::Event), "{name}: {event}");
        }
        let names = (0..40_000).map(|n| (format!("x-{n}"), json!("v")));
        let mut event = event;
        event["headers"] = Value::from_iter(names);
        assert_eq!(fault(&event.to_string()), Some(FaultKind::Event), "{name}");
    }
    let (_, mut lattice, _) = every_source().swap_remove(6);
    lattice["method"] = Value::Null;
    assert_eq!(fault(&lattice.to_string()), Some(FaultKind::Event));
}

#[test]
fn deep_nesting_gets_a_response() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for member in ["headers", "body", "requestContext", "pathParameters"] {
        let event = format!(r#"{{"httpMethod": "POST", "{member}": {deep}}}"#);
        assert!(fault(&event).is_some(), "{member}");
    }
}

proptest::proptest! {
    /// Whatever the event is, there is a request to respond to.
    #[test]
    fn any_text_becomes_a_request(event in ".{0,300}") {
        let _ = read(&event);
    }
}

#[test]
fn settings_are_the_environments_or_else_the_documented_defaults() {
    let defaults = LambdaSettings {
        service: Settings {
            credential_ttl: Duration::from_secs(60),
            issued_keys_only: false,
            signature_single_use: false,
        },
        tables: Tables { payments: "payments".into(), credentials: "credentials".into() },
        prime_connection: true,
        cors_origins: vec![],
    };
    assert_eq!(from(|_| None), Ok(defaults.clone()));
    let empty = |name: &str| (!name.ends_with("_TABLE")).then(String::new);
    assert_eq!(from(empty), Ok(defaults));
    let given = |name| {
        let value = match name {
            "CREDENTIAL_TTL_SECONDS" => "0",
            "ISSUED_KEYS_ONLY" => "true",
            "PAYMENTS_TABLE" => "p",
            "CREDENTIALS_TABLE" => "c",
            "CORS_ORIGINS" => "https://a.example, https://b.example",
            _ => "false",
        };
        Some(value.to_owned())
    };
    let expected = LambdaSettings {
        service: Settings {
            credential_ttl: Duration::ZERO,
            issued_keys_only: true,
            signature_single_use: false,
        },
        tables: Tables { payments: "p".into(), credentials: "c".into() },
        prime_connection: false,
        cors_origins: vec!["https://a.example".into(), "https://b.example".into()],
    };
    assert_eq!(from(given), Ok(expected));
}

#[test]
fn an_invalid_setting_is_refused_and_named() {
    for (wrong, value, rule) in [
        ("CREDENTIAL_TTL_SECONDS", "6O", "a whole number of seconds"),
        ("CREDENTIAL_TTL_SECONDS", "-1", "a whole number of seconds"),
        ("ISSUED_KEYS_ONLY", "yes", "true or false"),
        ("SIGNATURE_SINGLE_USE", "True", "true or false"),
        ("PRIME_CONNECTION", "no", "true or false"),
    ] {
        let given = |name| (name == wrong).then(|| value.to_owned());
        let refused = from(given).unwrap_err();
        assert_eq!(refused, format!("{wrong} is {value:?} and must be {rule}"));
    }
    for table in ["PAYMENTS_TABLE", "CREDENTIALS_TABLE"] {
        let refused = from(|name| (name == table).then(String::new)).unwrap_err();
        assert_eq!(refused, format!("{table} is empty and must be a table's name"));
    }
}

/// An API that browsers may call, or not.
struct Api<const BROWSERS: bool>;

impl<const BROWSERS: bool> Provider for Api<BROWSERS> {
    const NAME: &'static str = "api";
    const ROUTE: &'static str = "/{id}";
    const STATUSES: Statuses = Statuses { cancelable: &[], canceled: "" };
    const BODY: Body = Body::Bytes;
    const BROWSER_HEADERS: &'static [&'static str] = if BROWSERS { &["app-id"] } else { &[] };

    fn identify<'r>(_: &'r request::Request<'_>) -> Result<Credential<'r>, CancelError> {
        Err(CancelError::Unauthenticated)
    }

    fn read(_: &request::Request<'_>, _: &Merchant) -> Result<CancelCommand, CancelError> {
        Err(CancelError::Internal)
    }

    fn write(_: &Exchange<'_, '_>) -> Response<String> {
        Response::default()
    }
}

#[tokio::test]
async fn only_browsers_of_the_named_origins_may_call_and_only_some_providers() {
    let shop = ["https://shop.example".to_owned()];
    assert!(cors::layer::<Api<true>>(&[]).unwrap().is_none());
    assert!(cors::layer::<Api<false>>(&shop).unwrap().is_none());
    for wrong in ["*", "shop.example", "https://shop.example/", "https://"] {
        assert!(cors::layer::<Api<true>>(&[wrong.to_owned()]).is_err(), "{wrong}");
    }

    let inner =
        |_: Request<Bytes>| async { Ok::<_, Infallible>(Response::new("called".to_owned())) };
    let layer = cors::layer::<Api<true>>(&shop).unwrap().unwrap();
    let service = layer.layer(service_fn(inner));
    let ask = async |method, origin: &str| {
        let request = Request::builder()
            .method(method)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .body(Bytes::new());
        let Ok(response) = service.clone().call(request.unwrap()).await;
        let header = |name: &str| {
            let value = response.headers().get(format!("access-control-{name}"));
            value.map(|value| value.to_str().unwrap().to_owned())
        };
        let headers = ["allow-origin", "allow-headers", "expose-headers"].map(header);
        (response.body().clone(), headers.map(Option::unwrap_or_default))
    };
    let (body, [origin, headers, _]) = ask("OPTIONS", "https://shop.example").await;
    assert_eq!([&body, &origin, &headers], ["", "https://shop.example", "app-id"]);
    let (body, [origin, _, exposed]) = ask("POST", "https://shop.example").await;
    assert_eq!([&*body, &*origin], ["called", "https://shop.example"]);
    assert!(exposed.contains("retry-after"), "{exposed}");
    for method in ["OPTIONS", "POST"] {
        let (_, [origin, ..]) = ask(method, "https://other.example").await;
        assert_eq!(origin, "", "{method}");
    }
}
