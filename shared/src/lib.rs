//! Cancel a payment, exactly once, and never tell the caller something untrue.
//!
//! The crate reads in the order of a request:
//!
//! 1. [`request`]: what arrived, whatever front end carried it ([`headers`], [`body`], [`route`]).
//! 2. [`provider`]: the one trait a payment API implements, and the [`reply`](provider::Reply) it gives.
//! 3. [`auth`]: the presented credential, by its looks a [`key`], becomes a [`Merchant`](auth::Merchant), or nothing does.
//! 4. [`cancel`]: the command, the one atomic transition, and every outcome it can have.
//! 5. [`store`]: the port of that transition, with a DynamoDB and an in-memory adapter.
//! 6. [`service`]: the above as one [`tower_service::Service`] that never fails.
//! 7. `lambda`: the service behind the AWS Lambda runtime.
//!
//! Without default features it is pure domain logic: no AWS crate, no Lambda crate.

pub mod auth;
pub mod body;
pub mod cancel;
pub mod clock;
pub mod headers;
pub mod key;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod payment;
pub mod provider;
pub mod request;
pub mod route;
pub mod service;
pub mod store;
#[cfg(feature = "lambda")]
pub mod telemetry;
#[cfg(feature = "opentelemetry")]
mod traces;
