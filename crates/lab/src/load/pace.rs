//! When each order is due: at a steady rate, whatever became of those before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// Orders that are due within this time are released together: waking the others more often costs more than it tells.
const STEP: Duration = Duration::from_micros(100);

/// A thread of its own, because the timers of tokio have a resolution of a millisecond, and an order to a mall takes less.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    interval: Duration,
    total: u64,
    /// One for each region, with a permit for each order of it that is due.
    due: Vec<Arc<Semaphore>>,
    stop: Arc<AtomicBool>,
}

impl Pace {
    /// Begins now: order `i` of all is due after `i / rate` seconds, in region `i % regions`.
    pub(super) fn begin(rate: f64, duration: Duration, regions: usize) -> std::io::Result<Self> {
        let interval = Duration::from_secs_f64(1.0 / rate);
        let pace = Self {
            began: Instant::now(),
            interval,
            total: (duration.as_secs_f64() * rate).round() as u64,
            due: (0..regions).map(|_| Arc::new(Semaphore::new(0))).collect(),
            stop: Arc::default(),
        };
        let (began, total, due, stop) = (pace.began, pace.total, pace.due.clone(), Arc::clone(&pace.stop));
        let release = move || {
            let mut next = 0;
            while next < total && !stop.load(Ordering::Relaxed) {
                let now = began.elapsed();
                while next < total && interval.mul_f64(next as f64) <= now {
                    due[next as usize % due.len()].add_permits(1);
                    next += 1;
                }
                let rest = interval.mul_f64(next as f64).saturating_sub(began.elapsed());
                // The upper bound is for the end: a stop need not wait for an order that is due in an hour.
                thread::sleep(rest.clamp(STEP, Duration::from_millis(100)));
            }
        };
        thread::Builder::new().name("pace".to_owned()).spawn(release)?;
        Ok(pace)
    }

    /// Waits until the next order of a region is due. `None` when no more are to be sent.
    pub(super) async fn wait(&self, region: usize) -> Option<()> {
        let permit = self.due[region].acquire().await.ok()?;
        permit.forget();
        Some(())
    }

    /// When the order with this number within its region is due.
    pub(super) fn due_at(&self, region: usize, number: u64) -> Instant {
        let index = number * self.due.len() as u64 + region as u64;
        self.began + self.interval.mul_f64(index as f64)
    }

    /// Returns the number of orders that are due by now.
    pub(super) fn due(&self) -> u64 {
        let due = self.began.elapsed().as_secs_f64() / self.interval.as_secs_f64();
        (due as u64 + 1).min(self.total)
    }

    /// Since when.
    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns `true` once no more orders are to be sent.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Ends it: no worker gets another order.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
        self.due.iter().for_each(|due| due.close());
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.stop();
    }
}
