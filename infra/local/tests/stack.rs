//! The one-machine stack as a newcomer meets it: the real binary, its output, its ports.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod pages;
mod process;

use std::{
    collections::HashSet,
    fs,
    net::TcpListener,
    path::PathBuf,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use process::{Stack, bash, demo, run};

const HYPERSWITCH: [&str; 2] = ["api-key: snd_demo", "content-type: application/json"];
const UUID: &str = "550e8400-e29b-41d4-a716-44665544";

/// An empty folder of this test's own.
fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    folder
}

fn signed(secret: &str) -> [String; 3] {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let timestamp = now.as_millis().to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{timestamp}.").as_bytes());
    let signature = hex::encode(mac.finalize().into_bytes());
    [
        "X-API-Key: pk_test_demo".to_owned(),
        format!("X-Timestamp: {timestamp}"),
        format!("X-Signature: sha256={signature}"),
    ]
}

/// A cancel of one of the provider's payments, as its client sends it: path, headers, body.
fn cancel(provider: &str, id: &str) -> (String, Vec<String>, String) {
    let (path, headers, body) = match provider {
        "hyperswitch" => (
            format!("/payments/{id}/cancel"),
            HYPERSWITCH.map(str::to_owned).to_vec(),
            "{}".to_owned(),
        ),
        "hedgepayments" => (
            format!("/v1/payments/{id}/cancel"),
            vec!["Authorization: Bearer sk_test_demo".to_owned()],
            String::new(),
        ),
        "vtex" => (
            format!("/payments/{id}/cancellations"),
            vec![
                "X-VTEX-API-AppKey: demo-key".to_owned(),
                "X-VTEX-API-AppToken: demo-token".to_owned(),
            ],
            json!({ "paymentId": id, "requestId": "R1" }).to_string(),
        ),
        "walletconnect" => (
            format!("/v1/gateway/payment/{id}/cancel"),
            vec!["Api-Key: wcp_demo".to_owned()],
            "{}".to_owned(),
        ),
        "one2pays" => (
            format!("/api/v1/payments/{id}/cancel"),
            signed("sk_test_demo").to_vec(),
            String::new(),
        ),
        other => panic!("{other}"),
    };
    (path, headers, body)
}

/// The status and the body that a cancel gets.
fn try_cancel(stack: &Stack, provider: &str, id: &str) -> (u16, Value) {
    let (path, headers, body) = cancel(provider, id);
    let headers: Vec<_> = headers.iter().map(String::as_str).collect();
    let response = stack.send("POST", &path, &headers, body.as_bytes());
    (response.status, response.json())
}

#[test]
fn every_printed_command_can_be_pasted() {
    let stack = Stack::start(&["--commands"]);
    let names: Vec<_> = stack.commands.iter().map(|(name, _)| name).collect();
    assert_eq!(names, providers::names());
    for (name, command) in &stack.commands {
        let output = bash(command, &[]);
        let (body, status) = output.trim_end().rsplit_once('\n').expect(name);
        assert_eq!(status, "200", "{name}: {output}");
        assert!(serde_json::from_str::<Value>(body).is_ok(), "{body}");
    }
    assert_eq!(stack.stderr(), "");
}

