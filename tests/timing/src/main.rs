//! Response times must not reveal the store's contents. Statistics after [dudect]: two classes of
//! input, drawn at random, timed one by one, cropped at many percentiles, compared by Welch's
//! t-test. `|t|` below 4.5 is no evidence of a difference; above, it is.
//!
//! `cargo run --release -p timing` takes 1,000,000 samples of each pair, and `-- 100000` that many.
//! It fails if a pair differs, or if the comparison that is made to leak does not. A busy machine
//! only adds noise to both classes.
//!
//! [dudect]: https://eprint.iacr.org/2016/1123
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "it prints a table, and fails by panicking"
)]

use std::{
    env,
    hint::black_box,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use fastrand::Rng;
use futures_util::FutureExt;
use hmac::{Hmac, KeyInit, Mac};
use indicatif::{ProgressBar, ProgressStyle};
use providers::Visitor;
use sha2::{Digest, Sha256};
use shared::{
    auth::{Authenticator, Credential, CredentialRecord},
    budget::Budget,
    clock::{Clock, Timestamp},
    json::Json,
    payment::Payment,
    provider::Provider,
    request::Invocation,
    service::{CancelService, Settings},
    store::memory::MemoryStore,
};
use tower_service::Service;

/// The bound of the paper: beyond it the classes differ.
const BOUND: f64 = 4.5;

/// How many percentiles the times are cropped at: the slowest ones show the machine.
const CROPS: usize = 100;

/// After this many samples, keys, tables and the seeds of their hashes are made new. A random
/// difference, such as the place in a table or in memory, must not pass for a difference of the
/// classes.
const ROUND: usize = 100;

const NOW: i64 = 1_700_000_000_000;
const KEY: &str = "key-known";
const SECRET: &str = "sk_0123456789abcdef0123456789abcdef";
const PAYMENT: &str = "550e8400-e29b-41d4-a716-446655440000";

/// What One2Pays' clients sign with [`SECRET`].
fn tag(timestamp: i64, body: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any key");
    mac.update(format!("{timestamp}.").as_bytes());
    mac.update(body);
    mac.finalize().into_bytes().into()
}

/// A fixed clock.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(NOW).expect("a time")
    }
}

