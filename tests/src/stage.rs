//! A provider with its tables, and what tests do with them.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use shared::{clock::SystemClock, provider::Provider};

use crate::{
    faults::{Cut, Done, Fault, FaultProxy, unreachable},
    golden::{Call, Case},
    tables::Tables,
    transport::{ProviderResponse, Transport},
};

/// Long enough that no credential leaves the cache during a test.
pub(crate) const WARM: Duration = Duration::from_secs(3600);

/// How often a process may be so slow that an attempt times out, before that is a fault.
const STALLS: usize = 5;

/// A provider with its tables: DynamoDB's engine, a proxy before it, and the provider before that.
pub(crate) struct Stage<P: Provider> {
    pub(crate) provider: Transport<P>,
    without_store: Transport<P>,
    pub(crate) proxy: FaultProxy,
    pub(crate) tables: Tables,
}

impl<P: Provider> Stage<P> {
    /// The binary at `path`, in a process, behind TCP; or else the service in this process, for the
    /// [paused](crate::clock::paused) clock.
    pub(crate) async fn set(path: Option<&str>, ttl: Duration) -> Result<Self> {
        let tables = Tables::new()?;
        let (provider, without_store, proxy) = match path {
            Some(path) => {
                let proxy = FaultProxy::listening(&tables).await?;
                let provider = Transport::binary(path, &proxy.url(), ttl).await?;
                let without_store = Transport::binary(path, &unreachable().await?, ttl).await?;
                (provider, without_store, proxy)
            }
            None => {
                let (proxy, nothing) =
                    (FaultProxy::in_memory(&tables), FaultProxy::in_memory(&tables));
                nothing.refuse(usize::MAX);
                let over =
                    |proxy: &FaultProxy| Transport::service(&proxy.config(), ttl, SystemClock);
                (over(&proxy), over(&nothing), proxy)
            }
        };
        let _ = proxy.take();
        Ok(Self { provider, without_store, proxy, tables })
    }

    /// One golden case, from empty tables. A process's limits are real time: if it was so slow that
    /// it retried an attempt, the case runs again.
    pub(crate) async fn play(&self, case: &Case) -> Result<ProviderResponse> {
        for _ in 0..STALLS {
            self.tables.empty()?;
            self.tables.give(&case.given)?;
            let lossy = case.given.store.as_deref() == Some("lossy");
            let provider = match case.given.store.as_deref() {
                None | Some("lossy") => &self.provider,
                Some("unreachable") => &self.without_store,
                Some(other) => bail!("{}: no such store: {other}", case.name),
            };
            let _ = self.proxy.take();
            if lossy {
                // The credential is found, and every write is cut off once it was sent.
                let (after, how) = (usize::MAX, Cut::Reset);
                self.proxy.script([Fault::None]);
                self.proxy.then(Fault::Request { after, how });
            }
            let call = Call::begin();
            let response = provider.invoke(&call.request_id, &case.event()).await?;
            let done = self.proxy.take();
            self.proxy.calm();
            if !lossy && retried(&done) && matches!(provider, Transport::Binary(_)) {
                continue;
            }
            case.check(&call, &response, &self.tables.scan("payments")?)?;
            ensure!(
                lossy || writes(&done) == case.then.writes,
                "{} writes instead of {}: {done:?}",
                writes(&done),
                case.then.writes
            );
            return Ok(response);
        }
        bail!("{}: an attempt was made twice, {STALLS} times over", case.name)
    }

    pub(crate) async fn call(&self, case: &Case) -> Result<(Call, ProviderResponse)> {
        let call = Call::begin();
        let response = self.provider.invoke(&call.request_id, &case.event()).await?;
        Ok((call, response))
    }

    /// Ends the process: all that it has logged.
    pub(crate) async fn finish(self) -> Result<String> {
        match self.provider {
            Transport::Binary(function) => function.finish().await,
            Transport::Service(_) => bail!("a service is no process"),
        }
    }
}

/// Whether an attempt was made a second time.
pub(crate) fn retried(done: &[Done]) -> bool {
    done.iter().any(|done| done.retry)
}

fn writes(done: &[Done]) -> usize {
    done.iter().filter(|done| done.operation == "UpdateItem").count()
}

/// A case that cancels a payment without a key and with one write, to build other tests on.
pub(crate) fn canceling(cases: &[Case]) -> Result<&Case> {
    let plain = cases.iter().filter(|case| is_plain(case));
    plain.min_by_key(|case| case.event.to_string().len()).context("no case cancels a payment")
}

fn is_plain(case: &Case) -> bool {
    let keyless = case.event.pointer("/headers/idempotency-key").is_none();
    // A re-opened payment takes two.
    let never_reopened = || case.given.payments.iter().all(|item| item["cancellation"].is_null());
    case.cancels() && keyless && never_reopened()
}

/// The shortest of them that names its payment twice, in the path and as its parameter, so that it
/// can be made longer.
pub(crate) fn shortest(cases: &[Case]) -> Result<&Case> {
    let plain = cases.iter().filter(|case| {
        is_plain(case)
            && case.event["pathParameters"].is_object()
            && case.event["isBase64Encoded"] == false
    });
    plain.min_by_key(|case| case.event.to_string().len()).context("no case cancels a payment")
}
