//! What the labels that Kubernetes recommends say of each object.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::rendered::*;

/// Every object carries its name, its component and the whole that it is a part of, so that a selector finds all of it;
/// what runs, and its pods, also the version that runs.
pub(crate) fn labelled(manifests: &Manifests) {
    let components = BTreeSet::from(["service", "broker", "coordination", "network-policy", "monitoring"]);
    let known: BTreeSet<_> = manifests.workloads().map(name).chain(["mall"]).collect();
    for object in &manifests.0 {
        let what = format!("{} {}", object["kind"], name(object));
        let labels = &object["metadata"]["labels"];
        assert!(
            known.contains(text(&labels["app.kubernetes.io/name"])),
            "{what}: {labels}"
        );
        assert!(
            components.contains(text(&labels["app.kubernetes.io/component"])),
            "{what}: {labels}"
        );
        assert_eq!(labels["app.kubernetes.io/part-of"], "mall", "{what}");
    }
    // An object with the name of a workload belongs to it.
    for workload in manifests.workloads() {
        let own = manifests
            .0
            .iter()
            .filter(|object| object["kind"] != "ConfigMap" && name(object) == name(workload));
        for object in own {
            check(name(workload), &object["metadata"]["labels"]);
        }
        check(name(workload), labels(workload));
        let image = text(&pod(workload)["containers"][0]["image"]);
        let tag = image.rsplit_once(':').expect("a tag").1;
        let version = if OURS.contains(&name(workload)) {
            env!("CARGO_PKG_VERSION")
        } else {
            tag
        };
        for labels in [&workload["metadata"]["labels"], labels(workload)] {
            assert_eq!(labels["app.kubernetes.io/version"], version, "{}", name(workload));
        }
    }
}

fn check(workload: &str, labels: &Value) {
    let component = match workload {
        "kafka" => "broker",
        "zookeeper" => "coordination",
        _ => "service",
    };
    assert_eq!(labels["app.kubernetes.io/name"], workload);
    assert_eq!(labels["app.kubernetes.io/component"], component, "{workload}");
    assert_eq!(labels["app.kubernetes.io/part-of"], "mall", "{workload}");
}
