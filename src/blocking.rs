//! Work that waits for a disk or computes for long, on a thread of its own.

use std::future;
use std::panic;

use tokio::task;

/// Runs `job` on a thread where waiting for the disk, or for a long computation, holds nobody up. A panic in it ends
/// whoever asked, and nobody else, as it would have without the thread.
pub async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    match task::spawn_blocking(job).await {
        Ok(done) => done,
        Err(fault) => match fault.try_into_panic() {
            Ok(panic) => panic::resume_unwind(panic),
            // Jobs are called off only when all ends, and then so does whoever asked.
            Err(_) => future::pending().await,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_reaches_whoever_asked() {
        assert_eq!(blocking(|| 1 + 1).await, 2);
        let asked = task::spawn(blocking(|| panic!("a fault in the job")));
        let fault = asked.await.unwrap_err().into_panic();
        assert_eq!(fault.downcast_ref::<&str>(), Some(&"a fault in the job"));
    }
}
