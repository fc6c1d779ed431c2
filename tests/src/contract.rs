//! The tests that every provider has to pass.

use std::{collections::BTreeSet, net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use aws_sdk_dynamodb::Client;
use futures_util::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{client::legacy, rt::TokioExecutor};
use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use shared::provider::Provider;
use tokio::{runtime::Runtime, sync::Mutex};

use crate::{
    crash,
    cut_points::{matrix, number as matrix_size},
    faults::{Done, FaultProxy, unreachable},
    front_ends,
    golden::{Call, Case, Given, cases, delivered, malformed_event},
    history, lifecycle, limits, log, openapi, patience, plain, tenancy,
    transport::{Answer, Transport},
};

/// Long enough that no credential is forgotten during a test.
const WARM: Duration = Duration::from_secs(600);

/// Runs every test there is for the provider `P`, whose binary lies at `binary`: the `main` of its `tests/contract.rs`.
#[must_use]
pub fn contract<P: Provider>(binary: &'static str) -> ExitCode {
    let arguments = Arguments::from_args();
    let cases = cases(P::NAME).expect("the provider has golden cases");
    let requests = delivered(P::NAME).expect("the provider has requests for every front end");
    let runtime = Arc::new(Runtime::new().expect("a runtime"));
    let mut trials = Vec::new();

    for (kind, path) in [("service", None), ("binary", Some(binary))] {
        let stage = Arc::new(Mutex::new(None));
        for case in cases.clone() {
            let (stage, runtime) = (Arc::clone(&stage), Arc::clone(&runtime));
            trials.push(Trial::test(
                format!("golden::{kind}::{}", case.name),
                move || {
                    run(&runtime, async {
                        // One stage serves all cases of its kind, one after another.
                        let mut stage = stage.lock().await;
                        let stage = match stage.as_mut() {
                            Some(stage) => stage,
                            None => stage.insert(Stage::<P>::set(path, Duration::ZERO).await?),
                        };
                        stage.play(&case).await.map(drop)
                    })
                },
            ));
        }
    }
    for (kind, path) in [("service", None), ("binary", Some(binary))] {
        let stage = Arc::new(Mutex::new(None));
        for (request, events) in requests.clone() {
            let (stage, runtime) = (Arc::clone(&stage), Arc::clone(&runtime));
            trials.push(Trial::test(
                format!("front_ends::{kind}::{request}"),
                move || {
                    run(&runtime, async {
                        let mut stage = stage.lock().await;
                        let stage = match stage.as_mut() {
                            Some(stage) => stage,
                            None => stage.insert(Stage::<P>::set(path, Duration::ZERO).await?),
                        };
                        for event in &events {
                            let answer = stage.play(event).await.context(event.name.clone())?;
                            front_ends::check_form(&event.name, &answer)?;
                        }
                        Ok(())
                    })
                },
            ));
        }
    }
    let mut test = |name: &str, test: fn(&Runtime, &[Case], &'static str) -> Result<()>| {
        let (cases, runtime) = (cases.clone(), Arc::clone(&runtime));
        trials.push(Trial::test(name, move || {
            test(&runtime, &cases, binary).map_err(failed)
        }));
    };
    test(
        "every_front_end_gets_the_same_answer_to_every_golden_case",
        |runtime, cases, _| runtime.block_on(front_ends::<P>(cases)),
    );
    test(
        "no_event_ends_the_process_or_stays_without_the_providers_answer",
        |runtime, cases, binary| runtime.block_on(malformed::<P>(cases, binary)),
    );
    test(
        "a_cancel_is_one_request_to_dynamodb_in_every_outcome",
        |runtime, cases, _| runtime.block_on(one_request::<P>(cases)),
    );
    test(
        "of_64_concurrent_cancels_in_4_processes_one_wins",
        |runtime, cases, binary| runtime.block_on(one_winner::<P>(cases, binary)),
    );
    test(
        "a_replay_has_the_bytes_of_the_first_answer",
        |runtime, cases, binary| runtime.block_on(replay::<P>(cases, binary)),
    );
    test(
        "a_foreign_payment_is_byte_identical_to_a_missing_one",
        |runtime, cases, _| runtime.block_on(foreign::<P>(cases)),
    );
    test(
        "the_log_has_one_event_a_request_of_allowed_fields_and_no_credential",
        |runtime, cases, binary| runtime.block_on(log::of_golden_cases::<P>(cases, binary)),
    );
    test(
        "nothing_that_a_client_sends_forges_a_log_line",
        |runtime, cases, binary| runtime.block_on(log::of_hostile_events::<P>(cases, binary)),
    );
    test(
        "what_is_over_a_limit_is_refused_before_the_store_is_asked",
        |runtime, cases, _| runtime.block_on(limits::edges::<P>(cases)),
    );
    test(
        "no_stranger_cancels_or_learns_anything",
        |runtime, cases, _| runtime.block_on(tenancy::strangers::<P>(cases)),
    );
    test(
        "no_answer_is_untrue_at_any_cut_point",
        |runtime, cases, _| runtime.block_on(cut_points::<P>(cases)),
    );
    test(
        "no_answer_is_later_than_100_ms_before_the_deadline",
        |runtime, cases, _| runtime.block_on(patience::deadlines::<P>(cases)),
    );
    test(
        "a_killed_process_leaves_one_transition_and_one_answer",
        |runtime, cases, binary| runtime.block_on(crash::killed::<P>(cases, binary)),
    );
    test(
        "a_process_connects_before_it_polls",
        |runtime, cases, binary| runtime.block_on(lifecycle::primed(cases, P::NAME, binary)),
    );
    test(
        "a_process_serves_as_many_at_once_as_it_is_told",
        |runtime, cases, binary| runtime.block_on(lifecycle::at_once(cases, binary)),
    );
    test(
        "where_the_plain_way_is_untrue_this_is_not",
        |runtime, cases, _| runtime.block_on(plain::side_by_side::<P>(cases)),
    );
    test(
        "in_no_history_of_real_processes_is_any_client_told_an_untruth",
        |runtime, cases, binary| runtime.block_on(history::wire::histories::<P>(cases, binary)),
    );
    test(
        "the_openapi_document_has_its_route_and_its_words",
        |_, _, _| openapi::describes::<P>(),
    );
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn run(runtime: &Runtime, test: impl Future<Output = Result<()>>) -> Result<(), Failed> {
    runtime.block_on(test).map_err(failed)
}

fn failed(error: anyhow::Error) -> Failed {
    format!("{error:#}").into()
}

/// A provider with its tables: an embedded DynamoDB, a proxy before it, and the provider before that.
pub(crate) struct Stage<P: Provider> {
    pub(crate) provider: Transport<P>,
    without_store: Transport<P>,
    pub(crate) proxy: FaultProxy,
    store: SocketAddr,
    tables: Client,
}

impl<P: Provider> Stage<P> {
    /// Sets one up: the binary at `path`, or else the service in this process.
    pub(crate) async fn set(path: Option<&str>, ttl: Duration) -> Result<Self> {
        let (store, tables) = embedded::with_tables().await?;
        let proxy = FaultProxy::start(store).await?;
        let provider = start(path, &proxy.url(), ttl).await?;
        let _ = proxy.take();
        Ok(Self {
            provider,
            without_store: start(path, &unreachable().await?, ttl).await?,
            proxy,
            store,
            tables,
        })
    }

    /// One golden case, from empty tables.
    async fn play(&self, case: &Case) -> Result<Answer> {
        self.empty().await?;
        self.give("credentials", &case.given.credentials).await?;
        self.give("payments", &case.given.payments).await?;
        let provider = match case.given.store.as_deref() {
            None => &self.provider,
            Some("unreachable") => &self.without_store,
            Some(other) => bail!("{}: no such store: {other}", case.name),
        };
        let _ = self.proxy.take();
        let call = Call::begin();
        let answer = provider.invoke(&call.request_id, &case.event()).await?;
        let done = self.proxy.take();
        case.check(
            &call,
            &answer,
            &embedded::scan(&self.tables, "payments").await?,
        )?;
        ensure!(
            writes(&done) == case.then.writes,
            "{} writes instead of {}: {done:?}",
            writes(&done),
            case.then.writes
        );
        Ok(answer)
    }

    pub(crate) async fn ask(&self, case: &Case) -> Result<(Call, Answer)> {
        let call = Call::begin();
        let answer = self
            .provider
            .invoke(&call.request_id, &case.event())
            .await?;
        Ok((call, answer))
    }

    pub(crate) async fn give(&self, table: &str, items: &[Value]) -> Result<()> {
        for item in items {
            embedded::put(&self.tables, table, item).await?;
        }
        Ok(())
    }

    pub(crate) async fn empty(&self) -> Result<()> {
        for table in ["payments", "credentials"] {
            for item in embedded::scan(&self.tables, table).await? {
                let pk = item["pk"].as_str().context("an item has no pk")?;
                embedded::delete(&self.tables, table, pk).await?;
            }
        }
        Ok(())
    }
}

async fn start<P: Provider>(path: Option<&str>, url: &str, ttl: Duration) -> Result<Transport<P>> {
    match path {
        Some(path) => Transport::binary(path, url, ttl).await,
        None => Ok(Transport::service(url, ttl).await),
    }
}

fn writes(done: &[Done]) -> usize {
    done.iter()
        .filter(|done| done.operation == "UpdateItem")
        .count()
}

/// A case that cancels a payment, to build other tests on.
pub(crate) fn canceling(cases: &[Case]) -> Result<&Case> {
    cases
        .iter()
        .find(|case| case.cancels() && case.event.pointer("/headers/idempotency-key").is_none())
        .context("no case cancels a payment")
}

/// The shortest of them that names its payment twice, in the path and as its parameter: room to make it longer.
pub(crate) fn shortest(cases: &[Case]) -> Result<&Case> {
    let plain = cases.iter().filter(|case| {
        case.cancels()
            && case.event.pointer("/headers/idempotency-key").is_none()
            && case.event["pathParameters"].is_object()
            && case.event["isBase64Encoded"] == false
    });
    plain
        .min_by_key(|case| case.event.to_string().len())
        .context("no case cancels a payment")
}

/// With the credential remembered, a cancel is one `UpdateItem` and nothing else, whatever comes of it.
async fn one_request<P: Provider>(cases: &[Case]) -> Result<()> {
    let asked = cases.iter().filter(|case| case.then.writes == 1);
    let (mut outcomes, mut charged) = (BTreeSet::new(), 0);
    for case in asked {
        // A stage each, for no two cases agree on what a credential is.
        let stage = Stage::<P>::set(None, WARM).await?;
        stage.give("credentials", &case.given.credentials).await?;
        stage.ask(case).await?;
        let _ = stage.proxy.take();
        stage.give("payments", &case.given.payments).await?;
        let (_, answer) = stage.ask(case).await?;
        let done = stage.proxy.take();
        let operations = done
            .iter()
            .map(|request| request.operation.as_str())
            .collect::<Vec<_>>();
        ensure!(
            operations == ["UpdateItem"],
            "{}: {operations:?}",
            case.name
        );
        ensure!(
            answer.status == case.then.status,
            "{}: status {}",
            case.name,
            answer.status
        );
        outcomes.insert(answer.status);
        if done.iter().all(|request| request.status == 200) {
            let again = stage.proxy.last_request();
            stage.give("payments", &case.given.payments).await?;
            let units = write_units(stage.store, &again).await?;
            // A kilobyte is one unit, and its JSON is more than the item; only a very long reason makes one larger.
            let items = embedded::scan(&stage.tables, "payments").await?;
            if items.iter().all(|item| item.to_string().len() <= 1024) {
                ensure!(units == json!(1.0), "{}: {units} write units", case.name);
                charged += 1;
            }
        }
    }
    ensure!(
        outcomes.len() > 1,
        "only one outcome was tried: {outcomes:?}"
    );
    ensure!(charged > 0, "no transition was tried");
    Ok(())
}

/// What the store charges for this `UpdateItem`. Of one that it refuses it does not say.
async fn write_units(store: SocketAddr, request: &str) -> Result<Value> {
    let mut request: Value = serde_json::from_str(request)?;
    request["ReturnConsumedCapacity"] = "TOTAL".into();
    let request = Request::post(format!("http://{store}/"))
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amz-target", "DynamoDB_20120810.UpdateItem")
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host;x-amz-date, Signature=0",
        )
        .header("x-amz-date", "20260101T000000Z")
        .body(Full::<Bytes>::from(request.to_string()))?;
    let client = legacy::Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await?.into_body();
    let answer: Value = serde_json::from_slice(&answer.collect().await?.to_bytes())?;
    let units = answer.pointer("/ConsumedCapacity/CapacityUnits");
    units.cloned().with_context(|| format!("it says {answer}"))
}

/// 64 requests at once, spread over 4 processes: DynamoDB makes one transition, and one caller is told that it was his.
async fn one_winner<P: Provider>(cases: &[Case], binary: &str) -> Result<()> {
    let case = canceling(cases)?;
    let stage = Stage::<P>::set(None, WARM).await?;
    stage.give("credentials", &case.given.credentials).await?;
    stage.give("payments", &case.given.payments).await?;
    let mut processes = Vec::new();
    for _ in 0..4 {
        processes.push(Transport::<P>::binary(binary, &stage.proxy.url(), WARM).await?);
    }
    let event = case.event();
    let requests = (0..64).map(|n| {
        let process = &processes[n % 4];
        let event = &event;
        async move { process.invoke(&Call::begin().request_id, event).await }
    });
    let answers = try_join_all(requests).await?;

    let transitions = stage
        .proxy
        .take()
        .iter()
        .filter(|r| r.operation == "UpdateItem" && r.status == 200)
        .count();
    ensure!(transitions == 1, "{transitions} transitions");
    let told = |answer: &&Answer| {
        answer.status == 200 && !answer.headers.contains_key("idempotent-replayed")
    };
    let winners = answers.iter().filter(told).count();
    ensure!(
        winners == 1,
        "{winners} callers were told that they canceled it"
    );
    ensure!(
        answers.iter().all(|answer| answer.status < 500),
        "a caller got a server error"
    );
    Ok(())
}

/// The same request again, in another process, answers the same bytes and says that it is a replay.
async fn replay<P: Provider>(cases: &[Case], binary: &str) -> Result<()> {
    let mut case = canceling(cases)?.clone();
    case.event["headers"]["idempotency-key"] = json!("key-1");
    let stage = Stage::<P>::set(None, WARM).await?;
    stage.give("credentials", &case.given.credentials).await?;
    stage.give("payments", &case.given.payments).await?;
    let (_, first) = stage.ask(&case).await?;
    let table = embedded::scan(&stage.tables, "payments").await?;
    ensure!(
        first.status == 200 && !first.headers.contains_key("idempotent-replayed"),
        "the first: {first:?}"
    );

    let process = Transport::<P>::binary(binary, &format!("http://{}", stage.store), WARM).await?;
    for again in 0..3 {
        let second = process
            .invoke(&Call::begin().request_id, &case.event())
            .await?;
        ensure!(
            second.body == first.body && second.status == 200,
            "replay {again}: {second:?} after {first:?}"
        );
        ensure!(
            second
                .headers
                .get("idempotent-replayed")
                .is_some_and(|said| said == "true"),
            "replay {again}: {second:?}"
        );
    }
    ensure!(
        embedded::scan(&stage.tables, "payments").await? == table,
        "a replay changed the payment"
    );
    Ok(())
}

/// Another merchant's payment: same status, same headers, same bytes, same requests to the store as one that does not exist.
async fn foreign<P: Provider>(cases: &[Case]) -> Result<()> {
    let case = canceling(cases)?;
    let stage = Stage::<P>::set(None, WARM).await?;
    stage.give("credentials", &case.given.credentials).await?;
    let call = Call::begin();
    let event = case.event();
    stage.provider.invoke(&call.request_id, &event).await?;
    let _ = stage.proxy.take();

    let missing = stage.provider.invoke(&call.request_id, &event).await?;
    let asked_for_missing = stage.proxy.take();
    let mut theirs = case.given.payments.clone();
    for item in &mut theirs {
        let pk = item["pk"].as_str().context("an item has no pk")?;
        let mut parts = pk.splitn(3, '#');
        let (provider, payment) = (
            parts.next().unwrap_or_default(),
            parts.nth(1).unwrap_or_default(),
        );
        item["pk"] = json!(format!("{provider}#m_somebody_else#{payment}"));
    }
    stage.give("payments", &theirs).await?;
    let foreign = stage.provider.invoke(&call.request_id, &event).await?;
    ensure!(foreign == missing, "{foreign:?}\ninstead of\n{missing:?}");
    ensure!(
        stage.proxy.take() == asked_for_missing,
        "the store was asked differently"
    );
    Ok(())
}

/// Events that no front end makes: each gets the answer that the provider gives to an event without a method, from the service and from one
/// process, which then still cancels.
async fn malformed<P: Provider>(cases: &[Case], binary: &str) -> Result<()> {
    let mut expected = canceling(cases)?.clone();
    let ordinary = golden::source::request(&expected.event())?;
    expected.then = malformed_event(P::NAME)?;
    // Nothing is stored: no event may get as far as the tables.
    expected.given = Given::default();
    for path in [None, Some(binary)] {
        let stage = Stage::<P>::set(path, Duration::ZERO).await?;
        for event in front_ends::malformed(&ordinary, P::ROUTE) {
            let shown: String = event.chars().take(200).collect();
            let call = Call::begin();
            let answer = stage.provider.invoke(&call.request_id, &event).await;
            let answer = answer.with_context(|| shown.clone())?;
            expected.check(&call, &answer, &[]).context(shown)?;
        }
        if let Transport::Binary(_) = &stage.provider {
            // Lambda takes no invocation that is not JSON, so nobody waits for an answer. The process must go on all the same.
            for event in ["", "POST /payments", "{", "\u{0}"] {
                let call = Call::begin();
                let answer = stage.provider.invoke(&call.request_id, event).await;
                ensure!(answer.is_err(), "{event:?} got {answer:?}");
            }
        }
        stage.play(canceling(cases)?).await?;
    }
    Ok(())
}

/// Every golden case through every front end, and the counts of both.
#[expect(clippy::print_stdout, reason = "the counts say how much was compared")]
async fn front_ends<P: Provider>(cases: &[Case]) -> Result<()> {
    let counted = front_ends::one_answer::<P>(cases).await?;
    let requests = delivered(P::NAME)?;
    println!(
        "{}: {} golden cases in {} formats, {} events; {} requests in literal events, {} events",
        P::NAME,
        counted.cases,
        front_ends::FRONT_ENDS.len(),
        counted.events,
        requests.len(),
        requests.values().map(Vec::len).sum::<usize>(),
    );
    Ok(())
}

/// The cut-point matrix, and its counts.
#[expect(clippy::print_stdout, reason = "the counts are what the matrix is for")]
async fn cut_points<P: Provider>(cases: &[Case]) -> Result<()> {
    let number = matrix_size();
    let counted = matrix::<P>(cases, number).await?;
    println!(
        "{}: {number} cells, {} wrong, outcomes {:?}",
        P::NAME,
        counted.wrong.len(),
        counted.outcomes
    );
    ensure!(
        counted.wrong.is_empty(),
        "{} wrong, the first: {}",
        counted.wrong.len(),
        counted.wrong[0]
    );
    for outcome in [
        "canceled",
        "not_cancelable",
        "not_found",
        "key_reused",
        "undecided",
    ] {
        ensure!(
            counted.outcomes.contains_key(outcome),
            "{outcome} never came of it: {:?}",
            counted.outcomes
        );
    }
    Ok(())
}
