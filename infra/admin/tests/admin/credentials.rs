//! What the tool issued, against the very services that Lambda runs.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use anyhow::Result;
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use bytes::Bytes;
use harness::faults::{Cut, Fault, FaultProxy};
use hmac::{Hmac, KeyInit, Mac};
use http::{Request, Response};
use providers::{Hyperswitch, Visitor};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::{
    clock::{Clock, Timestamp},
    key::{self, KeyFormat, KeyKind},
    provider::Provider,
    route,
    service::{CancelService, Settings},
    store::dynamodb::{DynamoDb, Tables},
};
use tokio::runtime::Runtime;
use tower_service::Service;
use uuid::Uuid;

use crate::stage::{Stage, binary, words};

const HOUR: i64 = 3_600_000;
const TTL: i64 = 60_000;

/// A clock that is set by hand, in milliseconds after the real time.
#[derive(Clone, Default)]
struct Later(Arc<AtomicI64>);

impl Clock for Later {
    fn now(&self) -> Timestamp {
        let later = self.0.load(Ordering::Relaxed);
        Timestamp::from_millisecond(Timestamp::now().as_millisecond() + later).unwrap()
    }
}

/// A provider's service over the tables.
struct Endpoint<P: Provider> {
    service: CancelService<P, DynamoDb>,
    clock: Later,
    tables: Client,
    /// A demo payment of the merchant `m_demo` that can be canceled.
    item: Value,
    body: Option<String>,
}

impl<P: Provider> Endpoint<P> {
    async fn over(stage: &Stage, settings: Settings) -> Self {
        let demo = providers::of::<P>().unwrap().demo;
        let demo: Value = serde_json::from_str(demo).unwrap();
        let mut items = demo["payments"].as_array().unwrap().iter();
        let cancelable = |item: &&Value| {
            let status = item["status"].as_str().unwrap();
            P::STATUSES.cancelable.contains(&status) && item["manual_cancellation"].is_null()
        };
        let store = DynamoDb::new(&embedded::config(&stage.url), Tables::default());
        let clock = Later::default();
        Self {
            service: CancelService::with_clock(store, &settings, clock.clone()),
            clock,
            tables: stage.tables.clone(),
            item: items.find(cancelable).unwrap().clone(),
            body: demo["cancel"].get("body").map(Value::to_string),
        }
    }

    /// A cancel of the unchanged payment, sent as the tool prints it for this credential.
    async fn cancel(&self, issued: &Value) -> Response<String> {
        embedded::put(&self.tables, "payments", &self.item).await.unwrap();
        let payment = self.item["pk"].as_str().unwrap().rsplit('#').next();
        let payment = payment.unwrap();
        let body = self.body.clone().unwrap_or_default();
        let body =
            body.replace("{payment_id}", payment).replace("{uuid}", &Uuid::new_v4().to_string());
        let mut headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        for line in issued["headers"].as_array().unwrap() {
            let (name, value) = line.as_str().unwrap().split_once(": ").unwrap();
            let timestamp = self.clock.now().as_millisecond().to_string();
            let value = match value {
                "<Unix milliseconds>" => timestamp,
                "<the client's own>" => "client".to_owned(),
                value if value.starts_with("sha256=<") => {
                    // Over the timestamp that is sent in the line before.
                    let timestamp = &headers.last().unwrap().1;
                    let secret = issued["secret"].as_str().unwrap();
                    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
                    mac.update(format!("{timestamp}.{body}").as_bytes());
                    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
                }
                value => value.to_owned(),
            };
            headers.push((name.to_owned(), value));
        }
        let parameter = format!("{{{}}}", route::parameter(P::ROUTE));
        let mut request = Request::post(P::ROUTE.replace(&parameter, payment));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Bytes::from(body)).unwrap();
        let Ok(response) = self.service.clone().call(request).await;
        response
    }

    /// Whether the credential cancels a payment. Whoever is refused has no right credential, and no
    /// other fault.
    async fn takes(&self, issued: &Value) -> bool {
        let response = self.cancel(issued).await;
        let status = response.status().as_u16();
        assert!([200, 401, 403].contains(&status), "{response:?}");
        let pk = self.item["pk"].as_str();
        let items = embedded::scan(&self.tables, "payments").await.unwrap();
        let item = items.iter().find(|item| item["pk"].as_str() == pk);
        assert_eq!(item.unwrap()["status"] == P::STATUSES.canceled, status == 200);
        status == 200
    }
}

