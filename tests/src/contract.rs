//! The tests that every provider has to pass: one module a kind, and the list.

mod crash;
mod cut_points;
mod deadlines;
mod isolation;
mod lifecycle;
mod limits;
mod logs;
mod races;
mod requests;
mod side_by_side;
mod transports;

use std::{
    num::NonZero,
    panic,
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
    thread::available_parallelism,
    time::Duration,
};

use anyhow::{Context, Result};
use libtest_mimic::{Arguments, Failed, Trial};
use shared::provider::Provider;
use tokio::runtime::Runtime;

use crate::{
    clock::paused,
    event_sources,
    golden::{Case, cases, delivered},
    history::wire::histories,
    openapi,
    stage::Stage,
};

/// Runs every test of the provider `P`, whose binary is at `binary`: the `main` of its
/// `tests/contract.rs`.
#[must_use]
pub fn contract<P: Provider>(binary: &'static str) -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Some tests wait for processes.
    let cores = available_parallelism().map_or(1, NonZero::get);
    arguments.test_threads.get_or_insert(2 * cores);
    // The parser of events panics on some of them, which is caught. Other panics are printed.
    let print = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        if !panicked.to_string().contains("MaxSizeReached") {
            print(panicked);
        }
    }));
    let cases = cases(P::NAME).expect("the provider has golden cases");
    let requests = delivered(P::NAME).expect("the provider has requests for every event source");
    let mut trials = Vec::new();

    for (name, test) in alone::<P>() {
        let cases = cases.clone();
        trials.push(trial(name.to_owned(), move || test(&cases, binary)));
    }
    let places = [("service", None), ("binary", Some(binary))]
        .map(|(kind, path)| (kind, Arc::new(Mutex::new(Place::<P>::new(path)))));
    // The two in turn, because one place plays one case at a time.
    for case in cases {
        for (kind, place) in places.clone() {
            let (name, case) = (format!("golden::{kind}::{}", case.name), case.clone());
            trials.push(trial(name, move || lock(&place).play(&case, false)));
        }
    }
    for (request, events) in requests {
        for (kind, place) in places.clone() {
            let (name, events) = (format!("event_sources::{kind}::{request}"), events.clone());
            trials.push(trial(name, move || {
                events.iter().try_for_each(|event| lock(&place).play(event, true))
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

type Test = fn(&[Case], &'static str) -> Result<()>;

/// The tests with their own stage: in memory on the paused clock, or with processes and sockets.
/// Processes are checked by order and counts, never by time.
fn alone<P: Provider>() -> Vec<(&'static str, Test)> {
    vec![
        // It waits for the longest.
        ("a_process_connects_before_it_polls", |cases, binary| {
            sockets()?.block_on(lifecycle::primed(cases, P::NAME, binary))
        }),
        ("every_event_source_gets_the_same_response_to_every_golden_case", |cases, _| {
            paused().block_on(transports::every_event_source::<P>(cases))
        }),
        ("every_event_gets_the_providers_response_and_ends_no_process", |cases, binary| {
            paused().block_on(transports::malformed::<P>(cases, None))?;
            sockets()?.block_on(transports::malformed::<P>(cases, Some(binary)))
        }),
        ("a_cancel_is_one_request_to_dynamodb_in_every_outcome", |cases, _| {
            paused().block_on(requests::one_request::<P>(cases))
        }),
        ("of_64_concurrent_cancels_in_4_processes_one_wins", |cases, binary| {
            sockets()?.block_on(races::one_winner::<P>(cases, binary))
        }),
        ("a_replay_has_the_bytes_of_the_first_response", |cases, binary| {
            sockets()?.block_on(races::replay::<P>(cases, binary))
        }),
        ("another_merchants_payment_is_byte_identical_to_a_missing_one", |cases, _| {
            paused().block_on(isolation::another_merchants::<P>(cases))
        }),
        ("one_log_line_a_request_with_listed_fields_and_no_credential", |cases, binary| {
            sockets()?.block_on(logs::of_golden_cases::<P>(cases, binary))
        }),
        ("a_log_line_has_the_duration_in_milliseconds_and_the_retries", |cases, binary| {
            sockets()?.block_on(logs::of_a_retry(cases, binary))
        }),
        ("no_secret_is_in_the_log_at_any_level", |cases, binary| {
            sockets()?.block_on(logs::at_every_level(cases, binary))
        }),
        ("nothing_that_a_client_sends_forges_a_log_line", |cases, binary| {
            sockets()?.block_on(logs::of_hostile_events(cases, binary))
        }),
        ("a_request_over_a_limit_is_refused_before_any_store_request", |cases, _| {
            paused().block_on(limits::edges::<P>(cases))
        }),
        ("no_other_merchant_cancels_or_learns_anything", |cases, _| {
            paused().block_on(isolation::isolation::<P>(cases))
        }),
        ("no_response_is_untrue_at_any_cut_point", |cases, _| {
            paused().block_on(cut_points::no_response_is_untrue::<P>(cases))
        }),
        ("every_response_leaves_100_ms_before_the_deadline", |cases, _| {
            paused().block_on(deadlines::deadlines::<P>(cases))
        }),
        ("a_killed_process_leaves_one_transition_and_one_response", |cases, binary| {
            sockets()?.block_on(crash::killed::<P>(cases, binary))
        }),
        ("a_process_serves_as_many_requests_at_once_as_configured", |cases, binary| {
            sockets()?.block_on(lifecycle::at_once(cases, binary))
        }),
        ("where_a_plain_handler_is_untrue_this_one_is_not", |cases, _| {
            paused().block_on(side_by_side::side_by_side::<P>(cases))
        }),
        ("every_history_of_the_service_is_linearizable", |cases, _| {
            paused().block_on(histories::<P>(cases, None))
        }),
        ("every_history_of_real_processes_is_linearizable", |cases, binary| {
            sockets()?.block_on(histories::<P>(cases, Some(binary)))
        }),
        ("the_openapi_document_has_its_route_and_statuses", |_, _| openapi::describes::<P>()),
    ]
}

/// Where the golden cases run, one after another, and every request as each event source delivers
/// it.
struct Place<P: Provider> {
    path: Option<&'static str>,
    /// In this order, so that a process ends before what it polls.
    ready: Option<(Stage<P>, Runtime)>,
}

impl<P: Provider> Place<P> {
    fn new(path: Option<&'static str>) -> Self {
        Self { path, ready: None }
    }

    fn play(&mut self, case: &Case, literal: bool) -> Result<()> {
        let (stage, runtime) = match &mut self.ready {
            Some(ready) => ready,
            ready @ None => {
                let runtime = match self.path {
                    Some(_) => sockets()?,
                    None => paused(),
                };
                let stage = runtime.block_on(Stage::set(self.path, Duration::ZERO))?;
                ready.insert((stage, runtime))
            }
        };
        let response = runtime.block_on(stage.play(case));
        let response = response.with_context(|| case.name.clone())?;
        match literal {
            true => event_sources::check_form(&case.name, &response),
            false => Ok(()),
        }
    }
}

fn sockets() -> Result<Runtime> {
    Ok(Runtime::new()?)
}

fn trial(name: String, test: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || test().map_err(|error| Failed::from(format!("{error:#}"))))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