fn main() -> Result<ExitCode> {
    let samples = env::args().nth(1).map_or(Ok(1_000_000), |text| text.parse())?;
    println!("| | classes | samples | median ns | largest t | |\n|---|---|--:|--:|--:|---|");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
    let _timers = runtime.enter();
    let mut table = Table { samples, wrong: 0 };
    table.leak();
    table.signatures();
    table.lookups();
    providers::visit(&mut table)?;
    Ok(if table.wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Table {
    samples: usize,
    wrong: usize,
}

impl Visitor for Table {
    fn visit<P: Provider>(&mut self) -> Result<()> {
        self.payments::<P>()
    }
}

/// What is the right result of a comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expected {
    Same,
    Different,
}

impl Table {
    /// Compares two classes of inputs to `work`, which are made by `fresh` together with what they
    /// work on.
    fn compare<W, I>(
        &mut self,
        what: &str,
        classes: &str,
        expected: Expected,
        fresh: impl FnMut(&mut Rng) -> (W, [I; 2]),
        work: impl FnMut(&mut W, &I),
    ) {
        let times = measure(self.samples, &bar(what, self.samples), fresh, work);
        let t = largest_t(&times);
        let verdict = match (t.abs() < BOUND, expected) {
            (true, Expected::Same) => "no difference",
            (false, Expected::Different) => "differ, as they are made to",
            (true, Expected::Different) => "**the leak is not found**",
            (false, Expected::Same) => "**differ**",
        };
        self.wrong += usize::from(verdict.starts_with('*'));
        let [first, second] = times.each_ref().map(|times| median(times));
        println!(
            "| {what} | {classes} | {} | {first:.0} / {second:.0} | {t:.2} | {verdict} |",
            self.samples
        );
    }

    /// The control: a comparison that stops at the first difference must be caught.
    fn leak(&mut self) {
        self.compare(
            "control: a comparison that leaks",
            "wrong in the first byte / in the last",
            Expected::Different,
            |random| {
                let tag: [u8; 32] = std::array::from_fn(|_| random.u8(..));
                (tag, [flipped(tag, 0), flipped(tag, 31)])
            },
            |right, tag| {
                let same = tag.iter().zip(right.iter()).all(|(one, other)| one == other);
                black_box(same);
            },
        );
    }

    /// One2Pays' kind of proof.
    fn signatures(&mut self) {
        let body = br#"{"a":1}"#;
        let right = tag(NOW, body);
        for (classes, tags) in [
            ("wrong in the first byte / in the last", [flipped(right, 0), flipped(right, 31)]),
            ("wrong in every byte / in the last", [right.map(|byte| !byte), flipped(right, 31)]),
        ] {
            self.compare(
                "signature",
                classes,
                Expected::Same,
                |_| {
                    let world = World::new(Duration::from_secs(3600));
                    world.tables.put_credential(&format!("p#{KEY}"), record());
                    world.refuses(&Credential::signature(KEY, [b"", b"", b""], tags[0]));
                    (world, tags)
                },
                |world, tag| {
                    let parts: [&[u8]; 3] = [b"1700000000000", b".", body];
                    world.refuses(&Credential::signature(KEY, parts, *tag));
                },
            );
        }
    }

    /// The lookup of a cached credential. An uncached one takes as long as the database, which
    /// shows whether the item exists.
    fn lookups(&mut self) {
        let kinds = |expected, classes, kinds: [Kind; 2]| (expected, classes, kinds);
        for (expected, classes, kinds) in [
            kinds(
                Expected::Same,
                "wrong secret / wrong by its last character",
                [Kind::Wrong, Kind::Near],
            ),
            kinds(Expected::Same, "wrong secret / expired", [Kind::Wrong, Kind::Expired]),
            kinds(Expected::Same, "unknown id / wrong secret", [Kind::Unknown, Kind::Wrong]),
            kinds(Expected::Same, "unknown id / expired", [Kind::Unknown, Kind::Expired]),
        ] {
            self.compare(
                "id and secret",
                classes,
                expected,
                |random| {
                    let world = World::new(Duration::from_secs(3600));
                    let pairs = kinds.map(|kind| world.pair(kind, random));
                    for (id, secret) in in_either_order(&pairs, random) {
                        world.refuses(&Credential::pair(id, secret));
                    }
                    (world, pairs)
                },
                |world, (id, secret)| world.refuses(&Credential::pair(id, secret)),
            );
        }
        for (expected, classes, kinds) in [
            kinds(
                Expected::Same,
                "unknown / unknown with the prefix of a known one",
                [Kind::Unknown, Kind::Near],
            ),
            kinds(Expected::Same, "unknown / expired", [Kind::Unknown, Kind::Expired]),
        ] {
            self.compare(
                "secret key",
                classes,
                expected,
                |random| {
                    let world = World::new(Duration::from_secs(3600));
                    let secrets = kinds.map(|kind| world.secret(kind, random));
                    for secret in in_either_order(&secrets, random) {
                        world.refuses(&Credential::secret(secret));
                    }
                    (world, secrets)
                },
                |world, secret| world.refuses(&Credential::secret(secret)),
            );
        }
    }

    /// A whole provider, from the request to the response: a missing payment and another
    /// merchant's.
    fn payments<P: Provider>(&mut self) -> Result<()> {
        let provider = providers::of::<P>()?;
        let scheme = provider.scheme(None)?;
        let key = scheme.kind.presented(KEY, SECRET).pk(P::NAME);
        let body = provider.body.unwrap_or_default();
        let body = body.replace("{payment_id}", PAYMENT).replace("{key}", "1");
        let now = Timestamp::from_millisecond(NOW)?;
        let mut headers = scheme.headers(KEY, SECRET, body.as_bytes(), now);
        headers.push(("content-type".to_owned(), "application/json".to_owned()));
        let route = P::ROUTE;
        let (before, rest) = route.split_once('{').context("a parameter")?;
        let (_, after) = rest.split_once('}').context("a parameter")?;
        let request = || {
            let mut request = http::Request::post(format!("{before}{PAYMENT}{after}"));
            for (name, value) in &headers {
                request = request.header(name, value);
            }
            let request = request.extension(Invocation {
                request_id: "9c1b6a52-0000-4000-8000-00000000000c".to_owned(),
                trace_id: None,
                deadline: None,
            });
            let request = request.body(Bytes::copy_from_slice(body.as_bytes()));
            request.expect("a request")
        };
        let world = |id: &str| {
            let tables = MemoryStore::default();
            tables.put_credential(&key, record());
            tables.put_payment(&format!("{}#m_other#{id}", P::NAME), payment::<P>(id));
            let settings =
                Settings { credential_ttl: Duration::from_secs(3600), ..Settings::default() };
            CancelService::<P, _>::with_clock(tables, &settings, Still)
        };
        // As many payments in both, so that the tables differ only in the merchant.
        let ids = ["550e8400-e29b-41d4-a716-44665544ffff", PAYMENT];
        let [missing, another] = ids.map(|id| response(&mut world(id), request()));
        ensure!(missing == another, "{missing:?} is not {another:?}");
        ensure!([200, 404].contains(&missing.0), "not let in: {missing:?}");
        self.compare(
            P::NAME,
            "missing payment / another merchant's",
            Expected::Same,
            |random| {
                let mut worlds = ids.map(|_| None);
                for &which in in_either_order(&[0, 1], random) {
                    let mut made = world(ids[which]);
                    response(&mut made, request());
                    worlds[which] = Some(made);
                }
                (worlds, [0, 1])
            },
            |worlds, which: &usize| {
                let world = worlds[*which].as_mut().expect("both are made");
                black_box(response(world, request()));
            },
        );
        Ok(())
    }
}

/// What is presented.
#[derive(Clone, Copy)]
enum Kind {
    /// Nobody's.
    Unknown,
    /// Of a known id, another secret.
    Wrong,
    /// Of a known id or key, all but the last character.
    Near,
    /// Right once.
    Expired,
}

/// An authenticator and its table.
struct World {
    authenticator: Authenticator,
    tables: MemoryStore,
}

impl World {
    fn new(ttl: Duration) -> Self {
        Self { authenticator: Authenticator::new(ttl, false), tables: MemoryStore::default() }
    }

    /// An id and a secret of that kind.
    fn pair(&self, kind: Kind, random: &mut Rng) -> (String, String) {
        let (id, secret) = (text("key-", random), text("sk_", random));
        let expires_at = match kind {
            Kind::Unknown => return (id, secret),
            Kind::Expired => Some(Timestamp::UNIX_EPOCH),
            Kind::Wrong | Kind::Near => None,
        };
        let record = CredentialRecord {
            secret_sha256: Some(hex::encode(Sha256::digest(&secret))),
            expires_at,
            ..record()
        };
        self.tables.put_credential(&format!("p#{id}"), record);
        let presented = match kind {
            Kind::Unknown | Kind::Wrong => text("sk_", random),
            Kind::Near => format!("{}!", &secret[..secret.len() - 1]),
            Kind::Expired => secret,
        };
        (id, presented)
    }

    /// A secret key of that kind.
    fn secret(&self, kind: Kind, random: &mut Rng) -> String {
        let secret = text("sk_", random);
        let record = CredentialRecord {
            expires_at: matches!(kind, Kind::Expired).then_some(Timestamp::UNIX_EPOCH),
            ..record()
        };
        let digest = hex::encode(Sha256::digest(&secret));
        match kind {
            Kind::Unknown | Kind::Wrong => secret,
            Kind::Near => {
                self.tables.put_credential(&format!("p#{digest}"), record);
                format!("{}!", &secret[..secret.len() - 1])
            }
            Kind::Expired => {
                self.tables.put_credential(&format!("p#{digest}"), record);
                secret
            }
        }
    }

    fn refuses(&self, credential: &Credential<'_>) {
        let budget = Budget::until(tokio::time::Instant::now());
        let credential = black_box(credential);
        let response =
            self.authenticator.authenticate(&self.tables, "p", credential, Still.now(), &budget);
        let response = response.now_or_never().expect("memory does not wait");
        assert!(black_box(response).is_err(), "no class is let in");
    }
}

/// The one made first may have a better place in memory.
fn in_either_order<'a, T>([one, other]: &'a [T; 2], random: &mut Rng) -> [&'a T; 2] {
    if random.bool() { [one, other] } else { [other, one] }
}

