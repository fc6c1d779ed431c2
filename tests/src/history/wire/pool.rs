//! The function's processes, or services in their place: several, as Lambda keeps them. Each takes
//! one call at a time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shared::{clock::SystemClock, provider::Provider, service::TARGET};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use crate::{
    faults::{Fault, FaultProxy},
    runtime::Function,
    spy::{OUTCOME, Spy},
    stage::WARM,
    tables::Tables,
    transport::{ProviderResponse, Transport},
};

/// One more than there are clients, so that a client's next call can overtake the delayed messages
/// of its last one.
const PROCESSES: usize = 5;

/// A process makes 20 retries before its retry budget is empty. It is replaced before that.
const RETRIES: usize = 14;

/// It is replaced after this many calls, too, because every call searches its whole log.
const CALLS: usize = 40;

/// The processes that are free.
pub(super) struct Pool<P: Provider> {
    binary: Option<&'static str>,
    tables: Tables,
    /// A request that finds no payment, and makes the process cache the credential.
    warming: String,
    free: Mutex<Vec<Process<P>>>,
    permits: Arc<Semaphore>,
}

struct Process<P: Provider> {
    function: Transport<Spy<P>>,
    proxy: FaultProxy,
    calls: usize,
    retries: usize,
}

/// The result of a call.
pub(super) struct Called {
    /// The response.
    pub(super) response: ProviderResponse,
    /// The outcome in the process's own log.
    pub(super) outcome: String,
    /// The faults of its attempts.
    pub(super) faults: Vec<Fault>,
    /// How many it made.
    pub(super) attempts: usize,
}

impl<P: Provider> Pool<P> {
    pub(super) fn new(binary: Option<&'static str>, tables: Tables, warming: String) -> Arc<Self> {
        Arc::new(Self {
            binary,
            tables,
            warming,
            free: Mutex::default(),
            permits: Arc::new(Semaphore::new(PROCESSES)),
        })
    }

    pub(super) fn has_processes(&self) -> bool {
        self.binary.is_some()
    }

    /// A process, and the right to it.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease<P>> {
        let permit = Arc::clone(&self.permits).acquire_owned().await?;
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let process = match free {
            Some(process) if process.calls < CALLS && process.retries < RETRIES => process,
            Some(_) | None => self.start().await?,
        };
        Ok(Lease { pool: Arc::clone(self), process, permit })
    }

    async fn start(&self) -> Result<Process<P>> {
        let (function, proxy) = match self.binary {
            Some(binary) => {
                let proxy = FaultProxy::listening(&self.tables).await?;
                (Transport::binary(binary, &proxy.url(), WARM).await?, proxy)
            }
            None => {
                let proxy = FaultProxy::in_memory(&self.tables);
                (Transport::service(&proxy.config(), WARM, SystemClock), proxy)
            }
        };
        function.invoke("warming", &self.warming).await?;
        Ok(Process { function, proxy, calls: 0, retries: 0 })
    }

    /// Waits until nothing is on its way any more.
    pub(super) async fn quiet(&self) -> Result<()> {
        drop(self.permits.acquire_many(u32::try_from(PROCESSES)?).await?);
        Ok(())
    }
}

/// A process for one call.
pub(super) struct Lease<P: Provider> {
    pool: Arc<Pool<P>>,
    process: Process<P>,
    permit: OwnedSemaphorePermit,
}

impl<P: Provider> Lease<P> {
    /// Makes the call with these faults in its attempts. An attempt without a fault takes the
    /// latency.
    pub(super) async fn call(
        &mut self,
        request_id: &str,
        event: &str,
        script: &[Fault],
        latency: Duration,
    ) -> Result<Called> {
        let Process { function, proxy, calls, retries } = &mut self.process;
        let earlier = match &*function {
            Transport::Binary(process) => lines(&process.log(), request_id).len(),
            Transport::Service(_) => 0,
        };
        proxy.script(script.iter().copied());
        proxy.then(Fault::Slow(latency));
        let response = function.invoke(request_id, event).await?;
        let attempts = proxy.attempts();
        *calls += 1;
        *retries += attempts.saturating_sub(1);
        let faults = script.iter().copied().take(attempts);
        let outcome = match &*function {
            Transport::Binary(process) => logged(process, request_id, earlier, &response).await?,
            Transport::Service(_) => response.headers.get(OUTCOME).context("no outcome")?.clone(),
        };
        Ok(Called {
            faults: faults.filter(|fault| *fault != Fault::None).collect(),
            response,
            outcome,
            attempts,
        })
    }

    /// Releases the process after `later`, when the delayed requests have arrived. `count` gets the
    /// number of the store's writes.
    pub(super) fn end(self, later: Duration, count: impl FnOnce(usize) + Send + 'static) {
        let Self { pool, process, permit } = self;
        tokio::spawn(async move {
            sleep(later).await;
            process.proxy.deliver_late().await;
            count(process.proxy.transitions());
            pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(process);
            drop(permit);
        });
    }
}

/// The logged outcome of a call, which must belong to that response.
async fn logged(
    process: &Function,
    request_id: &str,
    earlier: usize,
    response: &ProviderResponse,
) -> Result<String> {
    // Another thread reads the log.
    let find = |log: &str| lines(log, request_id).into_iter().nth(earlier);
    let line = process.logged(find).await?;
    let replayed = response.headers.contains_key("idempotent-replayed");
    ensure!(
        line["replayed"] == replayed && line["status"] == response.status,
        "{response:?} is logged as {line}"
    );
    let outcome = line["outcome"].as_str().context("no outcome is logged")?;
    Ok(outcome.to_owned())
}

/// What is logged of the calls with that id.
fn lines(log: &str, request_id: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.contains(request_id));
    let parsed = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed.filter(|line| line["target"] == TARGET && line["request_id"] == request_id).collect()
}
