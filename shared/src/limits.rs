//! Every limit, in one place.

use std::time::Duration;

/// The largest request body, in bytes, and so the longest cancellation reason: four percent of
/// DynamoDB's item limit of 400 KB.
///
/// Real bodies have a few hundred bytes. Hyperswitch's documented maximum of 50 account details
/// with 500 characters each is beyond this limit.
pub const MAX_BODY: usize = 16 * 1024;

/// The most header lines of a request. Real requests have about twenty.
pub const MAX_HEADER_LINES: usize = 100;

/// The most bytes of all header names and values together. API Gateway allows 10,240.
pub const MAX_HEADER_BYTES: usize = 16 * 1024;

/// How deep JSON may be nested, the outermost value included: `serde_json`'s own limit.
pub const MAX_JSON_DEPTH: usize = 127;

/// The longest payment id, in bytes. A DynamoDB partition key has at most 2,048 bytes.
pub const MAX_PAYMENT_ID: usize = 255;

/// The longest key id of a credential, in bytes.
pub const MAX_KEY_ID: usize = 255;

/// The longest `Idempotency-Key`, in characters.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

/// The longest a caller waits for a response: VTEX's test suite requires one within 5 seconds.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_millis(4500);

/// How long before the Lambda deadline the response is made.
///
/// It must have left 100 ms before the deadline. Writing it takes time too: at 128 MB a function
/// has a fraction of one processor.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(200);

/// How long connecting to DynamoDB may take. Within a Region it takes a few milliseconds.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// How long one attempt may take. DynamoDB's slowest writes take a few hundred milliseconds.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);

/// An attempt does not start with less time than this left: it would most likely be cut short and
/// leave the outcome open.
pub const MIN_ATTEMPT: Duration = Duration::from_millis(100);

/// The first attempt and five retries: enough for a write that conflicts with a transaction, or
/// with another Region's write for a round trip between Regions.
pub const MAX_ATTEMPTS: u32 = 6;

/// The first delay between attempts. The SDK takes a random part of it and doubles it each time.
pub const INITIAL_BACKOFF: Duration = Duration::from_millis(25);

/// The longest delay between attempts.
pub const MAX_BACKOFF: Duration = Duration::from_millis(250);

/// The tokens of the retry budget of one process: 20 retries. In a long outage each call then makes
/// one attempt, and one call a second makes a second one.
pub const RETRY_TOKENS: usize = 100;

/// What one retry takes from [`RETRY_TOKENS`]. A call that succeeds at once gives one token back.
pub const RETRY_COST: u32 = 5;

/// The tokens that come back each second. Without them, writes that conflict on a few payments
/// would take the retries of all others.
pub const RETRY_REFILL: f32 = 5.0;

/// How many found, and how many missing credentials a process caches.
pub const MAX_CACHED_CREDENTIALS: usize = 1024;

/// How long a negative result is cached: long enough to absorb a client that keeps trying, short
/// enough for a key that has just been issued or enabled.
pub const NEGATIVE_TTL: Duration = Duration::from_secs(5);

/// How long a used signature is stored at least: far longer than any provider's time window.
pub const SIGNATURE_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);
