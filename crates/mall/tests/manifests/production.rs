//! What a cluster with nodes, a registry and perhaps a Kafka of its own asks for.

use serde_json::Value;

use crate::rendered::*;

#[test]
#[ignore = "needs kubectl"]
fn only_the_local_overlay_runs_an_image_of_this_machine() {
    for (overlay_name, image, pulls_as) in [
        (
            "k8s",
            "registry.example.com/mall:0.1.0",
            serde_json::json!([{"name": "registry"}]),
        ),
        (
            "k8s/overlays/production",
            "registry.example.com/mall:0.1.0",
            serde_json::json!([{"name": "registry"}]),
        ),
        ("k8s/overlays/local", "mall:dev", Value::Null),
    ] {
        let manifests = overlay(overlay_name);
        for ours in OURS {
            for container in containers(manifests.workload(ours)) {
                assert_eq!(container["image"], image, "{overlay_name}: {ours}");
            }
        }
        for account in manifests.of(&["ServiceAccount"]) {
            assert_eq!(
                account["imagePullSecrets"],
                pulls_as,
                "{overlay_name}: {}",
                name(account)
            );
        }
    }
}

#[test]
#[ignore = "needs kubectl"]
fn each_service_is_a_user_of_its_own_at_an_existing_kafka() {
    let production = overlay("k8s/overlays/production");
    for service in SPEAK_KAFKA {
        let workload = production.workload(service);
        let volumes = list(&pod(workload)["volumes"]);
        for container in containers(workload) {
            let user = if container["name"] == "topics" {
                "topics"
            } else {
                service
            };
            let mounted = list(&container["volumeMounts"]).iter().map(|mount| {
                let volume = volumes.iter().find(|volume| volume["name"] == mount["name"]);
                &volume.expect("a volume of the pod")["secret"]["secretName"]
            });
            let named = list(&container["env"])
                .iter()
                .filter_map(|variable| variable["valueFrom"]["secretKeyRef"].get("name"));
            let secrets: Vec<_> = mounted.chain(named).collect();
            assert_eq!(secrets, [format!("kafka-{user}").as_str(); 3], "{service}");
        }
    }
    assert!(pod(production.workload("gateway")).get("volumes").is_none());
}

#[test]
#[ignore = "needs kubectl"]
fn brokers_have_nodes_of_their_own_but_for_the_local_overlay() {
    for (overlay_name, when, nodes) in [
        ("k8s", "DoNotSchedule", serde_json::json!(3)),
        ("k8s/overlays/local", "ScheduleAnyway", Value::Null),
    ] {
        let manifests = overlay(overlay_name);
        for set in ["kafka", "zookeeper"] {
            let spread = &pod(manifests.workload(set))["topologySpreadConstraints"][0];
            assert_eq!(spread["topologyKey"], "kubernetes.io/hostname", "{overlay_name}: {set}");
            assert_eq!(spread["maxSkew"], 1, "{overlay_name}: {set}");
            assert_eq!(spread["whenUnsatisfiable"], when, "{overlay_name}: {set}");
            assert_eq!(spread["minDomains"], nodes, "{overlay_name}: {set}");
            // Of one revision alone, an old and a new broker would share a node in the middle of a rolling update.
            assert_eq!(
                spread["matchLabelKeys"],
                serde_json::json!(["app.kubernetes.io/name"]),
                "{overlay_name}: {set}"
            );
        }
    }
}