#[test]
fn the_commands_of_a_running_stack_are_printed_beside_it() {
    let stack = Stack::start(&[]);
    let (status, _) = try_cancel(&stack, "hyperswitch", "pay_hs_requires_capture");
    assert_eq!(status, 200);
    let port = |url: &str| url.rsplit_once(':').unwrap().1.to_owned();
    let (port, dynamodb) = (port(&stack.url), port(&stack.dynamodb));
    let arguments = ["--commands", "--port", &port, "--dynamodb-port", &dynamodb];
    let output = run(&arguments, &[]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let commands: Vec<_> = output.stdout.split("\n\n").collect();
    let (_, first) = commands[0].split_once('\n').unwrap();
    assert!(bash(first, &[]).trim_end().ends_with("\n200"), "{first}");
    assert_eq!(
        commands.iter().filter(|command| command.contains("curl")).count(),
        providers::names().len()
    );
}

#[test]
fn the_banner_has_five_lines_and_a_command_that_works() {
    let stack = Stack::start(&[]);
    let lines: Vec<_> = stack.output.lines().collect();
    let [page, store, example, more, ready] = lines[..] else {
        panic!("{}", stack.output);
    };
    assert_eq!(page, format!("page   {}", stack.url));
    assert!(store.ends_with(&format!("{}, in memory (--data DIR keeps it)", stack.dynamodb)));
    let output = bash(example.strip_prefix("try    ").unwrap(), &[]);
    assert!(output.starts_with("HTTP/1.1 200 OK"), "{output}");
    assert!(more.contains("--commands") && more.contains("Ctrl-C"), "{more}");
    assert!(ready.starts_with("ready  "), "{ready}");
}

#[test]
fn each_request_gets_a_line_refusals_included() {
    let stack = Stack::start(&[]);
    try_cancel(&stack, "hyperswitch", "pay_hs_requires_capture");
    try_cancel(&stack, "one2pays", &format!("{UUID}0005"));
    stack.send("GET", "/nothing?x=1", &[], b"");
    stack.send("POST", "/payments/1/cancel", &["Origin: http://a.example"], b"");
    stack.send("GET", "/window/payments", &[], b"");
    try_cancel(&stack, "vtex", "VTEX_APPROVED");
    let expected = [
        "hyperswitch /payments/pay_hs_requires_capture/cancel 200 canceled",
        "one2pays /api/v1/payments/550e8400-e29b-41d4-a716-446655440005/cancel \
         400 VALIDATION_ERROR",
        "- /nothing?x=1 404 not found",
        "hyperswitch /payments/1/cancel 403 forbidden",
        "vtex /payments/VTEX_APPROVED/cancellations 200 canceled",
    ];
    let mut columns = HashSet::new();
    for expected in expected {
        let line = stack.line();
        let (time, rest) = line.split_once("  ").unwrap();
        assert_eq!(time.len(), "12:00:00".len(), "{line}");
        let words: Vec<_> = rest.split_whitespace().collect();
        let (said, took) = words.split_at(words.len() - 2);
        assert_eq!(said.join(" "), expected);
        assert!(took[0].parse::<u64>().is_ok() && took[1] == "ms", "{line}");
        columns.insert((line.find(said[1]), line.len()));
        assert!(!line.contains('\u{1b}'), "{line}");
    }
    assert_eq!(columns.len(), 1, "not aligned: {columns:?}");
}

#[test]
fn a_requests_line_is_colored_for_who_can_see_it() {
    let free = ["--port", "0", "--dynamodb-port", "0"];
    let stack = Stack::run(&free, &[("CLICOLOR_FORCE", "1")]);
    try_cancel(&stack, "hyperswitch", "pay_hs_requires_capture");
    let line = stack.line();
    assert!(line.contains("\u{1b}[1m\u{1b}[32m200  canceled"), "{line:?}");
}

#[test]
fn the_ready_line_comes_last_and_names_this_machine_only() {
    let stack = Stack::start(&[]);
    assert!(stack.url.starts_with("http://127.0.0.1:"), "{}", stack.url);
    assert!(stack.dynamodb.starts_with("http://127.0.0.1:"));
    assert_eq!(stack.output.matches("ready").count(), 1);
    assert!(!stack.output.contains('\u{1b}'), "{}", stack.output);
}

#[test]
fn the_demo_data_match_the_documentation() {
    let stack = Stack::start(&[]);
    let one2pays = |numbers: &[&str]| numbers.iter().map(|n| format!("{UUID}{n}")).collect();
    let named =
        |prefix: &str, names: &[&str]| names.iter().map(|name| format!("{prefix}{name}")).collect();
    let cancelable: [(&str, Vec<String>); 5] = [
        (
            "hyperswitch",
            named(
                "pay_hs_requires_",
                &["payment_method", "capture", "confirmation", "customer_action"],
            ),
        ),
        ("hedgepayments", named("pay_hedge_", &["pending", "initiated"])),
        ("vtex", named("VTEX_", &["UNDEFINED", "APPROVED"])),
        ("walletconnect", named("pay_wcp_", &["requires_action"])),
        ("one2pays", one2pays(&["0000", "0001", "0002", "0003", "0004"])),
    ];
    for (provider, ids) in &cancelable {
        for id in ids {
            let spares = match id.strip_prefix(UUID) {
                None => [format!("{id}_2"), format!("{id}_3")],
                Some(n) => [2, 3].map(|copy| format!("{UUID}01{copy}{}", &n[3..])),
            };
            for id in spares.iter().chain([id]) {
                let (status, body) = try_cancel(&stack, provider, id);
                assert_eq!(status, 200, "{provider} {id}: {body}");
                assert_eq!(body.get("code").unwrap_or(&Value::Null), &Value::Null);
            }
        }
    }
    let refused: [(&str, Vec<String>, u16, &str); 7] = [
        (
            "hyperswitch",
            named("pay_hs_", &["succeeded", "processing", "failed", "cancelled"]),
            400,
            "IR_16",
        ),
        (
            "hedgepayments",
            named("pay_hedge_", &["processing", "succeeded", "failed"]),
            412,
            "payment_not_cancelable",
        ),
        ("vtex", named("VTEX_", &["SETTLED", "DENIED"]), 200, "cancel-failed"),
        ("vtex", named("VTEX_", &["MANUAL"]), 200, "cancel-manually"),
        ("walletconnect", named("pay_wcp_", &["processing", "succeeded"]), 400, "invalid_state"),
        ("walletconnect", named("pay_wcp_", &["expired"]), 400, "payment_expired"),
        ("one2pays", one2pays(&["0005", "0006", "0007", "0008"]), 400, "VALIDATION_ERROR"),
    ];
    for (provider, ids, status, code) in &refused {
        for id in ids {
            let (given, body) = try_cancel(&stack, provider, id);
            let envelope = body.get("error").unwrap_or(&body);
            assert_eq!(given, *status, "{provider} {id}: {body}");
            assert_eq!(envelope["code"], *code, "{provider} {id}: {body}");
        }
    }
}

#[test]
fn an_app_may_cancel_with_its_public_id() {
    let stack = Stack::start(&[]);
    let path = "/v1/gateway/payment/pay_wcp_requires_action/cancel";
    let response = stack.send("POST", path, &["App-Id: app_demo", "Client-Id: any"], b"");
    assert_eq!(response.status, 200, "{}", response.body);
}

/// The demo's sections: a heading, and its lines split at spaces.
fn sections(output: &str) -> Vec<(String, Vec<String>)> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for line in output.lines() {
        assert!(line.chars().count() <= 80, "wider than 80 columns: {line}");
        let words = line.split_whitespace().collect::<Vec<_>>().join(" ");
        match sections.last_mut() {
            Some((_, lines)) if line.starts_with(' ') => lines.push(words),
            _ => sections.push((words, Vec::new())),
        }
    }
    sections
}

