//! What the labels that Kubernetes recommends say of each object.

use serde_json::Value;

use crate::rendered::*;

/// Services, workloads and their pods carry their name, their component, and the version that runs.
pub(crate) fn labelled(manifests: &Manifests) {
    for object in manifests.of(&["Service", "Deployment", "StatefulSet"]) {
        let workload = manifests.workload(name(object));
        check(object, &object["metadata"]["labels"], workload);
    }
    for workload in manifests.workloads() {
        check(workload, labels(workload), workload);
    }
}

fn check(object: &Value, labels: &Value, workload: &Value) {
    let (what, label) = (name(object), |key: &str| {
        labels[format!("app.kubernetes.io/{key}")].clone()
    });
    let ours = OURS.contains(&what);
    let component = match what {
        "kafka" => "broker",
        "zookeeper" => "coordination",
        _ => "service",
    };
    let image = text(&pod(workload)["containers"][0]["image"]);
    let tag = image.rsplit_once(':').expect("a tag").1;
    assert_eq!(label("name"), what);
    assert_eq!(label("part-of"), "mall", "{what}");
    assert_eq!(label("component"), component, "{what}");
    assert_eq!(
        label("version"),
        if ours { env!("CARGO_PKG_VERSION") } else { tag },
        "{what}"
    );
}
