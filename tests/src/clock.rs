//! Time that a test controls.

use std::time::SystemTime;

use aws_types::sdk_config::TimeSource;
use shared::clock::{Clock, Timestamp};
use tokio::{
    runtime::{Builder, Runtime},
    time::Instant,
};

/// A runtime whose clock stops while anything runs, and jumps to the next timer when nothing does.
/// It must have no socket: the clock does not wait for what the kernel has yet to deliver.
///
/// # Panics
/// If the operating system gives no runtime.
#[must_use]
pub fn paused() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.expect("a runtime")
}

/// A fixed clock.
#[derive(Debug, Clone, Copy)]
pub struct Still(pub Timestamp);

impl Clock for Still {
    fn now(&self) -> Timestamp {
        self.0
    }
}

/// The time of day that moves with the runtime's clock.
#[derive(Debug, Clone, Copy)]
pub struct Virtual {
    began: (Timestamp, Instant),
}

impl Virtual {
    /// It is now.
    #[must_use]
    pub fn start() -> Self {
        Self { began: (Timestamp::now(), Instant::now()) }
    }
}

impl Clock for Virtual {
    fn now(&self) -> Timestamp {
        let (at, began) = self.began;
        at.saturating_add(began.elapsed()).unwrap_or(at)
    }
}

impl TimeSource for Virtual {
    fn now(&self) -> SystemTime {
        Clock::now(self).into()
    }
}
