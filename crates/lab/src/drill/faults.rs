//! The faults, by name.

use std::fmt;
use std::time::Duration;

use domain::Replicas;
use tokio::time::sleep;

use super::engine::{Container, Engine, State};
use crate::ledger;

/// A service is back so soon after its container was started.
const SERVICE_BACK: Duration = Duration::from_secs(3);
/// The same after it had no network: it may have another address then, and its connections of before end only when
/// requests on them time out, after 5 to 6 s.
const SERVICE_BACK_AFTER_CUT: Duration = Duration::from_secs(10);
/// A broker, so soon after its own was: it reads its logs, and waits for its former ZooKeeper session to expire.
const BROKER_BACK: Duration = Duration::from_secs(30);
/// After a service is back, everything that waited is shipped and counted within this, at 500 orders a second.
pub(crate) const NO_LAG: Duration = Duration::from_secs(10);
/// Two with the same ordinal run for so long when the first is back: it has read the log, and the second has gone on.
const BOTH_RUN: Duration = Duration::from_secs(1);

/// The action of a fault on a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// It is killed (SIGKILL), and started again.
    Kill,
    /// It is frozen, and goes on.
    Pause,
    /// It is asked to stop (SIGTERM), and started again.
    Stop,
    /// It loses its network, and gets it back.
    Cut,
    /// A second one with the same ordinal runs beside it, and is removed.
    Twin,
    /// A second one with the same ordinal takes its place, and is removed when the first is back beside it.
    TakeOver,
    /// The same, and the connections of the second one to Kafka break when an answer comes.
    LossyTakeOver,
    /// Kafka is moved to a small disk.
    Shrink,
    /// That disk is filled, and room is made again.
    Fill,
    /// Kafka is moved back.
    MoveBack,
}

/// The kind of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Gateway,
    Order,
    Repository,
    Statistics,
    Kafka,
    ZooKeeper,
}

/// The regions whose acknowledgements a fault may stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touches {
    All,
    /// The region of the replica that it is done to.
    Own,
    None,
}

/// A fault that has a name.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) name: &'static str,
    pub(crate) verb: Verb,
    pub(crate) kind: Kind,
    /// The shortest duration, in seconds, when it is drawn.
    pub(crate) shortest: u64,
    /// The longest duration when it is drawn, and the one of a fault that is named.
    pub(crate) longest: u64,
}

const fn fault(name: &'static str, verb: Verb, kind: Kind, shortest: u64, longest: u64) -> Fault {
    Fault {
        name,
        verb,
        kind,
        shortest,
        longest,
    }
}

/// All of them. The clocks of containers cannot be changed: they are the kernel's.
pub(crate) const FAULTS: [Fault; 28] = [
    fault("kill-gateway", Verb::Kill, Kind::Gateway, 1, 5),
    fault("pause-gateway", Verb::Pause, Kind::Gateway, 2, 8),
    fault("stop-gateway", Verb::Stop, Kind::Gateway, 1, 5),
    fault("cut-gateway", Verb::Cut, Kind::Gateway, 2, 12),
    fault("kill-order", Verb::Kill, Kind::Order, 1, 5),
    fault("pause-order", Verb::Pause, Kind::Order, 2, 8),
    fault("stop-order", Verb::Stop, Kind::Order, 1, 5),
    // order-N waits 4.5 s for Kafka: answers that a cut of 5 s holds up arrive just after it has given them up.
    fault("cut-order", Verb::Cut, Kind::Order, 2, 5),
    // The gateway keeps its connection: a second order-N that is only beside the first gets no order.
    fault("twin-order", Verb::TakeOver, Kind::Order, 4, 10),
    fault("lossy-order", Verb::LossyTakeOver, Kind::Order, 4, 10),
    fault("kill-repository", Verb::Kill, Kind::Repository, 1, 5),
    fault("pause-repository", Verb::Pause, Kind::Repository, 2, 8),
    fault("stop-repository", Verb::Stop, Kind::Repository, 1, 5),
    fault("cut-repository", Verb::Cut, Kind::Repository, 2, 8),
    fault("twin-repository", Verb::Twin, Kind::Repository, 4, 10),
    fault("kill-statistics", Verb::Kill, Kind::Statistics, 1, 5),
    fault("pause-statistics", Verb::Pause, Kind::Statistics, 2, 8),
    fault("stop-statistics", Verb::Stop, Kind::Statistics, 1, 5),
    fault("cut-statistics", Verb::Cut, Kind::Statistics, 2, 8),
    // The session is 6 s in compose.yaml. Within it, the broker finds its own registration, ends, and is restarted.
    fault("kill-kafka-within-session", Verb::Kill, Kind::Kafka, 0, 1),
    // Clients are replaced that reach no broker for 10 s.
    fault("kill-kafka-beyond-session", Verb::Kill, Kind::Kafka, 8, 15),
    fault("pause-kafka", Verb::Pause, Kind::Kafka, 2, 8),
    fault("stop-kafka", Verb::Stop, Kind::Kafka, 1, 5),
    fault("cut-kafka", Verb::Cut, Kind::Kafka, 2, 8),
    fault("kill-zookeeper", Verb::Kill, Kind::ZooKeeper, 1, 10),
    fault("pause-zookeeper", Verb::Pause, Kind::ZooKeeper, 2, 10),
    fault("stop-zookeeper", Verb::Stop, Kind::ZooKeeper, 1, 10),
    fault("cut-zookeeper", Verb::Cut, Kind::ZooKeeper, 2, 10),
];

