//! Network policies: the arrows of the design, and no more.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rendered::*;

/// Somebody who is no pod of the mall.
const OUTSIDE: &str = "outside";
const DNS: &str = "dns";

/// Every connection that the policies let through, as `from -> to:port`.
fn arrows(manifests: &Manifests) -> BTreeSet<String> {
    let dns = serde_json::json!({"k8s-app": "kube-dns"});
    let policies = |workload: &Value, direction: &str| {
        let selected: Vec<_> = manifests
            .of(&["NetworkPolicy"])
            .filter(|policy| selects(&policy["spec"]["podSelector"], labels(workload)))
            .filter(|policy| {
                list(&policy["spec"]["policyTypes"])
                    .iter()
                    .any(|kind| kind == direction)
            })
            .collect();
        assert!(
            !selected.is_empty(),
            "no policy for the {direction} of {}",
            name(workload)
        );
        selected
    };
    // Whom the rules of one end let through, and where: peer and port.
    let allowed = |workload: &Value, direction: &str, rules: &str, peers: &str| {
        let mut allowed = BTreeSet::new();
        for rule in policies(workload, direction)
            .iter()
            .flat_map(|policy| list(&policy["spec"][rules]))
        {
            let mut names = BTreeSet::new();
            if rule.get(peers).is_none() {
                names.extend(manifests.workloads().map(name));
                names.insert(OUTSIDE);
            }
            for peer in list(&rule[peers]) {
                if peer.get("namespaceSelector").is_some() {
                    assert_eq!(
                        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"],
                        "kube-system"
                    );
                    assert!(selects(&peer["podSelector"], &dns));
                    names.insert(DNS);
                } else {
                    names.extend(
                        manifests
                            .workloads()
                            .filter(|known| selects(&peer["podSelector"], labels(known)))
                            .map(name),
                    );
                }
            }
            assert!(
                !list(&rule["ports"]).is_empty(),
                "a rule of {} without ports",
                name(workload)
            );
            for port in list(&rule["ports"]) {
                allowed.extend(names.iter().map(|name| ((*name).to_owned(), plain(&port["port"]))));
            }
        }
        allowed
    };
    let ingress = |workload| allowed(workload, "Ingress", "ingress", "from");
    let egress = |workload| allowed(workload, "Egress", "egress", "to");
    let mut arrows = BTreeSet::new();
    for workload in manifests.workloads() {
        let (here, entrances, exits) = (name(workload), ingress(workload), egress(workload));
        for (from, port) in &entrances {
            let anybody = entrances.contains(&(OUTSIDE.to_owned(), port.clone()));
            let open = from == OUTSIDE || egress(manifests.workload(from)).contains(&(here.to_owned(), port.clone()));
            assert!(
                open || anybody,
                "{here} lets {from} in at {port}, but {from} may not go there"
            );
            if open {
                arrows.insert(format!("{from} -> {here}:{port}"));
            }
        }
        for (to, port) in &exits {
            if to == OUTSIDE || to == DNS {
                arrows.insert(format!("{here} -> {to}:{port}"));
            } else if !exits.contains(&(OUTSIDE.to_owned(), port.clone())) {
                let open = ingress(manifests.workload(to)).contains(&(here.to_owned(), port.clone()));
                assert!(open, "{here} may go to {to}:{port}, but {to} does not let it in");
            }
        }
    }
    arrows
}

fn expected_arrows(arrows: &[&str], workloads: &[&str]) -> BTreeSet<String> {
    let ours = [
        "outside -> gateway:80",
        "outside -> statistics:80",
        "gateway -> order:80",
        "gateway -> repository:80",
    ];
    let dns = workloads.iter().map(|workload| format!("{workload} -> dns:53"));
    arrows
        .iter()
        .chain(&ours)
        .map(|arrow| (*arrow).to_owned())
        .chain(dns)
        .collect()
}

#[test]
#[ignore = "needs kubectl"]
fn policies_allow_the_arrows_of_the_design_and_no_more() {
    let with_kafka = [&OURS[..], &["kafka", "zookeeper"]].concat();
    let kafka = [
        "order -> kafka:19092",
        "repository -> kafka:19092",
        "statistics -> kafka:19092",
        "kafka -> kafka:19092",
        "kafka -> zookeeper:2181",
        "zookeeper -> zookeeper:2888",
        "zookeeper -> zookeeper:3888",
    ];
    for name in ["k8s", "k8s/overlays/local"] {
        assert_eq!(arrows(&overlay(name)), expected_arrows(&kafka, &with_kafka), "{name}");
    }
    // An existing Kafka: out to the port of its address.
    let production = overlay("k8s/overlays/production");
    let address = &production.settings("kafka")["MALL_KAFKA__BOOTSTRAP_SERVERS"];
    let port = address.rsplit_once(':').expect("a port").1;
    let out = SPEAK_KAFKA.map(|name| format!("{name} -> outside:{port}"));
    let out: Vec<_> = out.iter().map(String::as_str).collect();
    assert_eq!(arrows(&production), expected_arrows(&out, &OURS));
}
