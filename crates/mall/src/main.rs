//! The command line: which part of the mall to be.

mod clock;
mod columns;
mod commands;
mod config;
mod find;
mod get;
mod healthcheck;
mod relay;
mod timeline;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use domain::{OrderId, Replicas};
use kafka::topics;
use lab::ServiceUrl;
use mall::Instance;

use crate::config::Config;

/// A mall on Kafka whose services have an identity. Without a command: all of it, in this process, with a broker of
/// its own.
///
/// Every setting is an environment variable MALL_…, or a line of the TOML file that MALL_CONFIG names; see README.md.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// How many regions there are: replicas of order and repository, partitions of their topics [default: 3].
    #[arg(long, value_parser = parse_replicas, global = true)]
    replicas: Option<Replicas>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Take orders over HTTP and pass each to the order service of its region.
    Gateway,
    /// Write the orders of one region to its partition of topic order.
    Order,
    /// Ship each order of one region exactly once.
    Repository,
    /// Count everything that is in the log.
    Statistics,
    /// Create the missing topics and verify the others, then exit: with 1, and nothing changed, if one differs.
    Topics {
        /// Add the partitions that a topic lacks, when regions are added.
        #[arg(long)]
        grow: bool,
        /// Only warn of differences that the mall can run with, such as a retention.
        #[arg(long)]
        warn: bool,
    },
    /// Print what became of an order.
    Find {
        /// The id of the order.
        id: OrderId,
        /// Where the gateway is [default: the setting lab.gateway_url, http://127.0.0.1:8080].
        #[arg(long, value_name = "URL")]
        gateway: Option<ServiceUrl>,
    },
    /// Send orders at a steady rate, and say how they fared.
    Load(lab::load::Arguments),
    /// Break containers of a Compose project under load, give everything back, and say whether the mall held.
    Drill(lab::drill::Arguments),
    /// Exit with 0 when the service of this host is ready, and else say why it is not.
    Healthcheck,
    /// Check that the mall has kept what it promises: read the topics, ask statistics, and compare. Exits with 1 when a
    /// promise is broken, and with 3 when it is not proved that all are kept.
    Audit(lab::audit::Arguments),
    /// Stand in for a replica that runs outside of its container: copy TCP connections to it.
    Relay {
        /// From which port to where: 80=host.docker.internal:8101.
        #[arg(required = true, value_name = "PORT=HOST:PORT")]
        routes: Vec<relay::Route>,
    },
}

fn parse_replicas(text: &str) -> Result<Replicas, String> {
    let number: i64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    Replicas::try_from(number).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    match Arguments::try_parse() {
        Ok(arguments) => run(arguments),
        Err(error) => {
            // An error means that the terminal is gone.
            let _ = error.print();
            // `--help` and `--version` come this way too.
            let code = if error.use_stderr() { service::USAGE_ERROR } else { 0 };
            ExitCode::from(code)
        }
    }
}

#[expect(clippy::print_stderr, reason = "what is wrong before there is a log")]
fn run(arguments: Arguments) -> ExitCode {
    match service::config::load::<Config>() {
        Ok(mut config) => {
            config.replicas = arguments.replicas.unwrap_or(config.replicas);
            run_command(arguments.command, config)
        }
        Err(error) => {
            eprintln!("mall: {error}");
            ExitCode::from(service::USAGE_ERROR)
        }
    }
}

fn run_command(command: Option<Command>, config: Config) -> ExitCode {
    match command {
        Some(Command::Healthcheck) => healthcheck::run(config.http.listen),
        Some(Command::Audit(arguments)) => commands::audit(&config, arguments),
        Some(Command::Relay { routes }) => relay::run(&config, routes),
        Some(Command::Topics { grow, warn }) => {
            let tolerate_advice = warn;
            commands::topics(&config, topics::Options { grow, tolerate_advice })
        }
        Some(Command::Load(arguments)) => commands::load(&config, arguments),
        Some(Command::Drill(arguments)) => commands::drill(&config, arguments),
        Some(Command::Gateway) => commands::serve(&config, Instance::Gateway),
        Some(Command::Order) => commands::serve_replica(&config, "order", Instance::Order),
        Some(Command::Find { id, gateway }) => find::run(id, &gateway.unwrap_or(config.lab.gateway_url)),
        Some(Command::Repository) => commands::serve_replica(&config, "repository", Instance::Repository),
        Some(Command::Statistics) => commands::serve(&config, Instance::Statistics),
        None => commands::embedded(config),
    }
}
