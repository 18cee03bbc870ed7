//! The cluster and the laptop run the same mall, under the same names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use crate::rendered::*;

/// `compose.yaml` with the default of every variable in it.
fn compose() -> Value {
    let mut settled = fs::read_to_string(repository().join("compose.yaml")).expect("compose.yaml");
    // A default may hold a variable: from the innermost one outwards.
    while let Some(begin) = settled.rfind("${") {
        let end = begin + settled[begin..].find('}').expect("the end of a variable");
        let variable = &settled[begin + 2..end];
        let default = variable.split_once(":-").map_or("", |(_, default)| default).to_owned();
        settled.replace_range(begin..=end, &default);
    }
    parse(&settled).remove(0)["services"].take()
}

fn compose_environment(service: &Value) -> BTreeMap<String, String> {
    let set = service["environment"]
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(_, value)| !value.is_null());
    set.map(|(key, value)| (key.clone(), plain(value))).collect()
}

/// `128m` and `128Mi` in MiB.
fn mebibytes(memory: &str) -> u64 {
    memory
        .trim_end_matches(char::is_alphabetic)
        .parse()
        .unwrap_or_else(|_| panic!("not in MiB: {memory}"))
}

/// The replicas of a set by their host names; a Deployment is its own host name in Compose.
fn replicas<'a>(compose: &'a Value, set: &str) -> Vec<(&'a str, &'a Value)> {
    let is_replica = |host: &str| {
        host.strip_prefix(set)
            .is_some_and(|rest| rest.starts_with('-') || rest.is_empty())
    };
    let services = compose.as_object().expect("services").iter();
    let named = services.filter_map(|(_, service)| Some((service.get("hostname")?.as_str()?, service)));
    named.filter(|(host, _)| is_replica(host)).collect()
}

#[test]
#[ignore = "needs kubectl"]
fn compose_and_the_cluster_run_the_same_mall() {
    let (compose, local) = (compose(), overlay("k8s/overlays/local"));
    let regions = replicas(&compose, "order").len().to_string();
    assert_eq!(local.settings("mall")["MALL_REPLICAS"], regions);
    for ours in OURS {
        let workload = local.workload(ours);
        let container = &pod(workload)["containers"][0];
        let replicas = replicas(&compose, ours);
        assert_eq!(
            replicas.len().to_string(),
            plain(&workload["spec"]["replicas"]),
            "{ours}"
        );
        for (host, service) in replicas {
            assert_eq!(service["image"], container["image"], "{host}");
            assert_eq!(service["command"], container["args"], "{host}");
            assert_eq!(
                service["read_only"], container["securityContext"]["readOnlyRootFilesystem"],
                "{host}"
            );
            assert_eq!(
                service["cap_drop"], container["securityContext"]["capabilities"]["drop"],
                "{host}"
            );
            let limit = mebibytes(text(&container["resources"]["limits"]["memory"]));
            assert_eq!(mebibytes(text(&service["mem_limit"])), limit, "{host}");
            for port in list(&service["ports"]) {
                let target = text(port).rsplit_once(':').expect("a target").1;
                assert_eq!(target, plain(&container["ports"][0]["containerPort"]), "{host}");
            }

            // What the cluster says in full stands for the defaults of the binary in Compose.
            let mut settings = compose_environment(service);
            assert_eq!(settings["MALL_REPLICAS"], regions, "{host}");
            for key in ["MALL_TOPICS__REPLICATION_FACTOR", "MALL_TOPICS__MIN_INSYNC_REPLICAS"] {
                settings.entry(key.to_owned()).or_insert_with(|| "1".to_owned());
            }
            if ours == "gateway" {
                // Compose gives every service the same settings; this one speaks no Kafka.
                settings.retain(|key, _| !key.starts_with("MALL_KAFKA__") && !key.starts_with("MALL_TOPICS__"));
            }
            // Where the gateway is published on a laptop; in a cluster it is where somebody forwards a port.
            settings.remove("MALL_STATISTICS__PUBLIC_GATEWAY_URL");
            assert_eq!(local.environment(container), settings, "{host}");
        }
    }
    for speaks_kafka in SPEAK_KAFKA {
        let topics = &pod(local.workload(speaks_kafka))["initContainers"][0];
        assert_eq!(topics["args"], compose["topics"]["command"], "{speaks_kafka}");
        assert_eq!(topics["image"], compose["topics"]["image"], "{speaks_kafka}");
    }
    assert!(pod(local.workload("gateway")).get("initContainers").is_none());
}

