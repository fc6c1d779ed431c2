//! The function's processes, several of them, as Lambda keeps them: each takes one call at a time.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use shared::{provider::Provider, service::REQUEST};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use crate::{
    faults::{Fault, FaultProxy},
    transport::{Answer, Transport},
};

/// As many as there are clients, and one more, so that a client's next call can overtake what its last one left on its way.
const PROCESSES: usize = 5;

/// A process makes 20 repetitions before its retry budget is used up and it makes no more. It is replaced before that.
const REPETITIONS: usize = 14;

/// It is replaced after so many calls, too: its whole log is looked through for every one.
const CALLS: usize = 40;

/// Long enough that no credential is forgotten.
const WARM: Duration = Duration::from_secs(600);

/// The processes that are free.
pub(super) struct Pool<P: Provider> {
    binary: &'static str,
    store: SocketAddr,
    /// A request that finds no payment, and makes the process remember the credential.
    warming: String,
    free: Mutex<Vec<Process<P>>>,
    permits: Arc<Semaphore>,
}

struct Process<P: Provider> {
    function: Transport<P>,
    proxy: FaultProxy,
    calls: usize,
    repetitions: usize,
}

/// What came of a call.
pub(super) struct Called {
    /// The answer.
    pub(super) answer: Answer,
    /// What the process itself says that it is.
    pub(super) outcome: String,
    /// What befell its attempts.
    pub(super) befell: Vec<Fault>,
}

impl<P: Provider> Pool<P> {
    pub(super) fn new(binary: &'static str, store: SocketAddr, warming: String) -> Arc<Self> {
        Arc::new(Self {
            binary,
            store,
            warming,
            free: Mutex::default(),
            permits: Arc::new(Semaphore::new(PROCESSES)),
        })
    }

    /// A process, and the right to it.
    pub(super) async fn lease(self: &Arc<Self>) -> Result<Lease<P>> {
        let permit = Arc::clone(&self.permits).acquire_owned().await?;
        let free = self
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let process = match free {
            Some(process) if process.calls < CALLS && process.repetitions < REPETITIONS => process,
            Some(_) | None => self.start().await?,
        };
        Ok(Lease {
            pool: Arc::clone(self),
            process,
            permit,
        })
    }

    async fn start(&self) -> Result<Process<P>> {
        let proxy = FaultProxy::start(self.store).await?;
        let function = Transport::binary(self.binary, &proxy.url(), WARM).await?;
        function.invoke("warming", &self.warming).await?;
        Ok(Process {
            function,
            proxy,
            calls: 0,
            repetitions: 0,
        })
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
    /// Makes the call, with these faults laid on its attempts.
    pub(super) async fn call(
        &mut self,
        request_id: &str,
        event: &str,
        script: &[Fault],
    ) -> Result<Called> {
        let Process {
            function,
            proxy,
            calls,
            repetitions,
        } = &mut self.process;
        let earlier = lines(&function.log(), request_id).len();
        proxy.script(script.iter().copied());
        let answer = function.invoke(request_id, event).await?;
        *calls += 1;
        *repetitions += proxy.attempts().saturating_sub(1);
        let befell = script.iter().copied().take(proxy.attempts());
        let befell = befell.filter(|fault| *fault != Fault::None).collect();
        // The log is read by a thread of its own.
        for _ in 0..400 {
            if let Some(line) = lines(&function.log(), request_id).get(earlier) {
                let replayed = answer.headers.contains_key("idempotent-replayed");
                ensure!(
                    line["replayed"] == replayed,
                    "{answer:?} is logged as {line}"
                );
                ensure!(
                    line["status"] == answer.status,
                    "{answer:?} is logged as {line}"
                );
                let outcome = line["outcome"]
                    .as_str()
                    .context("no outcome is logged")?
                    .to_owned();
                return Ok(Called {
                    answer,
                    outcome,
                    befell,
                });
            }
            sleep(Duration::from_millis(5)).await;
        }
        anyhow::bail!("the call is not in the log: {answer:?}")
    }

    /// Lets what was held back arrive after `later`, and then the process go. How often the store was changed through it, `count` is told.
    pub(super) fn end(self, later: Duration, count: impl FnOnce(usize) + Send + 'static) {
        let Self {
            pool,
            process,
            permit,
        } = self;
        tokio::spawn(async move {
            sleep(later).await;
            process.proxy.deliver_late().await;
            count(process.proxy.transitions());
            pool.free
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(process);
            drop(permit);
        });
    }
}

/// What is logged of the calls with that id.
fn lines(log: &str, request_id: &str) -> Vec<Value> {
    let lines = log.lines().filter(|line| line.contains(request_id));
    let parsed = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
    parsed
        .filter(|line| line["target"] == REQUEST && line["request_id"] == request_id)
        .collect()
}