/// The parts of the drill with a full disk, in this order; none makes sense alone.
pub(crate) const FULL_DISK: [Fault; 3] = [
    fault("move-kafka-to-small-disk", Verb::Shrink, Kind::Kafka, 0, 0),
    fault("full-disk", Verb::Fill, Kind::Kafka, 15, 15),
    fault("move-kafka-back", Verb::MoveBack, Kind::Kafka, 0, 0),
];

impl Kind {
    /// The services of this kind, as Compose names them.
    pub(crate) fn services(self, replicas: Replicas) -> Vec<String> {
        let numbered = |name: &str| (0..replicas.get()).map(|number| format!("{name}-{number}")).collect();
        match self {
            Self::Gateway => vec!["gateway".to_owned()],
            Self::Order => numbered("order"),
            Self::Repository => numbered("repository"),
            Self::Statistics => vec!["statistics".to_owned()],
            Self::Kafka => vec!["kafka".to_owned()],
            Self::ZooKeeper => vec!["zookeeper".to_owned()],
        }
    }
}

/// All services of the mall, each after those that it needs.
pub(crate) fn services(replicas: Replicas) -> Vec<String> {
    let kinds = [
        Kind::ZooKeeper,
        Kind::Kafka,
        Kind::Order,
        Kind::Repository,
        Kind::Statistics,
        Kind::Gateway,
    ];
    kinds.into_iter().flat_map(|kind| kind.services(replicas)).collect()
}

/// The number of a replica, from the name of its service.
pub(crate) fn ordinal(service: &str) -> Option<u16> {
    service.rsplit_once('-')?.1.parse().ok()
}