#[test]
#[ignore = "needs kubectl"]
fn a_replica_has_the_same_names_in_compose_and_in_the_cluster() {
    let (compose, local) = (compose(), overlay("k8s/overlays/local"));
    let namespace = namespace();
    for set in ["order", "repository"] {
        let spec = &local.get("StatefulSet", set)["spec"];
        let service = text(&spec["serviceName"]);
        let count = spec["replicas"].as_u64().expect("a number");
        for (ordinal, (host, replica)) in (0..count).zip(replicas(&compose, set)) {
            let pod = format!("{set}-{ordinal}");
            let dns = [
                service.to_owned(),
                format!("{pod}.{service}"),
                format!("{pod}.{service}.{namespace}.svc.cluster.local"),
            ];
            assert_eq!(host, pod);
            let aliases = list(&replica["networks"]["default"]["aliases"])
                .iter()
                .map(|alias| text(alias).to_owned());
            assert_eq!(aliases.collect::<BTreeSet<_>>(), BTreeSet::from(dns), "{host}");
        }
    }
    for service in ["gateway", "statistics", "kafka", "zookeeper"] {
        local.get("Service", service);
        assert_eq!(compose[service]["hostname"], service);
    }
}

#[test]
#[ignore = "needs kubectl"]
fn kafka_and_zookeeper_have_the_same_settings_in_compose_and_in_the_cluster() {
    /// Where they differ, and why.
    const COMPOSE_ONLY: [&str; 4] = [
        // Two listeners: the host's own tools come in through the second.
        "KAFKA_LISTENERS",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "KAFKA_INTER_BROKER_LISTENER_NAME",
        // Consumer groups are what those tools use.
        "KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS",
    ];
    const CLUSTER_ONLY: [&str; 13] = [
        // Pods that come back with another address, in any order, after their images were pulled.
        "POD_NAME",
        "KAFKA_OPTS",
        "KAFKA_CUB_ZK_TIMEOUT",
        "KAFKA_ZOOKEEPER_CONNECTION_TIMEOUT_MS",
        // Volumes that live for years, and members of an ensemble.
        "ZOOKEEPER_AUTOPURGE_SNAP_RETAIN_COUNT",
        "ZOOKEEPER_AUTOPURGE_PURGE_INTERVAL",
        "ZOOKEEPER_SERVER_ID",
        "ZOOKEEPER_INIT_LIMIT",
        "ZOOKEEPER_SYNC_LIMIT",
        "ZOOKEEPER_QUORUM_LISTEN_ON_ALL_IPS",
        "ZOOKEEPER_ADMIN_ENABLE_SERVER",
        // The defaults for topics that others make.
        "KAFKA_DEFAULT_REPLICATION_FACTOR",
        "KAFKA_MIN_INSYNC_REPLICAS",
    ];
    const DIFFERENT: [&str; 5] = [
        "KAFKA_BROKER_ID",
        "KAFKA_ADVERTISED_LISTENERS",
        // In Compose one terminal shows all logs: warnings only.
        "KAFKA_LOG4J_ROOT_LOGLEVEL",
        "KAFKA_LOG4J_LOGGERS",
        "ZOOKEEPER_LOG4J_ROOT_LOGLEVEL",
    ];
    let (compose, local) = (compose(), overlay("k8s/overlays/local"));
    for service in ["kafka", "zookeeper"] {
        let container = &pod(local.workload(service))["containers"][0];
        assert_eq!(compose[service]["image"], container["image"]);
        let limit = mebibytes(text(&container["resources"]["limits"]["memory"]));
        assert_eq!(mebibytes(text(&compose[service]["mem_limit"])), limit, "{service}");
        let (mut ours, mut theirs) = (local.environment(container), compose_environment(&compose[service]));
        ours.retain(|key, _| !CLUSTER_ONLY.contains(&key.as_str()) && !DIFFERENT.contains(&key.as_str()));
        theirs.retain(|key, _| !COMPOSE_ONLY.contains(&key.as_str()) && !DIFFERENT.contains(&key.as_str()));
        assert_eq!(ours, theirs, "{service}");
    }
    let advertised = &local.environment(&pod(local.workload("kafka"))["containers"][0])["KAFKA_ADVERTISED_LISTENERS"];
    assert!(
        advertised.ends_with(&format!(
            ".{}",
            local.settings("kafka")["MALL_KAFKA__BOOTSTRAP_SERVERS"]
        )),
        "{advertised}"
    );
}
