//! `WCP-Version`: the known versions, and which of them an exchange has.

use shared::{auth::Merchant, cancel::CancelError, headers::HeaderMapExt, request::Request};

use super::refusal;

/// The known versions, oldest first.
const VERSIONS: [&str; 2] = ["2026-02-18", "2026-02-19.preview"];

/// The place of a known version in [`VERSIONS`].
fn version(text: &str) -> Option<usize> {
    VERSIONS.iter().position(|known| *known == text)
}

fn is_version(text: &str) -> bool {
    let date = text.strip_suffix(".preview").unwrap_or(text);
    date.len() == 10
        && date
            .bytes()
            .enumerate()
            .all(|(at, byte)| if at == 4 || at == 7 { byte == b'-' } else { byte.is_ascii_digit() })
}

/// The version the account is pinned to. The oldest, if it is pinned to no known one.
fn pinned(merchant: &Merchant) -> usize {
    merchant.api_version().and_then(version).unwrap_or(0)
}

/// Refuses a version that is not known, or older than the account's.
pub(crate) fn check(requested: &str, merchant: &Merchant) -> Result<(), CancelError> {
    match version(requested) {
        Some(requested) if requested < pinned(merchant) => Err(refusal(
            "api_version_downgrade",
            "WCP-Version is older than the version this account is pinned to",
        )),
        Some(_) => Ok(()),
        None if is_version(requested) => {
            Err(refusal("unknown_api_version", "WCP-Version is not a known version"))
        }
        None => Err(refusal(
            "invalid_api_version",
            "WCP-Version must be YYYY-MM-DD or YYYY-MM-DD.preview",
        )),
    }
}

/// The version of this exchange: the requested one if it is known, else the pinned one.
pub(crate) fn resolved(request: &Request<'_>, merchant: Option<&Merchant>) -> Option<&'static str> {
    let requested = request.headers.single("WCP-Version").ok().flatten().and_then(version);
    let place = requested.or_else(|| merchant.map(pinned))?;
    VERSIONS.get(place).copied()
}
