//! What each command does: from the settings to the configuration of a service, and a process around it.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use domain::Ordinal;
use embedded::{Cluster, Instance, Mall};
use kafka::topics::{Cleanup, Growth, Topic};
use service::{Context, http, telemetry};
use tokio_util::sync::CancellationToken;

use crate::config::Config;

/// The services in one process are ready in a fraction of this.
const EMBEDDED_START: Duration = Duration::from_secs(20);

pub(crate) fn gateway(config: Config) -> ExitCode {
    let orders = config.gateway.orders(config.replicas).map_err(anyhow::Error::msg);
    serve(&config, "gateway".to_owned(), |context| {
        let Config {
            gateway: settings,
            replicas,
            ..
        } = config.clone();
        async move {
            gateway::run(
                gateway::Config {
                    orders: orders?,
                    replicas,
                    settings,
                },
                context,
            )
            .await
        }
    })
}

pub(crate) fn order(config: Config) -> ExitCode {
    with_ordinal(config, "order", |ordinal, config, context| {
        let Config {
            kafka, order: settings, ..
        } = config;
        order::run(
            order::Config {
                kafka,
                ordinal,
                settings,
            },
            context,
        )
    })
}

pub(crate) fn repository(config: Config) -> ExitCode {
    with_ordinal(config, "repository", |ordinal, config, context| {
        let Config {
            kafka,
            repository: settings,
            ..
        } = config;
        repository::run(
            repository::Config {
                kafka,
                ordinal,
                settings,
            },
            context,
        )
    })
}

pub(crate) fn statistics(config: Config) -> ExitCode {
    serve(&config, "statistics".to_owned(), |context| {
        statistics::run(
            statistics::Config {
                kafka: config.kafka.clone(),
            },
            context,
        )
    })
}

pub(crate) fn topics(config: Config, grow: bool) -> ExitCode {
    telemetry::init(&config.log);
    let growth = if grow { Growth::Allowed } else { Growth::Refused };
    let partitions = usize::from(config.replicas.get());
    let topics = [
        Topic {
            name: "order",
            partitions,
            cleanup: Cleanup::Delete,
        },
        Topic {
            name: "shipment",
            partitions,
            cleanup: Cleanup::Delete,
        },
        Topic {
            name: "statistics",
            partitions: 1,
            cleanup: Cleanup::Compact,
        },
    ];
    service::run(config.grace_period, |shutdown| async move {
        let ensured = kafka::topics::ensure(&config.kafka, &config.topics, &topics, growth);
        let reports = shutdown.run_until_cancelled(ensured).await.context("asked to stop")??;
        reports.iter().for_each(|report| tracing::info!("{report}"));
        Ok(())
    })
}

pub(crate) fn embedded(config: Config) -> ExitCode {
    telemetry::init(&config.log);
    service::run(config.grace_period, |shutdown| async move {
        let cluster = Cluster::start(config.replicas)?;
        let mut mall = Mall::open(embedded::Config {
            replicas: config.replicas,
            kafka: cluster.config(),
            gateway_listen: config.embedded.gateway_listen,
            statistics_listen: config.embedded.statistics_listen,
            gateway: config.gateway,
            order: config.order,
            repository: config.repository,
        })
        .await?;
        match shutdown.run_until_cancelled(mall.ready(EMBEDDED_START)).await {
            Some(ready) => ready?,
            None => return mall.run(&shutdown).await,
        }
        greet(&mall, &cluster);
        mall.run(&shutdown).await
    })
}

#[expect(clippy::print_stdout, reason = "for the person who typed cargo run")]
fn greet(mall: &Mall, cluster: &Cluster) {
    let address = |instance| {
        mall.address(instance)
            .map_or_else(String::new, |address| address.to_string())
    };
    let gateway = address(Instance::Gateway);
    println!(
        "\nThe mall is open. Ctrl-C closes it; nothing is kept.\n\n  \
         gateway     http://{gateway}\n  \
         statistics  http://{}/api/statistics\n  \
         kafka       {} (a mock broker in this process)\n\n\
         Order something, from another terminal:\n\n  \
         curl -d partition=1 http://{gateway}/submit-order\n",
        address(Instance::Statistics),
        cluster.config().bootstrap_servers,
    );
}

/// Runs a service that is a replica with a number.
fn with_ordinal<F>(config: Config, name: &str, run: impl FnOnce(Ordinal, Config, Context) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    match config.ordinal() {
        Ok(ordinal) => serve(&config.clone(), format!("{name}-{ordinal}"), |context| {
            run(ordinal, config, context)
        }),
        #[expect(clippy::print_stderr, reason = "what is wrong before there is a log")]
        Err(error) => {
            eprintln!(
                "mall: cannot tell which replica this is: name the host {name}-N, or set MALL_ORDINAL=N: {error}"
            );
            ExitCode::from(service::USAGE_ERROR)
        }
    }
}

/// Runs a service in this process.
fn serve<F>(config: &Config, name: String, run: impl FnOnce(Context) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    telemetry::init(&config.log);
    let listen = config.http.listen;
    service::run(config.grace_period, |shutdown: CancellationToken| async move {
        let listener = http::bind(listen, "MALL_HTTP__LISTEN").await?;
        run(Context::new(name, listener, shutdown)).await
    })
}
