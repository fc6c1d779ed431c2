//! The documents agree with the code: each provider's parts, the OpenAPI document, the providers'
//! specifications, SECURITY.md.

mod openapi;
mod pages;
mod providers;
mod security;
mod specifications;
