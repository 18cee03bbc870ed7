//! Every overlay with every combination of components: renders, is restricted, fits together.

use serde_json::Value;

use crate::labels::labelled;
use crate::rendered::*;

/// Components that any overlay may add.
const OPTIONAL: [&str; 4] = ["traefik", "gateway-api", "node-selector", "autoscaling"];
/// What a stop of a process of ours may take, in seconds: `MALL_GRACE_PERIOD` where nobody sets it.
const GRACE_PERIOD: u64 = 10;
const NAMESPACE: &str = "kafka-demo";

#[test]
#[ignore = "needs kubectl"]
fn the_namespace_admits_restricted_pods_only_and_is_applied_apart() {
    let namespace = overlay("k8s/namespace");
    assert_eq!(namespace.0.len(), 1);
    let labels = &namespace.get("Namespace", NAMESPACE)["metadata"]["labels"];
    for mode in ["enforce", "warn", "audit"] {
        assert_eq!(labels[format!("pod-security.kubernetes.io/{mode}")], "restricted");
    }
}

#[test]
#[ignore = "needs kubectl"]
fn the_default_is_sound_with_every_combination_of_components() {
    every_combination_is_sound("k8s");
}

#[test]
#[ignore = "needs kubectl"]
fn overlay_local_is_sound_with_every_combination_of_components() {
    every_combination_is_sound("k8s/overlays/local");
}

#[test]
#[ignore = "needs kubectl"]
fn overlay_production_is_sound_with_every_combination_of_components() {
    every_combination_is_sound("k8s/overlays/production");
}

fn every_combination_is_sound(overlay: &str) {
    for chosen in 0..1 << OPTIONAL.len() {
        let chosen = |(bit, _): &(u32, &str)| chosen >> bit & 1 == 1;
        let components: Vec<_> = (0..).zip(OPTIONAL).filter(chosen).map(|(_, name)| name).collect();
        let manifests = with_components(overlay, &components);
        one_number_of_regions(&manifests);
        restricted(&manifests);
        labelled(&manifests);
        selectors_match(&manifests);
        ports_match(&manifests);
        identities(&manifests);
        accounts(&manifests);
        stops_in_time(&manifests);
        backends_exist(&manifests);
        let pinned = components.contains(&"node-selector");
        assert!(
            manifests
                .workloads()
                .all(|workload| pod(workload).get("nodeSelector").is_some() == pinned)
        );
        let scaled = components.contains(&"autoscaling");
        let replicas = manifests.workload("gateway")["spec"].get("replicas");
        assert_eq!(replicas.is_none(), scaled, "the autoscaler's number");
    }
}

/// `MALL_REPLICAS`, partitions, and the replicas of order and repository.
fn one_number_of_regions(manifests: &Manifests) {
    let regions = &manifests.settings("mall")["MALL_REPLICAS"];
    for workload in ["order", "repository"] {
        assert_eq!(
            &plain(&manifests.get("StatefulSet", workload)["spec"]["replicas"]),
            regions,
            "{workload}"
        );
    }
    for ours in OURS {
        for container in containers(manifests.workload(ours)) {
            assert_eq!(&manifests.environment(container)["MALL_REPLICAS"], regions, "{ours}");
        }
    }
    // Identity is bound to a partition: nothing may change these numbers behind our back.
    for autoscaler in manifests.of(&["HorizontalPodAutoscaler"]) {
        assert_eq!(autoscaler["spec"]["scaleTargetRef"]["name"], "gateway");
    }
}

/// What Pod Security's level *restricted* asks for, and what we ask for besides.
fn restricted(manifests: &Manifests) {
    for object in &manifests.0 {
        // Nor is there a Namespace among them: `kubectl delete -k` must not take the volumes with it.
        assert_eq!(object["metadata"]["namespace"], NAMESPACE, "{}", name(object));
    }
    for workload in manifests.workloads() {
        let (name, pod) = (name(workload), pod(workload));
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true, "{name}");
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault",
            "{name}"
        );
        assert_eq!(pod["automountServiceAccountToken"], false, "{name}");
        assert_eq!(pod["enableServiceLinks"], false, "{name}");
        for host in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod.get(host).is_none(), "{name}");
        }
        for sysctl in list(&pod["securityContext"]["sysctls"]) {
            assert_eq!(sysctl["name"], "net.ipv4.ip_unprivileged_port_start", "{name}");
        }
        for container in containers(workload) {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["capabilities"]["drop"], serde_json::json!(["ALL"]), "{name}");
            assert!(security["capabilities"].get("add").is_none(), "{name}");
            assert_eq!(
                security["readOnlyRootFilesystem"] == true,
                OURS.contains(&name),
                "{name}"
            );
            let image = text(&container["image"]);
            assert!(
                image.rsplit_once(':').is_some_and(|(_, tag)| tag != "latest"),
                "{name}: {image}"
            );
            assert_eq!(container["imagePullPolicy"], "IfNotPresent", "{name}");
            for figure in ["/requests/cpu", "/requests/memory", "/limits/memory"] {
                assert!(container["resources"].pointer(figure).is_some(), "{name}: no {figure}");
            }
        }
    }
}