/// One credential's whole life, with every step tried on the service.
async fn life<P: Provider>(scheme: &str) {
    let stage = Arc::new(Stage::set().await);
    let endpoint = Endpoint::<P>::over(&stage, Settings::default()).await;
    let issue = format!(
        "--json credentials issue --merchant m_demo --provider {} --scheme {scheme}",
        P::NAME
    );
    let first = stage.aside(words(&issue)).await.json();
    assert!(endpoint.takes(&first).await, "issued");

    let key = first["key"].as_str().unwrap();
    let named = format!("--provider {} {key}", P::NAME);
    let second = stage
        .aside(words(&format!("--json credentials rotate {named} --overlap 24h")))
        .await
        .json();
    assert_eq!(second["replaces"]["key"], key);
    assert_eq!(second["merchant_id"], "m_demo");
    assert_eq!(second["scheme"], scheme);
    assert!(endpoint.takes(&second).await, "the new one at once");
    assert!(endpoint.takes(&first).await, "the old one still");
    endpoint.clock.0.store(24 * HOUR - TTL, Ordering::Relaxed);
    assert!(endpoint.takes(&first).await, "the old one a day long");
    endpoint.clock.0.store(24 * HOUR, Ordering::Relaxed);
    assert!(!endpoint.takes(&first).await, "the old one after a day");
    assert!(endpoint.takes(&second).await, "the new one after a day");

    let named = format!("--provider {} {}", P::NAME, second["key"].as_str().unwrap());
    let revoked = stage.aside(words(&format!("--json credentials revoke {named}"))).await.json();
    assert_eq!(revoked["state"], "revoked");
    endpoint.clock.0.store(24 * HOUR + TTL + 1000, Ordering::Relaxed);
    assert!(!endpoint.takes(&second).await, "revoked");

    // And one that ends by itself.
    let third = stage.aside(words(&issue)).await.json();
    assert!(endpoint.takes(&third).await);
    let named = format!("--provider {} {}", P::NAME, third["key"].as_str().unwrap());
    stage.aside(words(&format!("--json credentials expire {named} --in 48h"))).await.json();
    endpoint.clock.0.store(48 * HOUR + 1000, Ordering::Relaxed);
    assert!(!endpoint.takes(&third).await, "expired");

    // No secret is in the table, but the one that HMAC needs. No secret and no whole digest is
    // listed.
    let stored = json!(stage.items().await).to_string();
    let listed =
        stage.aside(words(&format!("--json credentials list --provider {}", P::NAME))).await.json();
    assert_eq!(listed.as_array().unwrap().len(), 3);
    for issued in [&first, &second, &third] {
        let Some(secret) = issued["secret"].as_str() else {
            continue;
        };
        let digest = hex::encode(Sha256::digest(secret));
        assert_eq!(stored.contains(secret), scheme == "hmac");
        for hidden in [secret, &digest] {
            assert!(!listed.to_string().contains(hidden), "{listed}");
        }
    }
}

struct Life(Runtime);

impl Visitor for Life {
    fn visit<P: Provider>(&mut self) -> Result<()> {
        for scheme in providers::of::<P>()?.schemes {
            self.0.block_on(life::<P>(scheme.name));
        }
        Ok(())
    }
}

