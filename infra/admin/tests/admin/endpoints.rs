//! `admin verify`, `doctor` and `conformance`

use std::{path::Path, sync::Arc};

use serde_json::{Value, json};

use crate::stage::{Stage, words};

async fn everything(stage: &Stage) -> (Vec<Value>, Vec<Value>) {
    let payments = embedded::scan(&stage.tables, "payments").await.unwrap();
    (payments, stage.items().await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_stack_is_verified_and_left_as_it_was() {
    let stage = Arc::new(Stage::set().await);
    let url = stage.serve().await;
    let verify = format!("--json verify --api-url {url} --samples 2");
    let reports = stage.aside(words(&verify)).await.json();
    let reports = reports.as_array().unwrap();
    assert_eq!(reports.len(), providers::names().len());
    for report in reports {
        assert_eq!(report["passed"], true, "{report}");
        assert_eq!(report["checks"].as_array().unwrap().len(), 6);
        assert_eq!(report["warm"]["samples"], 2);
    }
    assert_eq!(everything(&stage).await, (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_over_other_tables_are_not_verified() {
    let stage = Arc::new(Stage::set().await);
    let elsewhere = Stage::set().await;
    let url = elsewhere.serve().await;
    let verify = format!("--json verify --url vtex={url} --samples 1");
    let reports = stage.aside(words(&verify)).await.json_with(3);
    let failed: Vec<_> = reports[0]["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|check| check["faults"] != json!([]))
        .map(|check| check["name"].as_str().unwrap())
        .collect();
    // What needs no credential is as it must be.
    assert_eq!(failed, ["cancel", "item", "replay", "second cancel", "unknown payment"]);
    assert_eq!(everything(&stage).await, (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_cannot_be_reached_are_an_error_and_leave_nothing() {
    let stage = Arc::new(Stage::set().await);
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}", free.local_addr().unwrap());
    drop(free);
    let refused = stage.aside(words(&format!("verify --api-url {url}"))).await;
    assert!(refused.error().contains("cannot connect"), "{refused:?}");
    let nowhere = stage.aside(words("verify --provider vtex")).await;
    assert!(nowhere.error().contains("--url vtex="), "{nowhere:?}");
    assert_eq!(everything(&stage).await, (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_endpoints_conform_to_every_case() {
    let stage = Arc::new(Stage::set().await);
    let url = stage.serve().await;
    let conformance = format!("--json conformance --api-url {url}");
    let played = stage.aside(words(&conformance)).await;
    let all: Vec<Value> = serde_json::from_str(&played.stdout).expect(&played.stderr);
    let failed: Vec<_> = all.iter().filter(|case| case["result"] == "failed").collect();
    assert!(failed.is_empty(), "{}", json!(failed));
    assert_eq!(played.code, Some(0));
    let passed = all.iter().filter(|case| case["result"] == "passed").count();
    assert!(passed * 20 > all.len() * 19, "{passed} of {}", all.len());
    assert_eq!(everything(&stage).await, (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_implementation_is_shown_its_differences() {
    let stage = Arc::new(Stage::set().await);
    let url = stage.serve().await;
    // VTEX's cases at another provider's endpoint: no path is right there.
    let wrong =
        format!("--json conformance --provider vtex --url vtex={url}/v1 --only cancels_approved");
    let played = stage.aside(words(&wrong)).await.json_with(3);
    let difference = &played[0]["differences"][0];
    assert_eq!(difference["at"], "status");
    assert_eq!((&difference["expected"], &difference["received"]), (&json!(200), &json!(404)));
    let nothing = format!("conformance --api-url {url} --only no_such_case");
    stage.aside(words(&nothing)).await.error();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).display();
    let nowhere = format!("conformance --api-url {url} --events {folder}");
    assert!(stage.aside(words(&nowhere)).await.error().contains("--events"));
    assert_eq!(everything(&stage).await, (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_doctor_finds_what_is_missing_and_changes_nothing() {
    let stage = Stage::set().await;
    let findings = stage.run(&["--json", "doctor"]).json();
    let of = |findings: &Value, level: &str| {
        let findings = findings.as_array().unwrap().iter();
        let found = findings.filter(|finding| finding["level"] == level);
        found.map(|finding| finding["finding"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(of(&findings, "fault"), [""; 0]);
    let ok = of(&findings, "ok").join("\n");
    assert!(ok.contains("partition key pk") && ok.contains("used signatures"), "{ok}");
    assert!(of(&findings, "warning").join("\n").contains("signing secrets"));
    let unknown = of(&findings, "unknown").join("\n");
    let is_named = unknown.contains("--features account");
    assert_eq!(is_named, !cfg!(feature = "account"), "{unknown}");
    let absent = stage.run(&["--json", "doctor", "--payments-table", "absent"]);
    let faults = of(&absent.json_with(3), "fault");
    assert!(faults[0].contains("does not exist"), "{faults:?}");
    let same = stage.run(&["doctor", "--payments-table", "credentials"]);
    assert!(same.error().contains("must be two"), "{same:?}");
    assert_eq!(everything(&stage).await, (vec![], vec![]));
}