#[test]
fn the_demo_shows_a_cancel_a_retry_and_a_second_try_of_each() {
    let output = demo(&[], &[]);
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(output.stderr, "");
    let sections = sections(&output.stdout);
    let o2p = format!("one2pays {UUID}0000");
    let expected = [
        ("hyperswitch pay_hs_requires_capture", "requires_capture -> cancelled", "400 IR_16"),
        ("hedgepayments pay_hedge_pending", "pending -> canceled", "412 payment_not_cancelable"),
        ("vtex VTEX_APPROVED", "approved -> cancelled", "200 same cancellationId"),
        (
            "walletconnect pay_wcp_requires_action",
            "requires_action -> cancelled",
            "400 invalid_state",
        ),
        (&o2p, "processing -> canceled", "400 VALIDATION_ERROR"),
    ];
    for (payment, became, second) in expected {
        let mut shown = sections.iter();
        let (_, lines) = shown.find(|(heading, _)| heading == payment).expect(payment);
        let expected = [
            format!("cancel 200 {became}"),
            "retry, same key 200 replayed".to_owned(),
            format!("second try, new key {second}"),
        ];
        assert_eq!(*lines, expected);
    }
}

#[test]
fn the_demo_loses_responses_and_races_a_capture() {
    let output = demo(&[], &[]);
    let sections = sections(&output.stdout);
    let [.., (_, lost), (_, race)] = &sections[..] else {
        panic!("{output:?}");
    };
    let expected = [
        "this service 200 canceled: attempt 2 found its own cancel",
        "an ordinary handler 409 \"payment is cancelled\": untrue, it canceled it",
        "every response lost 500 may or may not be canceled: retry with the key",
        "retry, same key 200 replayed: it was canceled",
    ];
    assert_eq!(*lost, expected);
    let (neither, won) = race.split_last().unwrap();
    assert_eq!(neither, "both, or neither 0");
    let counted = won.iter().map(|line| {
        let (_, rest) = line.split_once(", ").unwrap();
        rest.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    assert_eq!(counted.sum::<u64>(), 10, "{race:?}");
}

#[test]
fn the_demo_is_colored_only_for_who_can_see_it() {
    let plain = demo(&[], &[]).stdout;
    assert!(!plain.contains('\u{1b}'), "{plain}");
    let colored = demo(&[], &[("CLICOLOR_FORCE", "1")]).stdout;
    assert!(colored.contains("\u{1b}["), "{colored}");
    let refused = demo(&[], &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]).stdout;
    assert!(!refused.contains('\u{1b}'), "{refused}");
}

#[test]
fn the_demo_fails_where_a_cancel_is_not_as_it_should_be() {
    let stack = Stack::start(&[]);
    let digest = "c0a3d8de890fbd5ac2d294c3956977e8ce58b10aec52c80e6a625e3d781a16b4";
    let disabled_key = json!({
        "TableName": "credentials",
        "Item": {
            "pk": {"S": format!("walletconnect#{digest}")},
            "merchant_id": {"S": "m_demo"},
            "active": {"BOOL": false},
        },
    });
    stack.dynamodb("PutItem", &disabled_key);
    let output = run(&["--demo", "--port", "0", "--endpoint-url", &stack.dynamodb], &[]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert_eq!(output.stderr, "error: went wrong: walletconnect\n");
    let sections: Vec<_> = output.stdout.split("walletconnect").collect();
    let lines: Vec<_> = sections[1].lines().skip(1).take(2).collect();
    let words = lines.join(" ");
    let words: Vec<_> = words.split_whitespace().collect();
    let expected = "cancel 403 requires_action -> requires_action wrong: must be 200 cancelled \
        retry, same key 403 forbidden wrong: must be 200 replayed";
    assert_eq!(words.join(" "), expected);
    assert!(output.stdout.contains("with the embedded DynamoDB only"));
}

#[test]
fn the_demo_goes_on_to_the_next_payments_until_all_are_used_up() {
    let folder = folder("used_up");
    let kept = ["--data", folder.to_str().unwrap()];
    let mut seen = HashSet::new();
    for _ in 0..3 {
        let output = demo(&kept, &[]);
        assert_eq!(output.code, Some(0), "{output:?}");
        for (heading, _) in sections(&output.stdout).into_iter().take(providers::names().len()) {
            assert!(seen.insert(heading.clone()), "{heading}");
        }
    }
    let output = demo(&kept, &[]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert_eq!(
        output.stderr,
        format!(
            "error: all demo payments of walletconnect are canceled already; to start afresh, \
             delete {}, or name another folder\n",
            folder.display()
        )
    );
    let stack = Stack::start(&[&kept[..], &["--commands"]].concat());
    assert!(
        stack.output.contains("# walletconnect: all its demo payments are canceled already"),
        "{}",
        stack.output
    );
}

#[test]
fn kept_tables_keep_a_cancel() {
    let folder = folder("kept");
    let kept = ["--data", folder.to_str().unwrap()];
    let id = "pay_hs_requires_capture";
    let stack = Stack::start(&kept);
    let (status, first) = try_cancel(&stack, "hyperswitch", id);
    assert_eq!(status, 200, "{first}");
    drop(stack);

    let stack = Stack::start(&[&kept[..], &["--commands"]].concat());
    let (status, body) = try_cancel(&stack, "hyperswitch", id);
    assert_eq!(status, 400, "{body}");
    let message = "You cannot cancel this payment because it has status cancelled";
    assert_eq!(body["message"], message);
    let (_, command) = stack.commands.first().unwrap();
    assert!(!command.contains(id), "{command}");
    assert!(bash(command, &[]).trim_end().ends_with("\n200"), "{command}");
}

#[test]
fn another_dynamodb_can_be_used_and_keeps_what_it_has() {
    let owner = Stack::start(&[]);
    let (status, _) = try_cancel(&owner, "hedgepayments", "pay_hedge_pending");
    assert_eq!(status, 200);

    let mut guest = Stack::run(&["--port", "0", "--endpoint-url", &owner.dynamodb], &[]);
    assert_eq!(guest.dynamodb, owner.dynamodb);
    let (status, _) = try_cancel(&guest, "hedgepayments", "pay_hedge_pending");
    assert_eq!(status, 412);
    let (status, _) = try_cancel(&guest, "hedgepayments", "pay_hedge_initiated");
    assert_eq!(status, 200);
    assert_eq!(guest.interrupt(), Some(0));
    let (status, _) = try_cancel(&owner, "hedgepayments", "pay_hedge_initiated");
    assert_eq!(status, 412);
}

#[test]
fn an_unusable_dynamodb_is_explained() {
    let stack = Stack::start(&[]);
    let tls = stack.url.replace("http:", "https:");
    // Connections are taken, and nothing is ever said.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", silent.local_addr().unwrap());
    let cases: [(&str, &[&str], &str); 5] = [
        ("http://127.0.0.1:1", &[], "nothing is listening there"),
        (&silent, &[], "it does not respond; is the address right"),
        ("http://dynamodb.invalid:8000", &["--yes"], "its name cannot be resolved"),
        (&tls, &[], "no TLS connection with it"),
        (&stack.url, &[], "it does not respond as a DynamoDB does"),
    ];
    let explains = |(url, more, words): (&str, &[&str], &str)| {
        let output = run(&[&["--port", "0", "--endpoint-url", url], more].concat(), &[]);
        assert_eq!(output.code, Some(1), "{output:?}");
        let expected = format!("error: cannot use the DynamoDB on {url}: {words}");
        assert!(output.stderr.starts_with(&expected), "{}", output.stderr);
        assert_eq!(output.stderr.lines().count(), 1, "{}", output.stderr);
    };
    // At once, because each tries for seconds.
    thread::scope(|scope| {
        for case in cases {
            scope.spawn(move || explains(case));
        }
    });
}

#[test]
fn the_demo_keys_go_to_no_other_machine_without_yes() {
    let url = "http://192.0.2.1:8000";
    let output = run(&["--port", "0", "--endpoint-url", url], &[]);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stderr.contains("add --yes"), "{}", output.stderr);
    assert!(output.stderr.contains("the demo keys are public"));
}

#[test]
fn issued_keys_only_explains_itself() {
    let only = [("ISSUED_KEYS_ONLY", "true")];
    let output = demo(&[], &only);
    assert_eq!(output.code, Some(1), "{output:?}");
    assert_eq!(output.stdout, "");
    let message = "ISSUED_KEYS_ONLY is on, so the demo keys are refused";
    assert!(output.stderr.starts_with(&format!("error: {message}")), "{}", output.stderr);
    let stack = Stack::run(&["--port", "0", "--dynamodb-port", "0"], &only);
    assert!(stack.stderr().starts_with(&format!("warning: {message}")), "{}", stack.stderr());
}

#[test]
fn a_store_without_the_item_of_a_failed_condition_is_reported() {
    let stack = Stack::start(&[]);
    let forgetful = process::forgetful(&stack.dynamodb);
    let warned = Stack::run(&["--port", "0", "--endpoint-url", &forgetful], &[]);
    let expected = "warning: this DynamoDB does not return the item of a failed condition";
    assert!(warned.stderr().starts_with(expected), "{}", warned.stderr());
    let silent = Stack::run(&["--port", "0", "--endpoint-url", &stack.dynamodb], &[]);
    assert_eq!(silent.stderr(), "");
}

#[test]
fn the_embedded_dynamodb_refuses_web_pages_too() {
    let stack = Stack::start(&[]);
    for (method, path) in [("POST", "/"), ("OPTIONS", "/"), ("GET", "/")] {
        let response = stack.send_to_dynamodb(method, path, &["Origin: http://a.example"]);
        assert_eq!(response.status, 403, "{method}");
        assert!(!response.head.contains("access-control"), "{}", response.head);
    }
    assert_eq!(stack.send_to_dynamodb("GET", "/", &[]).status, 200);
}

#[test]
fn a_case_is_put_into_the_running_stacks_dynamodb() {
    let stack = Stack::start(&[]);
    let port = stack.dynamodb.rsplit_once(':').unwrap().1;
    let event = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/vtex/cancels_approved.json");
    let output = run(&["--case", event, "--dynamodb-port", port], &[]);
    assert_eq!(output.code, Some(0), "{output:?}");
    let command = format!("cargo lambda invoke vtex --data-file {event}\n");
    assert_eq!(output.stdout, command);
    let case = golden::case("vtex", "cancels_approved").unwrap();
    let given = &case.given.payments[0];
    let stored = stack.dynamodb(
        "GetItem",
        &json!({
            "TableName": "payments",
            "Key": {"pk": {"S": given["pk"]}},
        }),
    );
    assert_eq!(stored["Item"]["status"]["S"], given["status"]);
}

#[test]
fn the_environment_for_the_functions_is_printed() {
    let output = run(&["--env", "--dynamodb-port", "8123"], &[]);
    let expected = "AWS_ENDPOINT_URL_DYNAMODB=http://127.0.0.1:8123\nAWS_REGION=us-east-1\n\
        PAYMENTS_TABLE=payments\nCREDENTIALS_TABLE=credentials\n\
        AWS_ACCESS_KEY_ID=local\nAWS_SECRET_ACCESS_KEY=local\n";
    assert_eq!(output.stdout, expected);
}

#[test]
fn the_environment_does_not_lead_the_embedded_dynamodb_astray() {
    let astray = [
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1"),
        ("AWS_PROFILE", "missing"),
        ("AWS_REGION", "nowhere-1"),
        ("PAYMENTS_TABLE", "other-payments"),
        ("CREDENTIALS_TABLE", "other-credentials"),
    ];
    let output = demo(&[], &astray);
    assert_eq!(output.code, Some(0), "{output:?}");
}

#[test]
fn an_empty_table_name_is_reported() {
    for name in ["PAYMENTS_TABLE", "CREDENTIALS_TABLE"] {
        let output = run(&["--port", "0", "--dynamodb-port", "0"], &[(name, "")]);
        let expected = format!("error: {name} is empty and must be a table's name\n");
        assert_eq!((output.code, output.stderr), (Some(1), expected));
    }
}

#[test]
fn a_taken_port_is_reported_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for arguments in
        [["--port", &port, "--dynamodb-port", "0"], ["--port", "0", "--dynamodb-port", &port]]
    {
        let output = run(&arguments, &[]);
        assert_eq!(output.code, Some(1), "{output:?}");
        assert_eq!(output.stdout, "");
        assert_eq!(
            output.stderr,
            format!(
                "error: port {port} is taken; is the stack already running? \
                 Choose others with --port and --dynamodb-port, 0 for any free one\n"
            )
        );
    }
}

#[test]
fn ctrl_c_ends_it_quietly() {
    let mut stack = Stack::start(&[]);
    assert_eq!(stack.interrupt(), Some(0));
    assert_eq!(stack.stderr(), "");
}

#[test]
fn rust_log_enables_the_log_of_the_service() {
    let free = ["--port", "0", "--dynamodb-port", "0"];
    let mut stack = Stack::run(&free, &[("RUST_LOG", "shared=info")]);
    let (status, _) = try_cancel(&stack, "hedgepayments", "pay_hedge_pending");
    assert_eq!(status, 200);
    stack.interrupt();
    let line: Value = serde_json::from_str(stack.stderr().trim_end()).unwrap();
    assert_eq!(line["outcome"], "canceled");
    assert_eq!(line["payment_id"], "pay_hedge_pending");
}

#[test]
fn an_unknown_path_lists_the_endpoints() {
    let stack = Stack::start(&[]);
    for path in ["/", "/payments/1", "/payments/1/cancel//", "/v2/payments/1/cancel"] {
        let response = stack.send("POST", path, &HYPERSWITCH, b"{}");
        assert_eq!(response.status, 404, "{path}");
        assert!(response.head.contains("content-type: application/json"));
        let body = response.json();
        let routes = body["endpoints"].as_array().unwrap();
        assert_eq!(routes.len(), providers::names().len());
        assert!(routes.contains(&json!("POST /payments/{paymentId}/cancellations")));
        assert!(body["error"]["message"].is_string());
    }
}

#[test]
fn the_window_is_served_and_names_nothing_but_itself() {
    let stack = Stack::start(&[]);
    let page = stack.send("GET", "/", &[], b"");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-type: text/html; charset=utf-8"));
    let policy =
        "content-security-policy: default-src 'none'; script-src 'self'; style-src 'self';";
    assert!(page.head.contains(policy), "{}", page.head);
    let mut files = vec!["/".to_owned()];
    // The page names files, and these name others.
    let mut at = 0;
    while let Some(file) = files.get(at) {
        let content = stack.send("GET", file, &[], b"");
        assert_eq!(content.status, 200, "{file}");
        let words = content.body.split(['"', '\'']);
        let named = words.filter(|word| word.starts_with("/window/") && word.contains('.'));
        for file in named.map(str::to_owned) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        at += 1;
    }
    assert_eq!(files.len(), 9, "{files:?}");
    assert!(!page.body.contains("//"), "nothing of another host");
    assert!(!page.body.contains("style="), "nothing that the policy forbids");
}

#[test]
fn a_web_page_elsewhere_can_do_nothing() {
    let stack = Stack::start(&[]);
    let port = stack.url.rsplit_once(':').unwrap().1;
    for origin in [
        "https://example.com".to_owned(),
        format!("http://example.com:{port}"),
        "http://127.0.0.1:1".to_owned(),
        format!("https://127.0.0.1:{port}"),
        format!("http://127.0.0.1:{port}.example.com"),
        "null".to_owned(),
        String::new(),
    ] {
        let origin = format!("Origin: {origin}");
        for provider in ["hyperswitch", "hedgepayments", "vtex", "walletconnect", "one2pays"] {
            let id = "pay_hedge_pending";
            let (path, headers, body) = cancel(provider, id);
            let headers: Vec<_> = headers.iter().chain([&origin]).map(String::as_str).collect();
            let response = stack.send("POST", &path, &headers, body.as_bytes());
            assert_eq!(response.status, 403, "{provider} {origin}");
        }
        for (method, path) in [("GET", "/window/payments"), ("POST", "/window/reset")] {
            let response = stack.send(method, path, &[&origin], b"");
            assert_eq!(response.status, 403, "{path} {origin}");
            assert!(!response.head.contains("access-control"), "{}", response.head);
        }
    }
    let (status, _) = try_cancel(&stack, "hedgepayments", "pay_hedge_pending");
    assert_eq!(status, 200);
}

#[test]
fn another_method_is_refused_in_the_providers_envelope() {
    let stack = Stack::start(&[]);
    let response = stack.send("GET", "/v1/payments/pay_hedge_pending/cancel", &[], b"");
    assert_eq!(response.status, 405);
    assert!(response.head.contains("\r\nallow: POST"), "{}", response.head);
    let expected = json!({"error": {"code": "invalid_request", "message": "method must be POST"}});
    assert_eq!(response.json(), expected);
}

#[test]
fn of_two_keys_neither_wins() {
    let stack = Stack::start(&[]);
    let path = "/payments/pay_hs_requires_capture/cancel";
    for (one, other) in [("snd_demo", "other"), ("other", "snd_demo")] {
        let lines = [
            format!("api-key: {one}"),
            "content-type: application/json".to_owned(),
            format!("Api-Key: {other}"),
        ];
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let response = stack.send("POST", path, &lines, b"{}");
        assert_eq!(response.status, 400, "{}", response.body);
        assert_eq!(response.json()["code"], "IR_07");
    }
}

#[test]
fn a_body_that_is_too_large_is_refused_by_the_service_however_large_it_is() {
    let stack = Stack::start(&[]);
    let path = "/payments/pay_hs_requires_capture/cancel";
    for size in [16 * 1024 + 1, 8 * 1024 * 1024] {
        let response = stack.send("POST", path, &HYPERSWITCH, &vec![b' '; size]);
        assert_eq!(response.status, 413, "{}", response.body);
        let message = "request body is larger than 16384 bytes";
        assert_eq!(response.json()["message"], message);
    }
    let mut largest = b"{}".to_vec();
    largest.resize(16 * 1024, b' ');
    let response = stack.send("POST", path, &HYPERSWITCH, &largest);
    assert_eq!(response.status, 200, "{}", response.body);
}

#[test]
fn an_undecodable_id_is_not_found_in_the_providers_envelope() {
    let stack = Stack::start(&[]);
    let response = stack.send("POST", "/payments/%ff/cancel", &HYPERSWITCH, b"{}");
    assert_eq!(response.status, 404);
    assert_eq!(response.json()["code"], "HE_02");
}

#[test]
fn a_percent_encoded_id_is_that_id_and_a_trailing_slash_is_tolerated() {
    let stack = Stack::start(&[]);
    let path = "/payments/pay%5Fhs%5Frequires%5Fcapture/cancel/?x=1";
    let response = stack.send("POST", path, &HYPERSWITCH, b"{}");
    assert_eq!(response.status, 200, "{}", response.body);
    assert_eq!(response.json()["payment_id"], "pay_hs_requires_capture");
}

#[test]
fn a_body_reaches_the_service_byte_for_byte() {
    let stack = Stack::start(&[]);
    let path = "/payments/pay_hs_requires_capture/cancel";
    let body = " { \"cancellation_reason\" : \"Zoë 张\" } \n";
    let response = stack.send("POST", path, &HYPERSWITCH, body.as_bytes());
    assert_eq!(response.status, 200, "{}", response.body);
    assert_eq!(response.json()["cancellation_reason"], "Zoë 张");
    let response = stack.send("POST", path, &HYPERSWITCH, b"{\"a\":\"\xff\"}");
    assert_eq!(response.status, 400);
    assert_eq!(response.json()["code"], "IR_06");
}

#[test]
fn every_request_has_its_own_id() {
    let stack = Stack::start(&[]);
    let id = || {
        let response = stack.send("POST", "/payments/1/cancel", &HYPERSWITCH, b"{}");
        let line = response.head.lines().find(|line| line.starts_with("x-request-id: "));
        line.expect("x-request-id").to_owned()
    };
    assert_ne!(id(), id());
}

#[test]
fn a_mistaken_argument_is_told() {
    for arguments in [["--port", "x"], ["--endpoint-url", "127.0.0.1:8000"]] {
        let output = run(&arguments, &[]);
        assert_eq!(output.code, Some(2), "{output:?}");
        assert!(output.stderr.starts_with("error: invalid value"));
    }
}
