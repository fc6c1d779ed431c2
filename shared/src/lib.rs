#![doc = include_str!("../README.md")]

pub mod auth;
pub mod budget;
pub mod cancel;
pub mod clock;
pub mod cors;
pub mod error;
pub mod headers;
pub mod idempotency;
pub mod json;
pub mod key;
#[cfg(feature = "lambda")]
pub mod lambda;
pub mod limits;
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
