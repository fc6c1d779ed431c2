//! Does the time an answer takes tell what only the store should know? Statistics after [dudect]: two classes of input, drawn at random, timed one by one,
//! cropped at many percentiles, compared by Welch's t-test. `|t|` below 4.5 is no evidence of a difference; above, there is one.
//!
//! `cargo run --release -p timing` takes 1,000,000 samples of each pair, and `-- 100000` as many as are asked for. It ends with an error
//! where a pair differs, or where the comparison that is made to leak does not. Times on a busy machine only add noise to both classes.
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
    io::{IsTerminal, Write},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use futures_util::FutureExt;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use shared::{
    auth::{Credential, CredentialRecord, Keyring},
    clock::{Clock, Timestamp},
    headers::Headers,
    payment::Payment,
    provider::{Provider, Reply},
    request::Incoming,
    service::CancelService,
    store::memory::MemoryStore,
};
use tower_service::Service;

/// The bound of the paper: beyond it the classes differ.
const BOUND: f64 = 4.5;

/// How many percentiles the times are cropped at: the slowest ones tell of the machine.
const CROPS: usize = 100;

/// How often the inputs change: a difference that comes from where two buffers happen to lie in memory must not pass for one of their content.
const ROUNDS: usize = 100;

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

/// A clock that stands still.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millisecond(NOW).expect("a time")
    }
}

