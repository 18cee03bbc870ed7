//! The rights of each principal: those that k8s/README.md grants are those that are needed, and each one that is missing is
//! named.

use std::time::Duration;

use super::broker::{Broker, PASSWORD, PASSWORDS, Settings, borrowed, kafka};
use crate::support::{Child, Client, NewRecord, append, eventually, shipments};

const README: &str = include_str!("../../../../../k8s/README.md");

/// A line of the README that grants something: `allow order Write --topic order`.
struct Grant {
    line: &'static str,
    principal: &'static str,
    /// How a missing one of these rights is told.
    missing: Vec<String>,
}

impl Grant {
    fn parse(line: &'static str) -> Self {
        let mut words = line.split_whitespace();
        let mut word = || words.next().expect("allow PRINCIPAL OPERATION --KIND NAME");
        let (principal, operation) = (word(), word());
        let mut missing = Vec::new();
        while let (Some(option), Some(name)) = (words.next(), words.next()) {
            // The name of a resource may be the beginning of names.
            if option != "--resource-pattern-type" {
                let kind = option.trim_start_matches("--").replace('-', " ");
                missing.push(format!("kafka does not allow {operation} on {kind} \"{name}"));
            }
        }
        assert!(!missing.is_empty(), "{line}");
        Self {
            line,
            principal,
            missing,
        }
    }
}

/// All lines of the README that grant something, and the function that they call.
fn grants() -> (String, Vec<Grant>) {
    let commands = README.lines().filter_map(|line| line.strip_prefix("$ allow"));
    let lines: Vec<_> = commands.clone().filter(|line| line.starts_with(' ')).collect();
    let function = commands
        .clone()
        .find(|line| line.starts_with("()"))
        .expect("a function");
    // The tool by its class, because not every image has a script for it, and the address of the broker from inside.
    let function = function
        .replace("kafka-acls", "kafka-run-class kafka.admin.AclCommand")
        .replace(
            "kafka.example.com:9093 --command-config admin.properties",
            "localhost:19092",
        );
    (
        format!("allow{function}"),
        lines.into_iter().map(Grant::parse).collect(),
    )
}

/// What a process has said, without the escapes of JSON.
fn said(child: &Child) -> String {
    child.printed().replace('\\', "")
}

struct Ladder {
    broker: Broker,
    function: String,
    grants: Vec<Grant>,
}

impl Ladder {
    fn of(&self, principal: &str) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(move |grant| grant.principal == principal)
    }

    async fn grant(&self, grant: &Grant) {
        self.broker
            .run(&format!("{}\nallow{}", self.function, grant.line))
            .await;
    }

    /// `mall topics`, which ends at once, with or without success.
    async fn topics(&self, arguments: &[&str]) -> Result<(), String> {
        let settings = self.broker.certificate("topics");
        let mut topics = Child::start(&[&["topics"], arguments].concat(), &borrowed(&settings));
        // Long before the minute for which it waits for a broker.
        let status = topics.ended(Duration::from_secs(20)).await;
        eventually("its last line", async || {
            let said = topics.printed();
            said.contains("stopped") || said.contains("failed")
        })
        .await;
        status.success().then_some(()).ok_or_else(|| said(&topics))
    }

    /// Grants one right after another, each when the service has said that it is missing.
    async fn climb(&self, service: &Child, name: &str, principal: &str) {
        for grant in self.of(principal) {
            for missing in &grant.missing {
                let what = format!("{name} says: {missing}");
                eventually(&what, async || said(service).contains(missing)).await;
            }
            self.grant(grant).await;
        }
        service.ready(name).await;
    }
}

#[tokio::test]
#[ignore = "needs MALL_TEST_SECURED_CERTIFICATES and MALL_TEST_SECURED_CONTAINER: a broker with an authorizer"]
async fn each_principal_needs_the_rights_of_the_readme_and_is_told_which_one_is_missing() {
    let (function, grants) = grants();
    let (broker, owner) = (Broker::new(), ["topics", "order", "repository", "statistics"]);
    assert!(grants.iter().all(|grant| owner.contains(&grant.principal)));
    let ladder = Ladder {
        broker,
        function,
        grants,
    };

    for grant in ladder.of("topics") {
        let arguments = if grant.line.contains(" Alter ") {
            &["--grow", "--replicas", "4"][..]
        } else {
            &[]
        };
        let mut outcome = ladder.topics(arguments).await;
        if outcome.is_ok() {
            // It may make the topics before it may look at their settings.
            outcome = ladder.topics(arguments).await;
        }
        let said = outcome.expect_err(grant.line);
        assert!(said.contains(&grant.missing[0]), "{}: {said}", grant.line);
        ladder.grant(grant).await;
    }
    ladder.topics(&["--grow", "--replicas", "4"]).await.expect("grown");
    ladder.topics(&["--warn"]).await.expect("verified");

    // There is something to read.
    let settings = ladder.broker.password("mall", PASSWORD, "ca.crt");
    let mall = kafka::Config {
        prefix: String::new(),
        ..kafka(PASSWORDS, &settings)
    };
    let value = br#"{"money":7,"order_id":"7","time":1,"user_id":"1"}"#;
    append(&mall, 1, &[NewRecord { key: Some("7"), value }]).await;

    let start = |principal: &str| {
        let mut settings: Settings = ladder.broker.certificate(principal);
        settings.push(("MALL_HTTP__LISTEN", "127.0.0.1:0".to_owned()));
        settings.push(("MALL_ORDINAL", "1".to_owned()));
        Child::start(&[principal], &borrowed(&settings))
    };
    let (order, repository, statistics) = (start("order"), start("repository"), start("statistics"));
    tokio::join!(
        ladder.climb(&order, "order-1", "order"),
        ladder.climb(&repository, "repository-1", "repository"),
        ladder.climb(&statistics, "statistics", "statistics"),
    );
    eventually("the order is shipped", async || shipments(&mall, 1).await.len() == 1).await;
    let (client, address) = (Client::new(), statistics.address_of("statistics").await);
    eventually("it is counted", async || {
        client.get(address, "/api/statistics").await.json()["total"]["shipped"] == 1
    })
    .await;
}
