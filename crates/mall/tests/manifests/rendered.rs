//! What kustomize makes of a directory, and the words to ask about it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize as _;
use serde_json::Value;

pub(crate) const OURS: [&str; 4] = ["gateway", "order", "repository", "statistics"];
pub(crate) const SPEAK_KAFKA: [&str; 3] = ["order", "repository", "statistics"];

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .expect("the repository")
}

pub(crate) fn parse(yaml: &str) -> Vec<Value> {
    let parse = |document| {
        let mut value = serde_yaml_ng::Value::deserialize(document).expect("YAML");
        value.apply_merge().expect("merge keys");
        serde_json::to_value(value).expect("JSON")
    };
    serde_yaml_ng::Deserializer::from_str(yaml).map(parse).collect()
}

/// The objects that a kustomization stands for.
#[derive(Debug)]
pub(crate) struct Manifests(pub(crate) Vec<Value>);

pub(crate) fn render(directory: &Path) -> Manifests {
    let output = Command::new("kubectl")
        .arg("kustomize")
        .arg(directory)
        .output()
        .expect("kubectl");
    assert!(
        output.status.success(),
        "{}: {}",
        directory.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    Manifests(parse(&String::from_utf8(output.stdout).expect("UTF-8")))
}

pub(crate) fn overlay(name: &str) -> Manifests {
    render(&repository().join(name))
}

/// An overlay with further components, as a user would add them.
pub(crate) fn with_components(overlay: &str, components: &[&str]) -> Manifests {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(overlay.replace('/', "-"))
        .join(components.join("-"));
    fs::create_dir_all(&directory).expect("a directory");
    // Kustomize takes relative paths only: up to the root, and down again.
    let directory = directory.canonicalize().expect("a directory");
    let up = "../".repeat(directory.components().count() - 1);
    let k8s = format!("{up}{}", repository().join("k8s").display()).replace("//", "/");
    let overlay = overlay.trim_start_matches("k8s");
    let components: Vec<_> = components
        .iter()
        .map(|component| format!("{k8s}/components/{component}"))
        .collect();
    let components = components.join(", ");
    let kustomization = format!("namespace: kafka-demo\nresources: [{k8s}{overlay}]\ncomponents: [{components}]\n");
    fs::write(directory.join("kustomization.yaml"), kustomization).expect("a file");
    render(&directory)
}

/// The name of the namespace, which is a kustomization of its own.
pub(crate) fn namespace() -> String {
    name(overlay("k8s/namespace").get("Namespace", "kafka-demo")).to_owned()
}

impl Manifests {
    pub(crate) fn of<'a>(&'a self, kinds: &'a [&str]) -> impl Iterator<Item = &'a Value> {
        self.0.iter().filter(|object| kinds.contains(&text(&object["kind"])))
    }

    pub(crate) fn get(&self, kind: &str, name: &str) -> &Value {
        let mut objects = self.0.iter();
        let found = objects.find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
        found.unwrap_or_else(|| panic!("no {kind} {name}"))
    }

    pub(crate) fn workloads(&self) -> impl Iterator<Item = &Value> {
        self.of(&["Deployment", "StatefulSet"])
    }

    pub(crate) fn workload(&self, name: &str) -> &Value {
        self.workloads()
            .find(|object| object["metadata"]["name"] == name)
            .unwrap_or_else(|| panic!("no workload {name}"))
    }

    /// A ConfigMap by the name that the manifests give it, without the hash that kustomize adds.
    pub(crate) fn settings(&self, name: &str) -> BTreeMap<String, String> {
        let config = self
            .of(&["ConfigMap"])
            .find(|object| {
                text(&object["metadata"]["name"])
                    .rsplit_once('-')
                    .is_some_and(|(stem, _)| stem == name)
            })
            .unwrap_or_else(|| panic!("no ConfigMap {name}"));
        config["data"]
            .as_object()
            .expect("data")
            .iter()
            .map(|(key, value)| (key.clone(), plain(value)))
            .collect()
    }

    /// The environment of a container, with what it takes from ConfigMaps; of other sources, where from.
    pub(crate) fn environment(&self, container: &Value) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        for source in list(&container["envFrom"]) {
            let name = text(&source["configMapRef"]["name"]);
            let data = self.get("ConfigMap", name)["data"].as_object().expect("data");
            environment.extend(data.iter().map(|(key, value)| (key.clone(), plain(value))));
        }
        for variable in list(&container["env"]) {
            let from = &variable["valueFrom"];
            let value = if let Some(reference) = from.get("configMapKeyRef") {
                let data = &self.get("ConfigMap", text(&reference["name"]))["data"];
                plain(&data[text(&reference["key"])])
            } else if from.is_object() {
                from.to_string()
            } else {
                plain(&variable["value"])
            };
            environment.insert(text(&variable["name"]).to_owned(), value);
        }
        environment
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a text: {value}"))
}

/// A scalar as one writes it.
pub(crate) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

pub(crate) fn pod(workload: &Value) -> &Value {
    &workload["spec"]["template"]["spec"]
}

pub(crate) fn labels(workload: &Value) -> &Value {
    &workload["spec"]["template"]["metadata"]["labels"]
}

pub(crate) fn name(object: &Value) -> &str {
    text(&object["metadata"]["name"])
}

pub(crate) fn containers(workload: &Value) -> impl Iterator<Item = &Value> {
    list(&pod(workload)["initContainers"])
        .iter()
        .chain(list(&pod(workload)["containers"]))
}

/// Whether a label selector selects what has these labels.
pub(crate) fn selects(selector: &Value, labels: &Value) -> bool {
    let equal = |(key, value): (&String, &Value)| labels.get(key) == Some(value);
    let expression = |expression: &Value| {
        assert_eq!(expression["operator"], "In", "an operator that this test does not know");
        list(&expression["values"]).contains(&labels[text(&expression["key"])])
    };
    selector["matchLabels"]
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(equal))
        && list(&selector["matchExpressions"]).iter().all(expression)
}