#[test]
fn a_key_of_each_provider_and_scheme_lives_as_it_should() {
    providers::visit(&mut Life(Runtime::new().unwrap())).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_refused_within_the_ttl_by_a_process_that_knew_it() {
    let stage = Arc::new(Stage::set().await);
    let endpoint = Endpoint::<Hyperswitch>::over(&stage, Settings::default()).await;
    let issue = "--json credentials issue --merchant m_demo --provider hyperswitch";
    let issued = stage.aside(words(issue)).await.json();
    assert!(endpoint.takes(&issued).await);
    let key = issued["key"].as_str().unwrap();
    let revoke = format!("--json credentials revoke --provider hyperswitch {key}");
    stage.aside(words(&revoke)).await.json();
    assert!(endpoint.takes(&issued).await, "it is cached");
    endpoint.clock.0.store(TTL, Ordering::Relaxed);
    assert!(!endpoint.takes(&issued).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_only_ours_count_a_merchants_own_key_is_an_unknown_one() {
    let stage = Arc::new(Stage::set().await);
    let settings = Settings { issued_keys_only: true, ..Settings::default() };
    let ours = stage
        .aside(words("--json credentials issue --merchant m_demo --provider hyperswitch"))
        .await
        .json();
    let own = hex::encode(Sha256::digest("own"));
    let own = json!({
        "pk": format!("hyperswitch#{own}"), "merchant_id": "m_demo", "active": true,
    });
    embedded::put(&stage.tables, "credentials", &own).await.unwrap();
    let own = json!({"headers": ["api-key: own"]});
    let unknown = key::issue(KeyKind::Secret, [7; 32]);
    let unknown = json!({"headers": [format!("api-key: {unknown}")]});

    type Service = Endpoint<Hyperswitch>;
    let open = Service::over(&stage, Settings::default()).await;
    assert!(open.takes(&own).await);
    let closed = Service::over(&stage, settings).await;
    assert!(closed.takes(&ours).await);
    let (own, unknown) = (closed.cancel(&own).await, closed.cancel(&unknown).await);
    assert_eq!((own.status().as_u16(), own.body()), (401, unknown.body()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_has_a_scheme() {
    let folders = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../functions"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap());
    let stage = Stage::set().await;
    let mut issued = BTreeSet::new();
    for provider in folders {
        let made = stage.issue(&["--provider", &provider]);
        assert_eq!(made["provider"], provider.as_str());
        issued.insert(made["key"].as_str().unwrap().to_owned());
    }
    assert!(issued.len() >= 5);
    let refused = stage.credentials(&["issue", "--merchant", "m", "--provider", "stripe"]);
    assert!(refused.error().contains("possible values: hyperswitch"));
}

#[tokio::test(flavor = "multi_thread")]
async fn issued_credentials_follow_the_data_model() {
    let stage = Stage::set().await;
    let digest = |secret: &Value| hex::encode(Sha256::digest(secret.as_str().unwrap()));
    let expect = |issued: &Value, key_id: &str, more: Value| {
        let mut item = json!({
            "pk": format!("{}#{key_id}", issued["provider"].as_str().unwrap()),
            "merchant_id": "m_demo", "active": true, "created_at": issued["created_at"],
        });
        for (name, value) in more.as_object().unwrap() {
            item[name] = value.clone();
        }
        item
    };
    let api_key = stage.issue(&["--provider", "hyperswitch"]);
    let pair = stage.issue(&["--provider", "vtex", "--at", "2030-01-01T01:00:00+01:00"]);
    let hmac = stage.issue(&["--provider", "one2pays"]);
    let app = stage.issue(&[
        "--provider",
        "walletconnect",
        "--scheme",
        "app-id",
        "--api-version",
        "2026-02-18",
    ]);
    let id = |issued: &Value| issued["id"].as_str().unwrap().to_owned();
    let expected = [
        expect(&api_key, &digest(&api_key["secret"]), json!({})),
        expect(
            &pair,
            &id(&pair),
            json!({
                "secret_sha256": digest(&pair["secret"]),
                "expires_at": "2030-01-01T00:00:00.000Z",
            }),
        ),
        expect(&hmac, &id(&hmac), json!({"signing_secret": hmac["secret"]})),
        expect(&app, &id(&app), json!({"api_version": "2026-02-18"})),
    ];
    let items = stage.items().await;
    assert_eq!(items.len(), expected.len());
    for item in expected {
        assert!(items.contains(&item), "{item}\nis not in\n{items:?}");
    }
    assert_eq!(api_key["id"], Value::Null);
    assert_eq!(app["secret"], Value::Null);
    // The digest is shown by its beginning.
    assert_eq!(api_key["key"], digest(&api_key["secret"])[..12]);
    // 256 bits, in our form: no two alike.
    for secret in [&api_key, &pair, &hmac].map(|issued| &issued["secret"]) {
        let form = key::format(secret.as_str().unwrap(), KeyKind::Secret);
        assert_eq!(form, KeyFormat::Issued);
    }
    for id in [id(&pair), id(&hmac), id(&app)] {
        assert_eq!(key::format(&id, KeyKind::Id), KeyFormat::Issued);
    }
    let secrets: BTreeSet<_> = (0..20)
        .map(|_| stage.issue(&["--provider", "hyperswitch"])["secret"].to_string())
        .collect();
    assert_eq!(secrets.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merchants_own_credential_is_taken_and_never_overwritten() {
    let stage = Stage::set().await;
    let own = ["--provider", "vtex", "--id", "own-key", "--secret-stdin"];
    let issue = |merchant: &str, secret: &str| {
        let arguments = [&["issue", "--merchant", merchant], own.as_slice()].concat();
        stage.credentials_with(&arguments, secret)
    };
    assert_eq!(issue("m_1", "own-token\n").code, Some(0));
    let before = stage.items().await;
    assert_eq!(before[0]["pk"], "vtex#own-key");
    assert_eq!(before[0]["secret_sha256"], hex::encode(Sha256::digest("own-token")));
    for (merchant, secret) in [("m_1", "own-token\n"), ("m_2", "other\n")] {
        let refused = issue(merchant, secret);
        assert!(refused.error().contains("already"), "{refused:?}");
        assert!(!refused.stderr.contains(secret.trim()), "{refused:?}");
        assert_eq!(stage.items().await, before);
    }
    for secret in ["", "\n", "a b\n", "é\n", "a\nb\n", "pck_almost\n"] {
        issue("m_1", secret).error();
    }
    let digest = "0f".repeat(32);
    for id in ["", "a b", "é", &"k".repeat(256), &digest, "pci_almost"] {
        let refused =
            stage.credentials(&["issue", "--merchant", "m_1", "--provider", "vtex", "--id", id]);
        refused.error();
    }
    assert_eq!(stage.items().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_issued_that_no_function_accepts() {
    let stage = Stage::set().await;
    let vtex = ["issue", "--merchant", "m", "--provider", "vtex"];
    let comma = stage.credentials(&[&vtex[..], &["--id", "a,b"]].concat());
    assert!(comma.error().contains("comma"), "{comma:?}");
    let own = [&vtex[..], &["--id", "own", "--secret-stdin"]].concat();
    let comma = stage.credentials_with(&own, "a,b\n");
    assert!(comma.error().contains("comma"), "{comma:?}");
    assert!(!comma.stderr.contains("a,b"), "{comma:?}");
    let version = "issue --merchant m --provider walletconnect --api-version 2026-02-20";
    let version = words(version);
    let version: Vec<_> = version.iter().map(String::as_str).collect();
    let refused = stage.credentials(&version);
    assert!(refused.error().contains("2026-02-19.preview"), "{refused:?}");
    assert_eq!(stage.items().await, [json!(null); 0]);

    // A signing secret is not sent, so it may have one.
    let hmac = "issue --merchant m --provider one2pays --id own --secret-stdin";
    let hmac = words(hmac);
    let hmac: Vec<_> = hmac.iter().map(String::as_str).collect();
    assert_eq!(stage.credentials_with(&hmac, "a,b\n").code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_secret_is_refused_and_not_cut() {
    let stage = Stage::set().await;
    let own = "issue --merchant m --provider vtex --id own --secret-stdin";
    let own = words(own);
    let own: Vec<_> = own.iter().map(String::as_str).collect();
    for length in [4097, 4098, 4099, 10_000] {
        let secret = format!("{}\r\n", "s".repeat(length));
        let refused = stage.credentials_with(&own, &secret);
        assert!(refused.error().contains("4096 bytes"), "{length}: {refused:?}");
    }
    assert_eq!(stage.items().await, [json!(null); 0]);
    let longest = "s".repeat(4096);
    assert_eq!(stage.credentials_with(&own, &format!("{longest}\r\n")).code, Some(0));
    let digest = hex::encode(Sha256::digest(&longest));
    assert_eq!(stage.items().await[0]["secret_sha256"], digest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_secret_is_not_printed() {
    let stage = Stage::set().await;
    for (provider, json) in
        [("hyperswitch", true), ("vtex", true), ("one2pays", false), ("walletconnect", false)]
    {
        let mut arguments =
            vec!["issue", "--merchant", "m", "--provider", provider, "--secret-stdin"];
        if json {
            arguments.push("--json");
        }
        let issued = stage.credentials_with(&arguments, "given-secret\n");
        assert_eq!(issued.code, Some(0), "{issued:?}");
        let printed = issued.stdout + &issued.stderr;
        assert!(!printed.contains("given-secret"), "{printed}");
        assert!(!printed.contains("shown this once"), "{printed}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_characters_are_shown_as_codes() {
    let stage = Stage::set().await;
    let item = json!({"pk": "vtex#k\u{1b}[2J", "merchant_id": "m\u{9b}\u{202e}", "active": true});
    embedded::put(&stage.tables, "credentials", &item).await.unwrap();
    let lines = stage.credentials(&["list"]).stdout;
    assert!(lines.contains("k\\u{1b}[2J") && lines.contains("m\\u{9b}\\u{202e}"), "{lines}");
    let listed = stage.credentials(&["list", "--json"]);
    assert_eq!(listed.json()[0]["merchant_id"], item["merchant_id"]);
    let refused = stage.credentials(&["revoke", "--provider", "vtex", "x\u{1b}[2J"]);
    // A line end neither, where it would begin a line of ours.
    let item = json!({"pk": "vtex#key", "merchant_id": "m\n  secret  forged", "active": true});
    embedded::put(&stage.tables, "credentials", &item).await.unwrap();
    let rotated = stage.credentials(&["rotate", "--provider", "vtex", "key"]).stdout;
    assert!(rotated.contains("m\\u{a}  secret  forged\n"), "{rotated}");
    let printed = lines + &listed.stdout + refused.error();
    let raw = |it: char| it != '\n' && it.is_control() || it == '\u{202e}';
    assert!(!printed.chars().any(raw), "{printed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_input_is_refused_with_what_to_do() {
    let stage = Stage::set().await;
    stage.issue(&["--provider", "hyperswitch"]);
    let before = stage.items().await;
    let hyperswitch = "--provider hyperswitch";
    for (line, message) in [
        (format!("issue {hyperswitch} --merchant a#b"), "no '#'"),
        (format!("issue {hyperswitch} --merchant é"), "visible ASCII"),
        (format!("issue {hyperswitch}"), "--merchant"),
        (format!("issue {hyperswitch} --merchant m --id x"), "no public id"),
        (format!("issue {hyperswitch} --merchant m --api-version 1"), "no API versions"),
        (format!("issue {hyperswitch} --merchant m --in soon"), "90d, 12h or 30m"),
        (format!("issue {hyperswitch} --merchant m --in=-1h"), "--in"),
        (format!("issue {hyperswitch} --merchant m --at tomorrow"), "--at"),
        ("issue --provider walletconnect --merchant m --scheme x".into(), "api-key or app-id"),
        (
            "issue --provider walletconnect --merchant m --scheme app-id --secret-stdin".into(),
            "no secret",
        ),
        (format!("revoke {hyperswitch} 000000000000"), "`list --provider hyperswitch`"),
        (format!("revoke {hyperswitch} {}", key::issue(KeyKind::Secret, [1; 32])), "no credential"),
        (format!("rotate {hyperswitch} nothing"), "no credential nothing"),
        ("--credentials-table absent list".into(), "table flags"),
        ("list --provider stripe".into(), "possible values"),
    ] {
        let line = words(&line);
        let line: Vec<_> = line.iter().map(String::as_str).collect();
        let refused = stage.credentials(&line);
        assert!(refused.error().contains(message), "{line:?}: {refused:?}");
    }
    assert_eq!(stage.items().await, before);

    let no_identity =
        binary(&["--endpoint-url", "http://127.0.0.1:9", "credentials", "list"], &[], "");
    assert!(no_identity.error().contains("--endpoint-url"), "{no_identity:?}");
    let nowhere = binary(&["credentials", "list"], &[], "");
    assert!(nowhere.error().contains("--region"), "{nowhere:?}");
    let no_identity = binary(&["credentials", "list", "--region", "us-east-1"], &[], "");
    assert!(no_identity.error().contains("aws sso login"), "{no_identity:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_found_by_id_digits_or_leaked_secret() {
    let stage = Stage::set().await;
    // Two digests with a common beginning.
    for end in ["0", "1"] {
        let pk = format!("hyperswitch#{}{end}", "ab".repeat(31) + "c");
        let item = json!({"pk": pk, "merchant_id": "m", "active": true});
        embedded::put(&stage.tables, "credentials", &item).await.unwrap();
    }
    let revoke = |provider: &str, key: &str| {
        stage.credentials(&["--json", "revoke", "--provider", provider, key])
    };
    assert!(revoke("hyperswitch", "abababababab").error().contains("several"));
    assert!(revoke("hyperswitch", "abababa").error().contains("no credential"));
    let issued = stage.issue(&["--provider", "hyperswitch"]);
    let leaked = issued["secret"].as_str().unwrap();
    assert_eq!(revoke("hyperswitch", leaked).json()["key"], issued["key"]);
    let pair = stage.issue(&["--provider", "vtex"]);
    let id = pair["id"].as_str().unwrap();
    assert_eq!(revoke("vtex", id).json()["state"], "revoked");
    // Another provider's is another's.
    revoke("one2pays", id).error();
    let token = revoke("vtex", pair["secret"].as_str().unwrap());
    assert!(token.error().contains("give the id"), "{token:?}");
    let active = stage.items().await.iter().filter(|item| item["active"] == true).count();
    assert_eq!(active, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_response_is_not_taken_for_a_duplicate() {
    let stage = Stage::set().await;
    let store = stage.url.strip_prefix("http://").unwrap().parse();
    let proxy = FaultProxy::start(store.unwrap()).await.unwrap();
    let broken = Stage { url: proxy.url(), tables: stage.tables.clone() };
    let lost = Fault::Response { after: 0, how: Cut::Reset };
    proxy.script([lost]);
    let issued = broken.issue(&["--provider", "vtex"]);
    assert_eq!(proxy.attempts(), 2);
    assert_eq!(stage.items().await.len(), 1);

    // The first attempt reads the old one.
    proxy.script([Fault::None, lost]);
    let key = issued["key"].as_str().unwrap();
    let rotated = broken.credentials(&["--json", "rotate", "--provider", "vtex", key]);
    assert_eq!(rotated.json()["replaces"]["key"], key);
    assert_eq!(proxy.attempts(), 3);
    assert_eq!(stage.items().await.len(), 2);

    // Without any response, the error states that.
    proxy.always(lost);
    let open = broken.credentials(&["issue", "--provider", "vtex", "--merchant", "m"]);
    assert!(open.error().contains("no definite response"), "{open:?}");
    assert!(!open.stderr.contains("pck_"), "{open:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_active_credential_gets_a_successor_and_an_earlier_end_stays() {
    let stage = Stage::set().await;
    let rotate = |key: &str| {
        stage.credentials(&["--json", "rotate", "--provider", "vtex", key, "--overlap", "2d"])
    };
    let ends = stage.issue(&["--provider", "vtex", "--in", "1h"]);
    let rotated = rotate(ends["key"].as_str().unwrap()).json();
    assert_eq!(rotated["replaces"]["expires_at"], ends["expires_at"]);
    assert_eq!(rotated["expires_at"], Value::Null);

    for step in ["revoke", "expire"] {
        let issued = stage.issue(&["--provider", "vtex"]);
        let key = issued["key"].as_str().unwrap();
        assert_eq!(stage.credentials(&[step, "--provider", "vtex", key]).code, Some(0));
        let before = stage.items().await.len();
        assert!(rotate(key).error().contains("issue a new"), "{step}");
        assert_eq!(stage.items().await.len(), before);
    }

    // An end of another type reads as none, and only the write's condition sees it.
    let issued = stage.issue(&["--provider", "vtex"]);
    let key = issued["key"].as_str().unwrap();
    let end = AttributeValue::N("1".into());
    let update = stage.tables.update_item().table_name("credentials");
    let pk = AttributeValue::S(format!("vtex#{key}"));
    let update = update.key("pk", pk).expression_attribute_values(":end", end);
    let update = update.update_expression("SET expires_at = :end");
    update.send().await.unwrap();
    let before = stage.items().await;
    assert!(rotate(key).error().contains("changed just now"));
    assert_eq!(stage.items().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_states_and_filters_and_needs_no_secret() {
    let stage = Stage::set().await;
    let active = stage.issue(&["--provider", "hyperswitch"]);
    let pair = stage.issue(&["--provider", "vtex"]);
    let hmac = stage.issue(&["--provider", "one2pays", "--at", "2020-01-01T00:00:00Z"]);
    stage.credentials(&["revoke", "--provider", "vtex", pair["key"].as_str().unwrap()]);
    let listed = stage.credentials(&["list", "--json"]).json();
    let states: Vec<_> = listed
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| (entry["key"].clone(), entry["state"].as_str().unwrap()))
        .collect();
    assert_eq!(
        states,
        [
            (active["key"].clone(), "active"),
            (hmac["key"].clone(), "expired"),
            (pair["key"].clone(), "revoked"),
        ]
    );
    let table = stage.credentials(&["list"]).stdout;
    assert_eq!(table.lines().count(), 4, "{table}");
    for issued in [&active, &pair, &hmac] {
        let secret = issued["secret"].as_str().unwrap();
        assert!(!table.contains(secret) && !listed.to_string().contains(secret));
    }
    let of = |arguments: &[&str]| {
        let all = [&["--json", "list"], arguments].concat();
        stage.credentials(&all).json().as_array().unwrap().len()
    };
    assert_eq!(of(&["--provider", "vtex"]), 1);
    assert_eq!(of(&["--merchant", "m_demo"]), 3);
    assert_eq!(of(&["--merchant", "m_demo", "--provider", "one2pays"]), 1);
    assert_eq!(of(&["--merchant", "m"]), 0);
    assert_eq!(stage.credentials(&["list", "--merchant", "m"]).stdout, "no credentials\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn profiles_with_keys_a_process_and_a_sign_in_are_used() {
    let stage = Stage::set().await;
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(".aws");
    fs::create_dir_all(&home).unwrap();
    let profiles = r#"
[profile operator]
aws_access_key_id = a
aws_secret_access_key = b
region = eu-west-1
[profile process]
credential_process = printf '{"Version":1,"AccessKeyId":"a","SecretAccessKey":"b"}'
region = eu-west-1
[profile signed-out]
sso_session = work
sso_account_id = 123456789012
sso_role_name = operator
region = eu-west-1
[sso-session work]
sso_start_url = https://example.com/start
sso_region = eu-west-1
"#;
    fs::write(home.join("config"), profiles).unwrap();
    let list = |profile: &str| stage.credentials(&["list", "--profile", profile]);
    for profile in ["operator", "process"] {
        let listed = list(profile);
        assert_eq!(listed.code, Some(0), "{listed:?}");
    }
    for profile in ["missing", "signed-out"] {
        let refused = list(profile);
        assert!(refused.error().contains("no AWS credentials"), "{refused:?}");
        assert!(refused.error().contains("aws sso login"), "{refused:?}");
    }
    // It is the sign-in that is missing, not the tool's part of it.
    assert!(list("signed-out").error().contains("token"));
}
