//! Tests for all providers alike.
//!
//! A provider's `tests/contract.rs` passes its type and its binary to [`contract()`]; nothing here
//! names a provider. Behind every test are the real AWS SDK and an embedded DynamoDB, with a
//! [proxy](faults) between them that counts the requests and can break them.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test helper fails by panicking"
)]

pub mod clock;
mod contract;
pub mod echo;
pub mod event_sources;
pub mod faults;
pub mod golden;
pub mod history;
pub mod measure;
pub mod memory;
pub mod merchant;
pub mod network;
pub mod openapi;
pub mod progress;
pub mod runtime;
pub mod spy;
mod stage;
pub mod tables;
pub mod transport;

pub use contract::contract;
