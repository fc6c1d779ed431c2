//! A provider that also reports the outcome's name.

use std::marker::PhantomData;

use http::{HeaderValue, Response};
use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError},
    payment::Attribute,
    provider::{Body, Exchange, Provider, Statuses},
    request::Request,
};

/// The header in which it does.
pub const OUTCOME: &str = "x-outcome";

/// The provider `P` with the outcome's name in the header [`OUTCOME`] of its responses.
#[derive(Debug)]
pub struct Spy<P>(PhantomData<fn() -> P>);

impl<P: Provider> Provider for Spy<P> {
    const NAME: &'static str = P::NAME;
    const ROUTE: &'static str = P::ROUTE;
    const STATUSES: Statuses = P::STATUSES;
    const BODY: Body = P::BODY;
    const REQUIRED: &'static [Attribute] = P::REQUIRED;

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        P::identify(request)
    }

    fn read(request: &Request<'_>, merchant: &Merchant) -> Result<CancelCommand, CancelError> {
        P::read(request, merchant)
    }

    fn write(exchange: &Exchange<'_, '_>) -> Response<String> {
        let word = exchange.outcome.as_ref();
        let word = word.map_or_else(CancelError::as_str, |_| "canceled");
        let mut response = P::write(exchange);
        let word = HeaderValue::from_static(word);
        response.headers_mut().insert(OUTCOME, word);
        response
    }
}
