use std::time::Duration;

use lambda_http::tower::service_fn;
use serde_json::json;

use super::{settings::from, *};
use crate::{
    error::Fault,
    service::{Settings, tests::TestProvider},
    store::dynamodb::Tables,
};

#[test]
fn a_path_of_any_characters_becomes_a_uri() {
    for path in ["/päy ments/<\"%zz\u{1}", "/a?b#c d\\{}", "", "x"] {
        let encoded = json!({"httpMethod": "POST", "path": path, "headers": {},
            "requestContext": {"elb": {"targetGroupArn": "arn:t"}}});
        let decoded = json!({"version": "2.0", "rawPath": path, "headers": {},
            "requestContext": {"http": {"method": "POST"}}});
        for event in [encoded, decoded] {
            let (request, _) = read(&event.to_string());
            assert!(request.extensions().get::<Fault>().is_none(), "{event}");
        }
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

#[tokio::test]
async fn only_browsers_of_the_named_origins_may_call_and_only_some_providers() {
    let shop = ["https://shop.example".to_owned()];
    assert!(cors::layer::<TestProvider<true>>(&[]).unwrap().is_none());
    assert!(cors::layer::<TestProvider<false>>(&shop).unwrap().is_none());
    for wrong in ["*", "shop.example", "https://shop.example/", "https://"] {
        assert!(cors::layer::<TestProvider<true>>(&[wrong.to_owned()]).is_err(), "{wrong}");
    }

    let inner =
        |_: Request<Bytes>| async { Ok::<_, Infallible>(Response::new("called".to_owned())) };
    let layer = cors::layer::<TestProvider<true>>(&shop).unwrap().unwrap();
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
