//! The commands: each takes its configuration from the settings, and runs in this process.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use domain::Partition;
use kafka::topics::{Cleanup, Difference, Options, Severity, Topic, TopicsError};
use lab::{audit, drill, load};
use mall::embedded::{self, Cluster, Mall};
use mall::{Instance, Services};
use service::{Context, http, telemetry};
use tokio_util::sync::CancellationToken;

use crate::columns::paragraph;
use crate::config::Config;

/// After Ctrl-C the answers that are under way are waited for, each for at most 10 s.
const TOOL_GRACE_PERIOD: Duration = Duration::from_secs(12);
/// After Ctrl-C a drill gives back what it took away: a container that was just found unhealthy is so for 90 s.
const DRILL_GRACE_PERIOD: Duration = Duration::from_secs(180);
/// The services in one process are ready in a fraction of this.
const EMBEDDED_START: Duration = Duration::from_secs(20);

/// Runs a service in this process.
pub(crate) fn serve(config: &Config, instance: Instance) -> ExitCode {
    telemetry::init(&config.log);
    service::run(config.grace_period, |shutdown| async move {
        let listener = http::bind(config.http.listen, "MALL_HTTP__LISTEN").await?;
        let context = Context::new(instance.to_string(), listener, shutdown);
        config.services()?.run(instance, context).await
    })
}

/// Runs a service that is a replica with a number.
#[expect(clippy::print_stderr, reason = "what is wrong before there is a log")]
pub(crate) fn serve_replica(config: &Config, name: &str, instance: fn(Partition) -> Instance) -> ExitCode {
    match config.ordinal() {
        Ok(ordinal) => serve(config, instance(ordinal.into())),
        Err(error) => {
            eprintln!(
                "mall: cannot tell which replica this is: name the host {name}-N, or set MALL_ORDINAL=N: {error}"
            );
            ExitCode::from(service::USAGE_ERROR)
        }
    }
}

pub(crate) fn topics(config: &Config, options: Options) -> ExitCode {
    telemetry::init(&config.log);
    let partitions = usize::from(config.replicas.get());
    let topic = |name, partitions, cleanup| Topic {
        name,
        partitions,
        cleanup,
    };
    let topics = [
        topic("order", partitions, Cleanup::Delete),
        topic("shipment", partitions, Cleanup::Delete),
        topic("statistics", 1, Cleanup::Compact),
    ];
    service::run(config.grace_period, |shutdown| async move {
        let ensured = kafka::topics::ensure(&config.kafka, &config.topics, &topics, options);
        let ensured = shutdown.run_until_cancelled(ensured).await.context("asked to stop")?;
        if let Err(TopicsError::Differences(differences)) = &ensured {
            differences.iter().for_each(log_difference);
            anyhow::bail!("the topics are not as expected; nothing was changed");
        }
        for report in ensured? {
            tracing::info!("{report}");
            report.differences.iter().for_each(log_difference);
        }
        Ok(())
    })
}

fn log_difference(difference: &Difference) {
    match difference.severity {
        Severity::Advice => tracing::warn!("{difference}"),
        Severity::Error => tracing::error!("{difference}"),
    }
}

/// Runs a tool: its result is what it prints, its errors go to stderr, and there is no log.
#[expect(clippy::print_stderr, reason = "a tool has no log")]
fn tool(grace_period: Duration, body: impl AsyncFnOnce(CancellationToken) -> anyhow::Result<ExitCode>) -> ExitCode {
    let mut code = ExitCode::FAILURE;
    let ran = service::run(grace_period, async |stop| {
        match body(stop).await {
            Ok(result) => code = result,
            Err(error) => {
                let text = format!("mall: {error:#}");
                // Other programs look for phrases.
                let is_read = std::io::stderr().is_terminal();
                eprintln!("{}", if is_read { paragraph(&text, 0) } else { text }.trim_end());
            }
        }
        Ok(())
    });
    if ran != ExitCode::SUCCESS {
        eprintln!("mall: stopped before it was done");
        return ran;
    }
    code
}

pub(crate) fn load(config: &Config, arguments: load::Arguments) -> ExitCode {
    tool(TOOL_GRACE_PERIOD, async |stop| {
        load::run(arguments, &config.lab.gateway_url, config.replicas, &stop).await
    })
}

pub(crate) fn drill(config: &Config, arguments: drill::Arguments) -> ExitCode {
    tool(DRILL_GRACE_PERIOD, async |stop| {
        drill::run(arguments, &config.lab, &lab_kafka(config), config.replicas, &stop).await
    })
}

/// The address of Kafka, for the lab: it shares no code with the services.
fn lab_kafka(config: &Config) -> audit::Kafka {
    let properties = config.kafka.properties.iter();
    audit::Kafka {
        bootstrap_servers: config.kafka.bootstrap_servers.clone(),
        prefix: config.kafka.prefix.clone(),
        properties: properties
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    }
}

pub(crate) fn audit(config: &Config, arguments: audit::Arguments) -> ExitCode {
    let options = audit::Options {
        kafka: lab_kafka(config),
        regions: config.replicas.get(),
        statistics: Some(config.lab.statistics_url.clone()),
        ledgers: Vec::new(),
    };
    tool(TOOL_GRACE_PERIOD, async |stop| {
        audit::command(arguments, options, &stop).await
    })
}

pub(crate) fn embedded(config: Config) -> ExitCode {
    telemetry::init(&config.log);
    service::run(config.grace_period, |shutdown| async move {
        let cluster = Cluster::start(config.replicas)?;
        let mut mall = Mall::open(embedded::Config {
            services: Services {
                kafka: cluster.config(),
                ..config.services()?
            },
            gateway_listen: config.embedded.gateway_listen,
            statistics_listen: config.embedded.statistics_listen,
        })
        .await?;
        if let Some(ready) = shutdown.run_until_cancelled(mall.ready(EMBEDDED_START)).await {
            ready?;
            greet(&mall, &cluster);
        }
        mall.run(&shutdown).await
    })
}

/// Prints the addresses of a mall that `cargo run` has opened.
fn greet(mall: &Mall, cluster: &Cluster) {
    let address = |instance| {
        mall.address(instance)
            .map_or_else(String::new, |address| address.to_string())
    };
    let gateway = address(Instance::Gateway);
    telemetry::print(&format!(
        "\nThe mall is open. Ctrl-C closes it; nothing is kept.\n\n  \
         gateway     http://{gateway}\n  \
         dashboard   http://{}\n  \
         kafka       {} (a mock broker in this process)\n\n\
         Order something, from another terminal:\n\n  \
         curl -d partition=1 http://{gateway}/submit-order\n\n",
        address(Instance::Statistics),
        cluster.config().bootstrap_servers,
    ));
}
