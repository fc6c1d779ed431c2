//! One2Pays' signature and timestamp headers: whatever they hold, only what a second, plainer
//! reader finds right gets through.

use arbitrary::Arbitrary;
use bytes::Bytes;
use http::Request;
use providers::One2Pays;
use shared::{clock::Timestamp, limits::MAX_BODY, provider::Provider};

use crate::{
    canary::Canary,
    log,
    provider::{Contract, Presented, signature},
    send,
    store::{Store, Tables},
};

/// What libFuzzer's bytes are read as.
#[derive(Debug, Arbitrary)]
pub struct Sent<'a> {
    /// How far a numeric timestamp is from our clock, in milliseconds.
    age: i32,
    timestamp: Option<&'a str>,
    edits: Vec<Edit<'a>>,
    body: &'a [u8],
}

/// What is done to the right signature, one after another.
#[derive(Debug, Arbitrary)]
enum Edit<'a> {
    Upper,
    Cut(u8),
    Insert(u8, &'a str),
    Replace(u8, u8),
    Whole(&'a str),
}

const NOW: i64 = 1_700_000_000_000;

/// Sends it.
///
/// # Panics
/// If something does not hold.
pub fn run(sent: &Sent<'_>) {
    log::keep();
    let canary = Canary::fresh();
    let time = NOW + i64::from(sent.age);
    let Presented { key_id, record, .. } = One2Pays::credential(&canary, time, sent.body);
    let timestamp = sent.timestamp.map_or_else(|| time.to_string(), str::to_owned);
    let right = signature(&canary.secret, time, sent.body);
    let line = sent.edits.iter().fold(right.clone(), edited);

    let path = One2Pays::ROUTE.replace("{payment_id}", "550e8400-e29b-41d4-a716-446655440000");
    let request = Request::post(path)
        .header("x-api-key", &key_id)
        .header("x-timestamp", &timestamp)
        .header("x-signature", &line)
        .body(Bytes::copy_from_slice(sent.body));
    let Ok(request) = request else {
        return; // No header can have such a value.
    };
    let store = Store::new(Tables {
        credential: (Some(format!("one2pays#{key_id}")), record),
        payment: Ok(None),
        own: None,
        transitions: 0,
    });
    let now = Timestamp::from_millisecond(NOW).expect("a time");
    send::<One2Pays>(request, store.clone(), now, &canary);

    // A comma repeats a header, whitespace around a value is not part of it, and digits may be in
    // either case.
    let all = |text: &str, is: &dyn Fn(&str) -> bool| text.split(',').all(|one| is(one.trim()));
    let same_signature =
        all(&line, &|one| {
            one.strip_prefix("sha256=")
                .is_some_and(|digits| digits.to_ascii_lowercase() == right["sha256=".len()..])
        }) && all(&line, &|one| Some(one) == line.split(',').next().map(str::trim));
    let same_timestamp = all(&timestamp, &|one| one == time.to_string());
    let fresh = sent.age.unsigned_abs() <= 300_000;
    let small = sent.body.len() <= MAX_BODY;
    let expected = same_signature && same_timestamp && fresh && small;
    assert_eq!(
        store.tables().transitions == 1,
        expected,
        "{timestamp:?} {line:?} at an age of {} ms",
        sent.age
    );
}

fn edited(line: String, edit: &Edit<'_>) -> String {
    let place = |at: u8| {
        let at = usize::from(at).min(line.len());
        (0..=at).rev().find(|at| line.is_char_boundary(*at)).unwrap_or(0)
    };
    match *edit {
        Edit::Upper => line.to_uppercase(),
        Edit::Cut(at) => line[..place(at)].to_owned(),
        Edit::Insert(at, text) => {
            let (before, after) = line.split_at(place(at));
            format!("{before}{text}{after}")
        }
        Edit::Replace(at, byte) => {
            let (before, after) = line.split_at(place(at));
            let mut rest = after.chars();
            rest.next();
            format!("{before}{}{}", char::from(byte), rest.as_str())
        }
        Edit::Whole(text) => text.to_owned(),
    }
}
