//! The figures, which readers of the log update and HTTP handlers show.

use std::sync::Arc;
use std::time::Duration;

use domain::{OrderId, Partition, Shipment, Snapshot, Statistics, Timestamp};
use parking_lot::{Mutex, MutexGuard};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::recent::{History, Recent, RecentOrder};
use crate::services::{ServiceStatus, Services};

/// The least time between two events: a page cannot show more, and each costs the whole of the figures.
const EVENT_INTERVAL: Duration = Duration::from_millis(250);

/// Interval of events while nothing changes: a client that gets none has lost its connection.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// The figures. Readers of the log update them, and HTTP handlers show them.
#[derive(Debug)]
pub(crate) struct Figures {
    statistics: Mutex<Statistics>,
    recent: Mutex<Recent>,
    pub(crate) services: Services,
    /// Notified of each change.
    pub(crate) changed: watch::Sender<()>,
    /// The figures as JSON, made once for all clients that follow the events.
    events: watch::Sender<Arc<str>>,
}

/// The body of `/api/statistics` and of an event.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    statistics: &'a Statistics,
    services: Vec<ServiceStatus>,
    recent: Vec<RecentOrder>,
    /// The time of the answer.
    time: Timestamp,
}

impl Figures {
    pub(crate) fn new(services: Services) -> Self {
        Self {
            statistics: Mutex::default(),
            recent: Mutex::default(),
            services,
            changed: watch::Sender::default(),
            events: watch::Sender::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Statistics> {
        self.statistics.lock()
    }

    /// Shows what a snapshot has. It is proved before anything is added.
    pub(crate) fn restore(&self, snapshot: &Snapshot) {
        self.lock().restore(snapshot);
        self.changed.send_replace(());
    }

    /// The figures as they are, as JSON.
    pub(crate) fn to_json(&self) -> String {
        let recent = self.recent.lock().orders();
        let answer = Answer {
            statistics: &self.lock(),
            services: self.services.statuses(),
            recent,
            time: Timestamp::now(),
        };
        serde_json::to_string(&answer).expect("numbers and strings are JSON")
    }

    /// Returns the counts of the last seconds.
    pub(crate) fn history(&self) -> History {
        let regions = self.lock().regions().len();
        self.recent.lock().history(regions, Timestamp::now())
    }

    /// An order has been counted.
    pub(crate) fn remember_order(&self, partition: Partition, offset: i64, id: OrderId) {
        self.recent.lock().count_order(partition, offset, id, Timestamp::now());
    }

    /// A shipment has been counted.
    pub(crate) fn remember_shipment(&self, partition: Partition, shipment: &Shipment) {
        self.recent.lock().count_shipment(partition, shipment, Timestamp::now());
    }

    /// A service has been probed.
    pub(crate) fn record_readiness(&self, service: &str, found: Result<(), String>) {
        if self.services.record(service, found) {
            self.changed.send_replace(());
        }
    }

    /// The figures as JSON, now and after changes.
    pub(crate) fn follow(&self) -> watch::Receiver<Arc<str>> {
        let first = self.events.receiver_count() == 0;
        let mut events = self.events.subscribe();
        if first {
            self.publish();
        }
        events.mark_changed();
        events
    }

    /// Publishes changes to the clients that follow the events, at most one each [`EVENT_INTERVAL`] and at least one each
    /// [`HEARTBEAT`], until the shutdown.
    pub(crate) async fn publish_changes(&self, shutdown: &CancellationToken) -> anyhow::Result<()> {
        let mut changed = self.changed.subscribe();
        // Something may have changed before this task ran.
        changed.mark_changed();
        let publish = async {
            loop {
                // An error means that nothing has changed.
                let _ = timeout(HEARTBEAT, changed.changed()).await;
                if self.events.receiver_count() > 0 {
                    self.publish();
                }
                tokio::time::sleep(EVENT_INTERVAL).await;
            }
        };
        shutdown.run_until_cancelled(publish).await;
        Ok(())
    }

    fn publish(&self) {
        self.events.send_replace(self.to_json().into());
    }
}

#[cfg(test)]
mod tests {
    use domain::Replicas;

    use super::*;

    fn none() -> Figures {
        Figures::new(Services::new([]))
    }

    /// An event without the time that it was made at.
    fn figures_of(json: &str) -> String {
        json.split("\"time\"").next().unwrap_or_default().to_owned()
    }

    fn change(figures: &Figures, regions: i64) {
        let replicas = Replicas::try_from(regions).expect("a number of regions");
        figures.lock().grow(replicas.partitions());
        figures.changed.send_replace(());
    }

    async fn next(events: &mut watch::Receiver<Arc<str>>) -> Arc<str> {
        let changed = tokio::time::timeout(EVENT_INTERVAL * 10, events.changed()).await;
        changed.expect("an event").expect("somebody publishes");
        Arc::clone(&events.borrow_and_update())
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_made_into_json_once_for_all_who_follow() {
        let figures = Arc::new(none());
        let publisher = Arc::clone(&figures);
        tokio::spawn(async move { publisher.publish_changes(&CancellationToken::new()).await });
        let (mut one, mut other) = (figures.follow(), figures.follow());
        assert!(Arc::ptr_eq(&next(&mut one).await, &next(&mut other).await));
        change(&figures, 1);
        let json = next(&mut one).await;
        assert!(Arc::ptr_eq(&json, &next(&mut other).await));
        assert_eq!(figures_of(&json), figures_of(&figures.to_json()));
    }

    #[tokio::test(start_paused = true)]
    async fn changes_that_come_soon_after_another_are_one_event() {
        let figures = Arc::new(none());
        let publisher = Arc::clone(&figures);
        tokio::spawn(async move { publisher.publish_changes(&CancellationToken::new()).await });
        let mut events = figures.follow();
        next(&mut events).await;
        change(&figures, 1);
        next(&mut events).await;
        let begun = tokio::time::Instant::now();
        change(&figures, 2);
        tokio::time::sleep(EVENT_INTERVAL / 2).await;
        change(&figures, 3);
        assert_eq!(figures_of(&next(&mut events).await), figures_of(&figures.to_json()));
        assert_eq!(begun.elapsed(), EVENT_INTERVAL);
        let another = tokio::time::timeout(EVENT_INTERVAL * 10, events.changed()).await;
        assert!(another.is_err(), "an event without a change");
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_made_into_json_while_nobody_follows_and_the_first_who_does_gets_the_latest() {
        let figures = Arc::new(none());
        let publisher = Arc::clone(&figures);
        tokio::spawn(async move { publisher.publish_changes(&CancellationToken::new()).await });
        drop(figures.follow());
        let before = Arc::clone(&figures.events.borrow());
        change(&figures, 2);
        tokio::time::sleep(EVENT_INTERVAL * 2).await;
        assert!(Arc::ptr_eq(&before, &figures.events.borrow()));
        let latest = next(&mut figures.follow()).await;
        assert_eq!(figures_of(&latest), figures_of(&figures.to_json()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_follows_hears_something_while_nothing_changes() {
        let figures = Arc::new(none());
        let publisher = Arc::clone(&figures);
        tokio::spawn(async move { publisher.publish_changes(&CancellationToken::new()).await });
        let mut events = figures.follow();
        next(&mut events).await;
        for _ in 0..3 {
            let begun = tokio::time::Instant::now();
            let heard = timeout(HEARTBEAT * 2, events.changed()).await;
            heard.expect("an event").expect("somebody publishes");
            assert!(begun.elapsed() <= HEARTBEAT + EVENT_INTERVAL, "{:?}", begun.elapsed());
        }
    }
}