fn selectors_match(manifests: &Manifests) {
    for workload in manifests.workloads() {
        assert!(
            selects(&workload["spec"]["selector"], labels(workload)),
            "{}",
            name(workload)
        );
    }
    let one = |selector: &Value, what: &str| {
        let selected: Vec<_> = manifests
            .workloads()
            .filter(|workload| selects(selector, labels(workload)))
            .map(name)
            .collect();
        assert_eq!(selected, [what], "what {what} selects");
    };
    for service in manifests.of(&["Service"]) {
        one(
            &serde_json::json!({"matchLabels": service["spec"]["selector"]}),
            name(service),
        );
    }
    for budget in manifests.of(&["PodDisruptionBudget"]) {
        one(&budget["spec"]["selector"], name(budget));
    }
    for policy in manifests.of(&["NetworkPolicy"]) {
        let selector = &policy["spec"]["podSelector"];
        assert!(
            manifests
                .workloads()
                .any(|workload| selects(selector, labels(workload))),
            "{}",
            name(policy)
        );
    }
}

fn container_ports(workload: &Value) -> impl Iterator<Item = &Value> {
    list(&pod(workload)["containers"])
        .iter()
        .flat_map(|container| list(&container["ports"]))
}

/// Services and probes name ports that the container has.
fn ports_match(manifests: &Manifests) {
    let has = |workload: &Value, port: &Value| {
        container_ports(workload).any(|known| &known["name"] == port || &known["containerPort"] == port)
    };
    for service in manifests.of(&["Service"]) {
        let workload = manifests.workload(name(service));
        for port in list(&service["spec"]["ports"]) {
            assert!(has(workload, &port["targetPort"]), "{}: {port}", name(service));
            let mut same = container_ports(workload).filter(|known| known["name"] == port["targetPort"]);
            assert!(
                same.all(|known| known["containerPort"] == port["port"]),
                "{}: one number on the way",
                name(service)
            );
        }
    }
    for workload in manifests.workloads() {
        for container in list(&pod(workload)["containers"]) {
            for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
                let probe = container
                    .get(probe)
                    .unwrap_or_else(|| panic!("{}: no {probe}", name(workload)));
                for kind in ["httpGet", "tcpSocket"].map(|kind| &probe[kind]) {
                    assert!(
                        kind.is_null() || has(workload, &kind["port"]),
                        "{}: {probe}",
                        name(workload)
                    );
                }
            }
            if OURS.contains(&name(workload)) {
                assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/live");
                assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/ready");
            }
        }
    }
}

/// Names that lead to one replica: a headless Service that also answers for replicas that are not ready.
fn identities(manifests: &Manifests) {
    for set in manifests.of(&["StatefulSet"]) {
        let service = &manifests.get("Service", text(&set["spec"]["serviceName"]))["spec"];
        assert_eq!(service["clusterIP"], "None", "{}", name(set));
        assert_eq!(service["publishNotReadyAddresses"], true, "{}", name(set));
        assert_eq!(set["spec"]["podManagementPolicy"], "Parallel", "{}", name(set));
    }
}

/// Each workload is somebody of its own, who may ask the cluster nothing.
fn accounts(manifests: &Manifests) {
    for workload in manifests.workloads() {
        assert_eq!(pod(workload)["serviceAccountName"], name(workload));
        let account = manifests.get("ServiceAccount", name(workload));
        assert_eq!(account["automountServiceAccountToken"], false, "{}", name(workload));
    }
}

/// The cluster's patience is longer than ours.
fn stops_in_time(manifests: &Manifests) {
    for ours in OURS {
        let pod = pod(manifests.workload(ours));
        for container in list(&pod["containers"]) {
            let sleep = container["lifecycle"]["preStop"]["sleep"]["seconds"]
                .as_u64()
                .unwrap_or(0);
            let patience = pod["terminationGracePeriodSeconds"].as_u64().expect("a number");
            assert!(
                patience > sleep + GRACE_PERIOD,
                "{ours}: {patience} s for a sleep of {sleep} s and {GRACE_PERIOD} s"
            );
        }
    }
}

fn backends_exist(manifests: &Manifests) {
    let backends = manifests.of(&["IngressRoute", "HTTPRoute"]).flat_map(|route| {
        let rules = ["routes", "rules"]
            .into_iter()
            .flat_map(|rules| list(&route["spec"][rules]));
        rules.flat_map(|rule| {
            ["services", "backendRefs"]
                .into_iter()
                .flat_map(|backends| list(&rule[backends]))
        })
    });
    for backend in backends {
        let ports = &manifests.get("Service", text(&backend["name"]))["spec"]["ports"];
        let known = |port: &Value| port["name"] == backend["port"] || port["port"] == backend["port"];
        assert!(list(ports).iter().any(known), "{backend}");
    }
}
