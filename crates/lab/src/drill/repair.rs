//! Examines a mall, and repairs it after any fault.

use std::time::{Duration, Instant};

use domain::Replicas;
use tokio::time::sleep;

use super::engine::{Container, Engine, State};
use super::faults::services;
use super::screen::Screen;

/// A container that was found unhealthy is asked again after at most 90 s, see compose.yaml.
const HEALTHY_WITHIN: Duration = Duration::from_secs(120);
/// Longer than a start takes.
const TELL_AFTER: Duration = Duration::from_secs(5);
const INTERVAL: Duration = Duration::from_millis(250);

/// A fault of a container, or of the mall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wrong {
    what: String,
    /// `true` if it may pass by itself.
    pub(crate) may_pass: bool,
}

/// Phrases for people.
pub(crate) fn list<'a>(wrong: impl IntoIterator<Item = &'a Wrong>) -> String {
    let phrases: Vec<&str> = wrong.into_iter().map(|wrong| wrong.what.as_str()).collect();
    phrases.join(", ")
}

/// Lists the faults of the mall. Changes nothing.
///
/// # Errors
/// When the engine cannot be asked, or there is no such project.
pub(crate) async fn examine(engine: &Engine, replicas: Replicas) -> anyhow::Result<Vec<Wrong>> {
    let containers = engine.containers().await?;
    let project = engine.project();
    anyhow::ensure!(
        !containers.is_empty(),
        "there is no Compose project {project}: `just up` starts it, --project names another"
    );
    let mut wrong = Vec::new();
    for service in services(replicas) {
        match containers.iter().find(|container| container.service == service) {
            None => wrong.push(broken(format!("{service} is missing"))),
            Some(container) => wrong.extend(describe(container)),
        }
    }
    if engine.has_made().await? {
        wrong.push(broken("an earlier drill did not clean up".to_owned()));
    }
    Ok(wrong)
}

fn broken(what: String) -> Wrong {
    Wrong { what, may_pass: false }
}

fn passing(what: String) -> Wrong {
    Wrong { what, may_pass: true }
}

/// Returns the fault of a container.
fn describe(container: &Container) -> Option<Wrong> {
    let service = &container.service;
    match &container.state {
        State::Well if container.is_connected => None,
        State::Well => Some(broken(format!("{service} has no network"))),
        State::Running(health) => Some(passing(format!("{service} is {health}"))),
        State::Restarting => Some(passing(format!("{service} is restarting"))),
        State::Paused => Some(broken(format!("{service} is paused"))),
        State::Down(status) => Some(broken(format!("{service} does not run ({status})"))),
    }
}

/// Gives back everything that a drill takes away: removes what it has made, lets go on what is paused, reconnects what
/// was cut off, starts what does not run. It looks at the containers, not at what was done. Returns what it did.
///
/// # Errors
/// When the engine cannot do it.
pub(crate) async fn heal(engine: &Engine, replicas: Replicas) -> anyhow::Result<Vec<String>> {
    let mut done = Vec::new();
    if engine.move_back().await? {
        done.push("the data of Kafka is where it was".to_owned());
    }
    let removed = engine.remove_made().await?;
    if removed > 0 {
        done.push(format!("removed {removed} that a drill had made"));
    }
    let containers = engine.containers().await?;
    let reconnected = engine.reconnect(None).await?;
    for container in containers
        .iter()
        .filter(|container| reconnected.contains(&container.id))
    {
        done.push(format!("{} has its network again", container.service));
    }
    for service in services(replicas) {
        let Some(Container { id, state, .. }) = containers.iter().find(|found| found.service == service) else {
            continue;
        };
        match state {
            State::Paused => {
                engine.unpause(id).await?;
                done.push(format!("{service} goes on"));
            }
            State::Down(_) => {
                engine.start(id).await?;
                done.push(format!("{service} is started"));
            }
            State::Well | State::Running(_) | State::Restarting => {}
        }
    }
    Ok(done)
}

/// Waits until nothing is wrong.
///
/// # Errors
/// When something still is after two minutes; it says what.
pub(crate) async fn wait_until_whole(engine: &Engine, replicas: Replicas, screen: &Screen) -> anyhow::Result<()> {
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        let wrong = examine(engine, replicas).await?;
        if wrong.is_empty() {
            return Ok(());
        }
        let seconds = HEALTHY_WITHIN.as_secs();
        anyhow::ensure!(
            begun.elapsed() < HEALTHY_WITHIN,
            "after {seconds} s the mall is not whole: {}; `just logs` says why, `just up` puts right what can be",
            list(&wrong)
        );
        if begun.elapsed() > TELL_AFTER && !is_told {
            let wrong = list(&wrong);
            screen.event(&format!(
                "still {wrong}; the engine asks at most every 90 s how a container is"
            ));
            is_told = true;
        }
        sleep(INTERVAL).await;
    }
}