impl Fault {
    /// The fault with this name.
    pub(crate) fn named(name: &str) -> Option<&'static Self> {
        FAULTS.iter().chain(&FULL_DISK).find(|fault| fault.name == name)
    }

    pub(crate) fn touches(&self) -> Touches {
        match self.kind {
            Kind::Gateway | Kind::Kafka => Touches::All,
            Kind::Order => Touches::Own,
            // Orders are accepted without a repository, without statistics, and by a broker without its ZooKeeper.
            Kind::Repository | Kind::Statistics | Kind::ZooKeeper => Touches::None,
        }
    }

    /// Returns `true` if recovery can be seen from outside. The end of a fault of ZooKeeper touches no region.
    pub(crate) fn is_noticed(&self) -> bool {
        self.kind != Kind::ZooKeeper
    }

    /// The bound of the time until it is back, after its cause is over.
    pub(crate) fn back(&self) -> Duration {
        match (self.kind, self.verb) {
            (Kind::Kafka | Kind::ZooKeeper, _) => BROKER_BACK,
            (_, Verb::Cut) => SERVICE_BACK_AFTER_CUT,
            _ => SERVICE_BACK,
        }
    }

    /// Does it.
    pub(crate) async fn begin(&self, engine: &Engine, container: &Container) -> anyhow::Result<()> {
        match self.verb {
            Verb::Kill => engine.kill(&container.id).await,
            Verb::Pause => engine.pause(&container.id).await,
            Verb::Stop => engine.stop(&container.id).await,
            Verb::Cut => engine.cut(container).await,
            Verb::Twin => engine.twin(container).await,
            Verb::TakeOver => {
                engine.stop(&container.id).await?;
                engine.twin(container).await
            }
            Verb::LossyTakeOver => {
                engine.stop(&container.id).await?;
                engine.lossy_twin(container).await
            }
            Verb::Shrink => engine.shrink().await,
            Verb::Fill => engine.fill().await,
            Verb::MoveBack => engine.move_back().await.map(drop),
        }
    }

    /// Returns `true` if the engine shows its effect: the container is down, frozen or cut off, or its second one runs.
    pub(crate) async fn is_seen(&self, engine: &Engine, container: &Container) -> anyhow::Result<bool> {
        let now = engine.container(&container.service).await?;
        let is_down = matches!(now.state, State::Down(_) | State::Restarting);
        Ok(match self.verb {
            Verb::Kill | Verb::Stop => is_down,
            Verb::Pause => now.state == State::Paused,
            Verb::Cut => !now.is_connected,
            Verb::Twin => engine.has_twin(&container.service).await?,
            Verb::TakeOver | Verb::LossyTakeOver => is_down && engine.has_twin(&container.service).await?,
            // These fail when they have no effect.
            Verb::Shrink | Verb::Fill | Verb::MoveBack => true,
        })
    }

    /// Gives back what it has taken away.
    pub(crate) async fn heal(&self, engine: &Engine, container: &Container) -> anyhow::Result<()> {
        match self.verb {
            Verb::Kill | Verb::Stop | Verb::MoveBack => engine.start(&container.id).await,
            Verb::Pause => engine.unpause(&container.id).await,
            Verb::Cut => engine.reconnect(Some(&container.id)).await.map(drop),
            Verb::Twin => engine.remove_twin(&container.service).await,
            Verb::TakeOver | Verb::LossyTakeOver => {
                engine.start(&container.id).await?;
                sleep(BOTH_RUN).await;
                engine.remove_twin(&container.service).await
            }
            Verb::Shrink => engine.start_on_small_disk().await,
            Verb::Fill => engine.make_room().await,
        }
    }

    /// The action, in a line.
    pub(crate) fn what(&self) -> String {
        let (kind, seconds) = (self.kind, self.longest);
        match self.verb {
            Verb::Kill => format!("{kind} is killed, and started after {seconds} s"),
            Verb::Pause => format!("{kind} is frozen for {seconds} s"),
            Verb::Stop => format!("{kind} is stopped, and started after {seconds} s"),
            Verb::Cut => format!("{kind} has no network for {seconds} s"),
            Verb::Twin => format!("a second {kind}, same ordinal, for {seconds} s"),
            Verb::TakeOver => format!("a second {kind} takes its place for {seconds} s"),
            Verb::LossyTakeOver => format!("a second {kind} that loses Kafka's answers, for {seconds} s"),
            Verb::Shrink => format!("{kind} is moved to a small disk"),
            Verb::Fill => format!("{kind} is moved to a small disk; that is full for {seconds} s"),
            Verb::MoveBack => format!("{kind} is moved back"),
        }
    }

    /// The bound, in a line.
    pub(crate) fn must_hold(&self) -> String {
        let back = self.back().as_secs();
        match self.touches() {
            Touches::All => format!("orders again within {back} s"),
            Touches::Own => format!("other regions never silent; its own takes orders again within {back} s"),
            Touches::None if self.kind == Kind::ZooKeeper => "no region silent".to_owned(),
            Touches::None => format!("no region silent; back within {back} s"),
        }
    }
}

impl ledger::Fault {
    /// Returns `true` if it may stop the acknowledgements of a region. An unknown fault may.
    pub(crate) fn touches(&self, partition: u16) -> bool {
        match Fault::named(&self.name).map(Fault::touches) {
            Some(Touches::None) => false,
            Some(Touches::Own) => self.subjects.iter().any(|subject| ordinal(subject) == Some(partition)),
            Some(Touches::All) | None => true,
        }
    }

    /// The bound of recovery, after the cause was taken away.
    pub(crate) fn back(&self) -> Duration {
        Fault::named(&self.name).map_or(BROKER_BACK, Fault::back)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Gateway => "the gateway",
            Self::Order => "order-N",
            Self::Repository => "repository-N",
            Self::Statistics => "statistics",
            Self::Kafka => "Kafka",
            Self::ZooKeeper => "ZooKeeper",
        })
    }
}
