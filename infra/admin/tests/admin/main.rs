//! The real binary, against an embedded DynamoDB and the very services that Lambda runs.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod credentials;
mod endpoints;
mod payments;
mod stage;
