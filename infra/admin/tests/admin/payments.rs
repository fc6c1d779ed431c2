//! `admin payments`

use serde_json::{Value, json};

use crate::stage::{Output, Stage, words};

impl Stage {
    fn payments(&self, line: &str) -> Output {
        let line = words(&format!("--json payments {line}"));
        self.run(&line.iter().map(String::as_str).collect::<Vec<_>>())
    }

    async fn payment(&self, pk: &str) -> Value {
        let items = embedded::scan(&self.tables, "payments").await.unwrap();
        let found = items.into_iter().find(|item| item["pk"] == pk);
        found.unwrap_or_default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_put_in_the_documented_schema_and_never_over_another() {
    let stage = Stage::set().await;
    let put = "put --provider vtex --merchant m_1 PAY --amount 4307 --currency BRL \
               --details {\"nsu\":\"1\"}";
    let shown = stage.payments(put).json();
    let item = stage.payment("vtex#m_1#PAY").await;
    assert_eq!(shown["item"], item);
    let now = &item["created_at"];
    assert_eq!(
        item,
        json!({
            "pk": "vtex#m_1#PAY", "status": "undefined", "amount": 4307, "currency": "BRL",
            "created_at": now, "updated_at": now, "details": {"nsu": "1"},
        })
    );
    assert_eq!(shown["cancel"]["outcome"], "canceled");
    assert_eq!(shown["faults"], json!([]));
    let again = stage.payments("put --provider vtex --merchant m_1 PAY --status settled");
    assert!(again.error().contains("already exists"), "{again:?}");
    assert_eq!(stage.payment("vtex#m_1#PAY").await, item);

    // Without an id it gets one that the provider's rules allow.
    for provider in ["hyperswitch", "hedgepayments", "walletconnect", "one2pays"] {
        let shown = stage.payments(&format!("put --provider {provider} --merchant m_1")).json();
        assert_eq!(shown["faults"], json!([]), "{shown}");
    }
    for (line, rule) in [
        ("--provider vtex --merchant m_1 PAY2 --status Approved", "approved"),
        ("--provider vtex --merchant a#b PAY2", "no '#'"),
        ("--provider one2pays --merchant m_1 PAY2", "UUID"),
        ("--provider hyperswitch --merchant m_1 a.b", "letters"),
        ("--provider vtex --merchant m_1 PAY2 --details [1]", "JSON object"),
        ("--provider vtex --merchant m_1 PAY2 --currency real", "ISO 4217"),
        ("--provider vtex --merchant m_1 PAY2 --amount 1.5", "--amount"),
    ] {
        let refused = stage.payments(&format!("put {line}"));
        assert!(refused.error().contains(rule), "{line}: {refused:?}");
    }
    assert_eq!(stage.payment("vtex#m_1#PAY2").await, Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_moved_from_the_status_that_was_seen_or_not_at_all() {
    let stage = Stage::set().await;
    stage.payments("put --provider vtex --merchant m PAY --status approved").json();
    let named = "--provider vtex --merchant m PAY";
    let moved = stage.payments(&format!("move {named} --from approved --to settled")).json();
    assert_eq!((&moved["moved"], &moved["status"]), (&json!(true), &json!("settled")));
    let settled = stage.payment("vtex#m#PAY").await;
    assert_eq!(settled["status"], "settled");
    let late = stage.payments(&format!("move {named} --from approved --to denied"));
    let late = late.json_with(3);
    assert_eq!((&late["moved"], &late["status"]), (&json!(false), &json!("settled")));
    assert_eq!(stage.payment("vtex#m#PAY").await, settled);

    let canceled = format!("move {named} --from settled --to cancelled");
    stage.payments(&canceled).json();
    let item = stage.payment("vtex#m#PAY").await;
    assert_eq!(item["canceled_at"], item["updated_at"]);
    stage.payments(&format!("move {named} --from cancelled --to approved")).json();
    assert_eq!(stage.payment("vtex#m#PAY").await["canceled_at"], Value::Null);

    let typo = stage.payments(&format!("move {named} --from approved --to canceled"));
    assert!(typo.error().contains("cancelled"), "{typo:?}");
    let missing =
        stage.payments("move --provider vtex --merchant m NONE --from approved --to settled");
    assert!(missing.error().contains("no payment vtex#m#NONE"), "{missing:?}");
}

/// An item, and the response of a cancel to it.
const ITEMS: [(&str, &str); 12] = [
    (r#"{"status": "approved"}"#, "canceled"),
    (r#"{"status": "undefined", "manual_cancellation": false}"#, "canceled"),
    (r#"{"status": "approved", "details": {"x": [1, null]}}"#, "canceled"),
    (r#"{"status": "approved", "manual_cancellation": true}"#, "not_cancelable"),
    (r#"{"status": "settled"}"#, "not_cancelable"),
    (r#"{"status": "cancelled", "canceled_at": "2024-01-01T00:00:00.000Z"}"#, "not_cancelable"),
    (r#"{"status": "Approved"}"#, "not_cancelable"),
    (r#"{"status": "denied", "updated_at": "2024-01-01T00:00:00.000Z"}"#, "not_cancelable"),
    (r#"{"status": 7}"#, "internal"),
    (r#"{"status": null}"#, "internal"),
    (r#"{"status": "approved", "manual_cancellation": null}"#, "canceled"),
    (r#"{"status": "approved", "manual_cancellation": "yes"}"#, "internal"),
];

#[tokio::test(flavor = "multi_thread")]
async fn show_forecasts_the_functions_outcome() {
    let stage = std::sync::Arc::new(Stage::set().await);
    let url = stage.serve().await;
    let issue = words("--json credentials issue --merchant m --provider vtex");
    let issued = stage.aside(issue).await.json();
    for (n, (change, outcome)) in ITEMS.into_iter().enumerate() {
        let id = format!("PAY_{n}");
        let mut item = json!({
            "pk": format!("vtex#m#{id}"), "amount": 1, "currency": "BRL",
            "created_at": "2024-01-01T00:00:00.000Z",
        });
        let change: Value = serde_json::from_str(change).unwrap();
        for (name, value) in change.as_object().unwrap() {
            item[name] = value.clone();
        }
        embedded::put(&stage.tables, "payments", &item).await.unwrap();
        let show = format!("--json payments show --provider vtex --merchant m {id}");
        let shown = stage.aside(words(&show)).await.json();
        assert_eq!(shown["cancel"]["outcome"], outcome, "{item}");

        let body = json!({"paymentId": id, "requestId": "1"}).to_string();
        let mut curl = vec!["-sS", "--noproxy", "*", "-d", &body];
        let target = format!("{url}/payments/{id}/cancellations");
        let headers = issued["headers"].as_array().unwrap().iter();
        for header in headers {
            curl.extend(["-H", header.as_str().unwrap()]);
        }
        curl.push(&target);
        let cancel = tokio::process::Command::new("curl").args(curl).output().await.unwrap();
        let cancel: Value = serde_json::from_slice(&cancel.stdout).unwrap();
        let is_untouched = stage.payment(item["pk"].as_str().unwrap()).await == item;
        let code = match (cancel["code"].as_str(), cancel["cancellationId"].is_null()) {
            (None, false) if !is_untouched => "canceled",
            // VTEX reports the payment canceled; this request did not cancel it.
            (None, false) => "not_cancelable",
            (Some("cancel-manually" | "cancel-failed"), true) => "not_cancelable",
            (Some("internal-error"), true) => "internal",
            other => panic!("{other:?} in {cancel}"),
        };
        assert_eq!(code, outcome, "{item}\n{cancel}");
    }
    let missing = words("payments show --provider vtex --merchant m NONE");
    stage.aside(missing).await.error();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_end_in_a_status_is_shown_as_its_code() {
    let stage = Stage::set().await;
    let item = json!({"pk": "vtex#m#1", "status": "x\nall is well: canceled"});
    embedded::put(&stage.tables, "payments", &item).await.unwrap();
    for line in ["show", "move --from approved --to settled"] {
        let line = words(&format!("payments {line} --provider vtex --merchant m 1"));
        let shown = stage.run(&line.iter().map(String::as_str).collect::<Vec<_>>()).stdout;
        assert!(shown.contains("x\\u{a}all is well"), "{shown}");
        assert!(!shown.contains("\nall is well"), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_filtered_and_limited() {
    let stage = Stage::set().await;
    for (merchant, id, status) in
        [("m_1", "A", "approved"), ("m_1", "B", "settled"), ("m_2", "C", "approved")]
    {
        stage
            .payments(&format!("put --provider vtex --merchant {merchant} {id} --status {status}"))
            .json();
    }
    let ids = |line: &str| {
        let listed = stage.payments(&format!("list --provider {line}")).json();
        let listed = listed.as_array().unwrap().iter();
        listed.map(|row| row["payment_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids("vtex"), ["A", "B", "C"]);
    assert_eq!(ids("vtex --merchant m_1"), ["A", "B"]);
    assert_eq!(ids("vtex --status approved"), ["A", "C"]);
    assert_eq!(ids("vtex --limit 2").len(), 2);
    assert_eq!(ids("one2pays"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_counts_each_kind_of_fault_and_fails_on_faults_only() {
    let stage = Stage::set().await;
    let put = async |item: Value| embedded::put(&stage.tables, "payments", &item).await.unwrap();
    let good = |pk: String| {
        json!({
            "pk": pk, "status": "approved", "amount": 1, "currency": "BRL",
            "created_at": "2024-01-01T00:00:00.000Z",
        })
    };
    for n in 0..20 {
        put(good(format!("vtex#m#{n}"))).await;
    }
    put(json!({"pk": "one2pays.signature#m#0f", "payment_id": "x"})).await;
    let report = stage.payments("check").json();
    assert_eq!((&report["payments"], &report["signatures"]), (&json!(20), &json!(1)));
    assert_eq!(report["kinds"], json!({}));

    let mut fraction = good("vtex#m#fraction".to_owned());
    fraction["amount"] = json!(43.07);
    put(fraction).await;
    let report = stage.payments("check --segments 1").json();
    assert_eq!(report["kinds"]["amount"]["examples"], json!(["vtex#m#fraction"]));

    for n in 0..7 {
        put(json!({"pk": format!("stripe#{n}"), "status": "approved"})).await;
    }
    let report = stage.payments("check").json_with(3);
    let key = &report["kinds"]["key"];
    assert_eq!((&key["fault"], &key["count"]), (&json!(true), &json!(7)));
    assert_eq!(key["examples"].as_array().unwrap().len(), 5);
    let absent = stage.run(&["payments", "check", "--payments-table", "absent"]);
    assert!(absent.error().contains("the table absent does not exist"), "{absent:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_the_details_is_not_shown() {
    let stage = Stage::set().await;
    let details = r#"{"client_secret":"hidden-1","next":{"clientSecret":"hidden-2"},"ok":"seen"}"#;
    let put = format!("put --provider vtex --merchant m PAY --details {details}");
    let shown = stage.payments(&put).stdout
        + &stage.payments("show --provider vtex --merchant m PAY").stdout;
    assert!(shown.contains("seen") && !shown.contains("hidden"), "{shown}");
}
