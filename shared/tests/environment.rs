//! What the SDK and the log read of a function's environment, seen in a sent request and in the
//! log.
//!
//! Each case runs in its own process, because variables belong to the process.
#![expect(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    process::Command,
    thread,
};

use aws_smithy_http_client::test_util::capture_request;
use shared::{
    store::dynamodb::{DynamoDb, Tables, from_environment},
    telemetry::{self, Targets},
};
use tracing::{Level, error, info};

/// Prints where two requests go, and as whom. The tests below run it with their own variables.
#[tokio::test]
#[ignore = "a part of the other tests"]
async fn print_requests() {
    let config = from_environment().await;
    // One identity cache for both, as in a function.
    for _ in 0..2 {
        let (client, captured) = capture_request(None);
        let config = config.to_builder().http_client(client).build();
        DynamoDb::new(&config, Tables::default()).prime("p").await;
        let request = captured.expect_request();
        let header = |name| request.headers().get(name).unwrap_or("none");
        let scope = header("authorization").split([' ', ',']).nth(1).unwrap();
        let token = header("x-amz-security-token");
        println!("\nREQUEST {} {scope} {token} {}", request.uri(), header("user-agent"));
    }
}

/// Logs at two levels, then panics. A test below runs it with its own variables.
#[test]
#[ignore = "a part of another test"]
fn log_and_panic() {
    telemetry::init(io::stdout, Targets::new().with_default(Level::INFO));
    info!("an info");
    error!("an error");
    panic!("a secret");
}

/// What that test above prints, in a process with these variables alone.
fn output(test: &str, variables: &[(&str, &str)]) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--ignored", "--nocapture"])
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap();
    String::from_utf8(child.stdout).unwrap()
}

/// Both requests of a process with these variables alone.
fn requests(variables: &[(&str, &str)]) -> [String; 2] {
    let output = output("print_requests", variables);
    let lines = output.lines().filter_map(|line| line.strip_prefix("REQUEST "));
    let lines: Vec<_> = lines.map(str::to_owned).collect();
    lines.try_into().unwrap_or_else(|_| panic!("{output}"))
}

const KEYS: [(&str, &str); 3] = [
    ("AWS_ACCESS_KEY_ID", "AKID"),
    ("AWS_SECRET_ACCESS_KEY", "secret"),
    ("AWS_REGION", "eu-west-1"),
];

/// The first request with the usual keys and these variables.
fn request(variables: &[(&str, &str)]) -> String {
    let [first, _] = requests(&[&KEYS, variables].concat());
    first
}

#[test]
fn a_function_calls_the_endpoint_that_its_environment_names() {
    let in_region = "https://dynamodb.eu-west-1.amazonaws.com/ ";
    let general = ("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let service = ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:2");
    let cases: [(&[_], _); 8] = [
        (&[], in_region),
        (&[("AWS_DEFAULT_REGION", "us-east-1")], in_region),
        (&[("AWS_USE_FIPS_ENDPOINT", "true")], "https://dynamodb-fips.eu-west-1.amazonaws.com/ "),
        (&[("AWS_USE_DUALSTACK_ENDPOINT", "true")], "https://dynamodb.eu-west-1.api.aws/ "),
        (&[("AWS_REGION", "cn-north-1")], "https://dynamodb.cn-north-1.amazonaws.com.cn/ "),
        (&[("AWS_REGION", "eusc-de-east-1")], "https://dynamodb.eusc-de-east-1.amazonaws.eu/ "),
        (&[general], "http://127.0.0.1:1/ "),
        (&[general, service], "http://127.0.0.1:2/ "),
    ];
    for (variables, endpoint) in cases {
        let request = request(variables);
        assert!(request.starts_with(endpoint), "{request}");
    }
    let [request, _] = requests(&[KEYS[0], KEYS[1], ("AWS_DEFAULT_REGION", "us-east-1")]);
    assert!(request.starts_with("https://dynamodb.us-east-1."), "{request}");
}

#[test]
fn a_function_calls_with_its_session_and_name() {
    let request =
        request(&[("AWS_SESSION_TOKEN", "session"), ("AWS_SDK_UA_APP_ID", "payments-team")]);
    assert!(request.contains(" Credential=AKID/"), "{request}");
    assert!(request.contains("/eu-west-1/dynamodb/aws4_request session "), "{request}");
    assert!(request.contains("app/payments-team"), "{request}");
}

/// A container's credential endpoint, which issues another key each time. Each is about to expire.
fn container() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let request = BufReader::new(stream.try_clone().unwrap()).lines();
            let head: Vec<_> =
                request.map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
            assert!(head.iter().any(|line| line.eq_ignore_ascii_case("authorization: token")));
            let end = jiff::Timestamp::now() + std::time::Duration::from_secs(5);
            let body = serde_json::json!({
                "AccessKeyId": format!("AKID{n}"), "SecretAccessKey": "s",
                "Token": format!("t{n}"), "Expiration": end.to_string(),
            });
            let body = body.to_string();
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {length}\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    address
}

#[test]
fn a_containers_credentials_are_used_and_renewed_before_they_expire() {
    let url = format!("http://{}/credentials", container());
    let container = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", url.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token"),
    ];
    // Those of the environment precede them.
    assert!(request(&container).contains(" Credential=AKID/"));
    let [first, second] = requests(&[container[0], container[1], ("AWS_REGION", "eu-west-1")]);
    assert!(first.contains(" Credential=AKID0/") && first.contains(" t0 "), "{first}");
    assert!(second.contains(" Credential=AKID1/") && second.contains(" t1 "), "{second}");
}

#[test]
fn the_log_level_is_lambdas_where_rust_log_is_absent() {
    let has_info =
        |variables: &[(&str, &str)]| output("log_and_panic", variables).contains("an info");
    assert!(has_info(&[]));
    assert!(!has_info(&[("AWS_LAMBDA_LOG_LEVEL", "ERROR")]));
    let both = [("AWS_LAMBDA_LOG_LEVEL", "ERROR"), ("RUST_LOG", "info")];
    assert!(has_info(&both));
}

#[test]
fn a_panic_is_logged_by_its_place_alone() {
    let log = output("log_and_panic", &[]);
    assert!(log.contains("environment.rs:"), "{log}");
    assert!(!log.contains("a secret"), "{log}");
}
