//! Secrets that must not appear in a response or the log, new for every input so that the fuzzer
//! cannot learn them.

use std::{
    collections::hash_map::RandomState,
    env,
    hash::{BuildHasher, Hasher},
    sync::LazyLock,
    sync::atomic::{AtomicU64, Ordering},
};

use sha2::{Digest, Sha256};

/// Variables of the environment that must not appear either.
const ENVIRONMENT: [&str; 2] = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"];

/// So many hexadecimal digits `tests/fuzz/run` puts there.
const DIGITS: usize = 32;

static RANDOM: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The canaries of one input.
#[derive(Debug)]
pub struct Canary {
    /// In neither log nor response.
    pub secret: String,
    /// The caller's own or the payment's, so a response may have it, but not the log.
    pub private: String,
}

impl Canary {
    /// New ones, of hexadecimal digits, which no encoding changes.
    #[must_use]
    pub fn fresh() -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let digits = |kind: u8| {
            let mut hasher = RANDOM.build_hasher();
            hasher.write_u64(number);
            hasher.write_u8(kind);
            format!("{:016x}", hasher.finish())
        };
        Self { secret: format!("ca{}", digits(0)), private: format!("cb{}", digits(1)) }
    }

    /// Neither canary, nor the digest that a secret is looked up by, nor a secret variable is
    /// logged.
    pub fn not_in_log(&self, log: &str) {
        assert!(!log.contains(&self.private), "private data is logged: {log}");
        self.nowhere("log", log);
    }

    /// No secret is in a response.
    pub fn not_in_response(&self, response: &str) {
        self.nowhere("response", response);
    }

    fn nowhere(&self, place: &str, text: &str) {
        let digest = hex::encode(Sha256::digest(self.secret.as_bytes()));
        for secret in [&self.secret, &digest] {
            assert!(!text.contains(secret), "a secret is in the {place}: {text}");
        }
        assert!(!holds_variable(text), "a variable is in the {place}: {text}");
    }
}

/// Whether a text contains one of the environment's canaries. These stay the same while the process
/// runs, and libFuzzer learns the operands of comparisons, so digests are compared.
fn holds_variable(text: &str) -> bool {
    static DIGESTS: LazyLock<[u64; 2]> = LazyLock::new(|| {
        ENVIRONMENT.map(|name| {
            let value = env::var(name).ok().filter(|value| value.len() == DIGITS);
            let Some(value) = value else {
                panic!("{name} must hold a canary: start with tests/fuzz/run")
            };
            RANDOM.hash_one(value.as_bytes())
        })
    });
    text.as_bytes()
        .split(|byte| !byte.is_ascii_hexdigit())
        .flat_map(|run| run.windows(DIGITS))
        .any(|digits| DIGESTS.contains(&RANDOM.hash_one(digits)))
}
