//! Whether what is written agrees with what is done: the OpenAPI document, the providers' specifications, SECURITY.md.

mod openapi;
mod security;
mod specifications;