fn main() -> Result<ExitCode> {
    let samples = env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |text| text.parse())?;
    println!("| | classes | samples | largest t | |\n|---|---|--:|--:|---|");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()?;
    let _timers = runtime.enter();
    let mut table = Table { samples, wrong: 0 };
    table.leak();
    table.signatures();
    table.look_ups();
    let secret = [("api-key", SECRET.to_owned())];
    let json = [("content-type", "application/json".to_owned())];
    let bearer = [("authorization", format!("Bearer {SECRET}"))];
    let pair = [
        ("x-vtex-api-appkey", KEY.to_owned()),
        ("x-vtex-api-apptoken", SECRET.to_owned()),
    ];
    let signed = [
        ("x-api-key", KEY.to_owned()),
        ("x-timestamp", NOW.to_string()),
        (
            "x-signature",
            format!("sha256={}", hex::encode(tag(NOW, b"{}"))),
        ),
    ];
    let named = json!({ "paymentId": PAYMENT, "requestId": "1" }).to_string();
    let digest = hex::encode(Sha256::digest(SECRET));
    table.payments::<hyperswitch::Hyperswitch>(&digest, &[secret.clone(), json].concat(), "{}")?;
    table.payments::<hedgepayments::HedgePayments>(&digest, &bearer, "{}")?;
    table.payments::<vtex::Vtex>(KEY, &pair, &named)?;
    table.payments::<walletconnect::WalletConnect>(&digest, &secret, "{}")?;
    table.payments::<one2pays::One2Pays>(KEY, &signed, "{}")?;
    Ok(if table.wrong == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Table {
    samples: usize,
    wrong: usize,
}

impl Table {
    /// Compares two classes; `leaks` says which result is the right one.
    fn compare<W>(
        &mut self,
        what: &str,
        classes: &str,
        leaks: bool,
        prepare: impl FnMut(usize) -> [W; 2],
        work: impl FnMut(W),
    ) {
        if std::io::stderr().is_terminal() {
            let _ = write!(std::io::stderr(), "\r{what}: {classes} …\r");
        }
        let times = measure(self.samples, prepare, work);
        let t = largest_t(&times);
        let right = (t.abs() >= BOUND) == leaks;
        self.wrong += usize::from(!right);
        let verdict = match (t.abs() >= BOUND, right) {
            (true, true) => "differ, as they are made to",
            (false, true) => "no difference",
            (true, false) => "**differ**",
            (false, false) => "**the leak is not found**",
        };
        println!(
            "| {what} | {classes} | {} | {t:.2} | {verdict} |",
            self.samples
        );
    }

    /// The control: a comparison that stops at the first difference must be caught.
    fn leak(&mut self) {
        let secret = fastrand::Rng::with_seed(1).u128(..).to_be_bytes().repeat(2);
        let compare = |tag: &[u8]| tag.iter().zip(&secret).all(|(one, other)| one == other);
        let flipped = |at: usize| {
            let mut tag = secret.clone();
            tag[at] ^= 1;
            tag
        };
        self.compare(
            "control: a comparison that leaks",
            "wrong in the first byte / in the last",
            true,
            |_| [flipped(0), flipped(31)],
            |tag| {
                black_box(compare(black_box(&tag)));
            },
        );
    }

    /// One2Pays' kind of proof.
    fn signatures(&mut self) {
        let body = br#"{"a":1}"#;
        let right = tag(NOW, body);
        let tables = MemoryStore::default();
        tables.put_credential(&format!("p#{KEY}"), record());
        let keyring = Keyring::new(Duration::from_secs(3600));
        let flipped = |at: usize| {
            let mut tag = right;
            tag[at] ^= 1;
            tag
        };
        for (classes, tags) in [
            (
                "wrong in the first byte / in the last",
                [flipped(0), flipped(31)],
            ),
            (
                "all wrong / right but for the last byte",
                [right.map(|byte| !byte), flipped(31)],
            ),
        ] {
            self.compare(
                "signature",
                classes,
                false,
                |_| tags,
                |tag| {
                    let parts: [&[u8]; 3] = [b"1700000000000", b".", body];
                    authenticate(&keyring, &tables, &Credential::signature(KEY, parts, tag));
                },
            );
        }
    }

    /// The look-up of a credential: what is in the table must not show.
    fn look_ups(&mut self) {
        let tables = MemoryStore::default();
        let expired = CredentialRecord {
            expires_at: Some(Timestamp::UNIX_EPOCH),
            ..record()
        };
        tables.put_credential("p#key-known", record());
        tables.put_credential("p#key-ended", expired.clone());
        let ended = "snd_0123456789abcdef0123456789abcdef";
        let digest = hex::encode(Sha256::digest(ended));
        tables.put_credential(&format!("p#{digest}"), expired);

        let (right, wrong) = (SECRET, "xy_9876543210fedcba9876543210fedcba");
        let near = "sk_0123456789abcdef0123456789abcdeg";
        // Cold: nothing is remembered. Warm: everything is, the missing ones too.
        for (state, ttl) in [
            ("cold", Duration::ZERO),
            ("warm", Duration::from_secs(3600)),
        ] {
            let keyring = Keyring::new(ttl);
            for (classes, pairs) in [
                (
                    "unknown id / wrong secret",
                    [("key-other", wrong), ("key-known", wrong)],
                ),
                (
                    "wrong secret / wrong by its last character",
                    [("key-known", wrong), ("key-known", near)],
                ),
                (
                    "wrong secret / expired",
                    [("key-known", wrong), ("key-ended", right)],
                ),
                (
                    "unknown id / expired",
                    [("key-other", right), ("key-ended", right)],
                ),
            ] {
                self.compare(
                    &format!("id and secret, {state}"),
                    classes,
                    false,
                    |_| pairs,
                    |(id, secret)| {
                        authenticate(&keyring, &tables, &Credential::pair(id, secret));
                    },
                );
            }
            let other = "snd_0123456789abcdef0123456789abcdeg";
            let far = "xyz_9876543210fedcba9876543210fedcba";
            for (classes, secrets) in [
                (
                    "unknown / unknown with the prefix of a known one",
                    [far, other],
                ),
                ("unknown / expired", [other, ended]),
            ] {
                self.compare(
                    &format!("secret key, {state}"),
                    classes,
                    false,
                    |_| secrets,
                    |secret| {
                        authenticate(&keyring, &tables, &Credential::secret(secret));
                    },
                );
            }
        }
    }

    /// The whole of a provider, from the request to the answer: a missing payment and another merchant's.
    fn payments<P: Provider>(
        &mut self,
        key_id: &str,
        headers: &[(&str, String)],
        body: &str,
    ) -> Result<()> {
        let route = P::ROUTE;
        let (before, rest) = route.split_once('{').context("a parameter")?;
        let (_, after) = rest.split_once('}').context("a parameter")?;
        let incoming = Incoming {
            request_id: "9c1b6a52-0000-4000-8000-00000000000c".to_owned(),
            method: "POST".to_owned(),
            path: format!("{before}{PAYMENT}{after}"),
            headers: headers.iter().cloned().collect::<Headers>(),
            body: body.as_bytes().to_vec(),
            ..Incoming::default()
        };
        // As many payments in both worlds, so that the tables are alike but for whose they are.
        let mut worlds = ["550e8400-e29b-41d4-a716-44665544ffff", PAYMENT].map(|id| {
            let tables = MemoryStore::default();
            tables.put_credential(&format!("{}#{key_id}", P::NAME), record());
            tables.put_payment(&format!("{}#m_other#{id}", P::NAME), payment::<P>(id));
            CancelService::<P, _>::with_clock(tables, Duration::from_secs(3600), Still)
        });
        let first = answer(&mut worlds[0], incoming.clone());
        let second = answer(&mut worlds[1], incoming.clone());
        ensure!(first == second, "{first:?} is not {second:?}");
        ensure!(!first.body.contains("nvalid"), "not let in: {first:?}");
        self.compare(
            P::NAME,
            "missing payment / another merchant's",
            false,
            |_| [(0, incoming.clone()), (1, incoming.clone())],
            |(world, incoming)| {
                black_box(answer(&mut worlds[world], incoming));
            },
        );
        Ok(())
    }
}

fn answer<P: Provider>(service: &mut CancelService<P, MemoryStore>, incoming: Incoming) -> Reply {
    let answered = service.call(incoming).now_or_never();
    let Ok(reply) = answered.expect("memory does not wait");
    reply
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
        amount: 100,
        currency: "USD".to_owned(),
        created_at: "2024-01-01T00:00:00.000Z".to_owned(),
        updated_at: None,
        canceled_at: None,
        manual_cancellation: false,
        details: Map::new(),
        cancellation: None,
    }
}

