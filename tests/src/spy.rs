//! A provider that also says in plain words what came of the request.

use std::marker::PhantomData;

use shared::{
    auth::{Credential, Merchant},
    cancel::{CancelCommand, CancelError, Outcome},
    provider::{Body, Provider, Reply, Statuses},
    request::Request,
};

/// The header in which it does.
pub const OUTCOME: &str = "x-outcome";

/// The provider `P`, answering as it does, with the outcome's word in the header [`OUTCOME`].
#[derive(Debug)]
pub struct Spy<P>(PhantomData<fn() -> P>);

impl<P: Provider> Provider for Spy<P> {
    const NAME: &'static str = P::NAME;
    const ROUTE: &'static str = P::ROUTE;
    const STATUSES: Statuses = P::STATUSES;
    const BODY: Body = P::BODY;

    fn identify<'r>(request: &'r Request<'_>) -> Result<Credential<'r>, CancelError> {
        P::identify(request)
    }

    fn read(request: &Request<'_>, merchant: &Merchant) -> Result<CancelCommand, CancelError> {
        P::read(request, merchant)
    }

    fn write(outcome: &Outcome, request: &Request<'_>, merchant: Option<&Merchant>) -> Reply {
        let word = outcome
            .as_ref()
            .map_or_else(CancelError::word, |_| "canceled");
        P::write(outcome, request, merchant).header(OUTCOME, word)
    }
}