/// 32 random characters after a prefix.
fn text(prefix: &str, random: &mut Rng) -> String {
    let random = (0..32).map(|_| random.alphanumeric());
    prefix.chars().chain(random).collect()
}

fn flipped(mut tag: [u8; 32], at: usize) -> [u8; 32] {
    tag[at] ^= 1;
    tag
}

fn median(times: &[f64]) -> f64 {
    let mut times = times.to_vec();
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// The status and the body of the response.
fn response<P: Provider>(
    service: &mut CancelService<P, MemoryStore>,
    request: http::Request<Bytes>,
) -> (u16, String) {
    let response = service.call(request).now_or_never();
    let Ok(response) = response.expect("memory does not wait");
    (response.status().as_u16(), response.into_body())
}

/// The credential of the merchant `m`, with every kind of proof.
fn record() -> CredentialRecord {
    CredentialRecord {
        merchant_id: "m".to_owned(),
        secret_sha256: Some(hex::encode(Sha256::digest(SECRET))),
        signing_secret: Some(SECRET.to_owned()),
        active: true,
        ..CredentialRecord::default()
    }
}

fn payment<P: Provider>(id: &str) -> Payment {
    Payment {
        id: id.to_owned(),
        merchant_id: "m_other".to_owned(),
        status: P::STATUSES.cancelable[0].to_owned(),
        amount: Json::Number("100".to_owned()),
        currency: "USD".into(),
        created_at: "2024-01-01T00:00:00.000Z".into(),
        ..Payment::default()
    }
}

/// Progress on a terminal; elsewhere nothing. It is written between rounds, when nothing is timed.
fn bar(what: &str, samples: usize) -> ProgressBar {
    let template = "{prefix} {bar:24} {human_pos} of {human_len} samples in {elapsed}, {eta} left";
    let style = ProgressStyle::with_template(template).expect("a template");
    ProgressBar::new(samples as u64).with_style(style).with_prefix(what.to_owned())
}

/// Times of both classes, in nanoseconds, in random order. Inputs are made before the clock starts.
fn measure<W, I>(
    samples: usize,
    bar: &ProgressBar,
    mut fresh: impl FnMut(&mut Rng) -> (W, [I; 2]),
    mut work: impl FnMut(&mut W, &I),
) -> [Vec<f64>; 2] {
    let mut random = Rng::new();
    let mut times = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
    let mut left = samples;
    while left > 0 {
        let (mut world, inputs) = fresh(&mut random);
        // The first of each warms the caches.
        inputs.iter().for_each(|input| work(&mut world, input));
        for _ in 0..ROUND.min(left) {
            let class = usize::from(random.bool());
            let began = Instant::now();
            work(&mut world, &inputs[class]);
            times[class].push(began.elapsed().as_secs_f64() * 1e9);
        }
        left = left.saturating_sub(ROUND);
        bar.inc(ROUND as u64);
    }
    times
}

/// The largest `t` over all the crops, with its sign.
fn largest_t(times: &[Vec<f64>; 2]) -> f64 {
    let mut all = times.concat();
    all.sort_unstable_by(f64::total_cmp);
    // As in the paper's own tool: from the fastest tenth or so up to everything.
    let crops = (1..=CROPS).map(|n| {
        let share = 1.0 - 0.5_f64.powf(10.0 * n as f64 / CROPS as f64);
        let place = (share * all.len() as f64) as usize;
        all[place.min(all.len() - 1)]
    });
    let uncropped = welch(times, f64::INFINITY);
    crops
        .map(|crop| welch(times, crop))
        .fold(uncropped, |most, t| if t.abs() > most.abs() { t } else { most })
}

/// Welch's t of the times below `crop`; 0 if too few remain.
fn welch(times: &[Vec<f64>; 2], crop: f64) -> f64 {
    let moments = |times: &[f64]| {
        let (mut n, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for time in times.iter().filter(|time| **time < crop) {
            n += 1.0;
            let delta = time - mean;
            mean += delta / n;
            squares += delta * (time - mean);
        }
        (n, mean, squares / (n - 1.0_f64).max(1.0))
    };
    let ((n0, mean0, variance0), (n1, mean1, variance1)) = (moments(&times[0]), moments(&times[1]));
    if n0.min(n1) < 1000.0 {
        return 0.0;
    }
    (mean0 - mean1) / (variance0 / n0 + variance1 / n1).sqrt()
}