fn authenticate(keyring: &Keyring, tables: &MemoryStore, credential: &Credential<'_>) {
    let now = Still.now();
    let until = tokio::time::Instant::now();
    let answer = keyring.authenticate(tables, "p", black_box(credential), now, until);
    let refused = answer.now_or_never().expect("memory does not wait");
    assert!(black_box(refused).is_err(), "no class is let in");
}

/// Times of both classes, in nanoseconds, in random order. Inputs are made before the clock starts.
fn measure<W>(
    samples: usize,
    mut prepare: impl FnMut(usize) -> [W; 2],
    mut work: impl FnMut(W),
) -> [Vec<f64>; 2] {
    let mut random = fastrand::Rng::new();
    let mut times = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
    for n in 0..samples + samples / ROUNDS {
        let class = usize::from(random.bool());
        let [first, second] = prepare(n);
        let input = if class == 0 { first } else { second };
        let began = Instant::now();
        work(input);
        let took = began.elapsed();
        // The first ones warm the caches.
        if n >= samples / ROUNDS {
            times[class].push(took.as_secs_f64() * 1e9);
        }
    }
    times
}

/// The largest `t` over all the crops, with its sign.
fn largest_t(times: &[Vec<f64>; 2]) -> f64 {
    let mut all = times.concat();
    all.sort_unstable_by(f64::total_cmp);
    // As in the paper's own tool: from the fastest tenth or so up to everything.
    let crops = (1..=CROPS).map(|n| {
        #[expect(clippy::cast_precision_loss, reason = "a hundred")]
        let share = 1.0 - 0.5_f64.powf(10.0 * n as f64 / CROPS as f64);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a place in the list"
        )]
        let place = (share * all.len() as f64) as usize;
        all[place.min(all.len() - 1)]
    });
    let uncropped = welch(times, f64::INFINITY);
    crops
        .map(|crop| welch(times, crop))
        .fold(
            uncropped,
            |most, t| if t.abs() > most.abs() { t } else { most },
        )
}

/// Welch's t of the times below `crop`; 0 where too few are left to tell.
#[expect(clippy::cast_precision_loss, reason = "a million")]
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
