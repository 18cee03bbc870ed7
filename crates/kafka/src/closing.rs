//! Bounds the time that it takes to drop a client of librdkafka.

use std::fmt;
use std::ops::Deref;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// Timeout of the wait for a client's end, which mostly takes some milliseconds.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A client that is closed on a thread of its own when this is dropped.
///
/// `rd_kafka_destroy` waits without a bound for the threads of a client, and one of them may never end: after an outage
/// it can keep a reference to a broker that the client has forgotten (librdkafka issues 3954 and 4519, open; seen in one
/// of 130 replacements of a client while Kafka was restarted). Such a client is left alone, at the price of its threads.
pub(crate) struct BoundedClose<C: Send + 'static>(Option<C>);

impl<C: Send + 'static> BoundedClose<C> {
    pub(crate) fn new(client: C) -> Self {
        Self(Some(client))
    }
}

impl<C: Send + 'static> fmt::Debug for BoundedClose<C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("BoundedClose")
    }
}

impl<C: Send + 'static> Deref for BoundedClose<C> {
    type Target = C;

    fn deref(&self) -> &C {
        self.0.as_ref().expect("it is there until it is dropped")
    }
}

impl<C: Send + 'static> Drop for BoundedClose<C> {
    fn drop(&mut self) {
        let client = self.0.take();
        let (closed, end) = mpsc::channel();
        let close = move || {
            drop(client);
            // The receiver is gone after the timeout.
            let _ = closed.send(());
        };
        // If no thread can be started, the closure is dropped here, and the client with it.
        let _ = std::thread::Builder::new().name("close".to_owned()).spawn(close);
        if end.recv_timeout(CLOSE_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
            let seconds = CLOSE_TIMEOUT.as_secs_f32();
            tracing::debug!(
                seconds,
                "a client of Kafka did not close in time; its threads are left running"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender};
    use std::time::Instant;

    use super::*;

    /// Ends after a message, and sends one when it has ended.
    struct Stuck(Receiver<()>, Sender<()>);

    impl Drop for Stuck {
        fn drop(&mut self) {
            let _ = self.0.recv();
            let _ = self.1.send(());
        }
    }

    #[test]
    fn the_wait_for_a_client_that_does_not_end_is_bounded() {
        let ((end, told), (says, ended)) = (mpsc::channel(), mpsc::channel());
        let client = BoundedClose::new(Stuck(told, says));
        let begun = Instant::now();
        drop(client);
        assert!(begun.elapsed() < CLOSE_TIMEOUT * 10);
        assert!(ended.try_recv().is_err(), "it has not ended");
        end.send(()).expect("it waits");
        ended.recv().expect("it ends");
    }

    #[test]
    fn waits_for_a_client_that_ends() {
        let ((end, told), (says, ended)) = (mpsc::channel(), mpsc::channel());
        end.send(()).expect("it will wait");
        drop(BoundedClose::new(Stuck(told, says)));
        ended.try_recv().expect("it has ended");
    }
}
