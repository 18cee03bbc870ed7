//! Holds `k8s` to itself and to `compose.yaml`: what `kubectl kustomize` renders, parsed.
//!
//! Most of it needs kubectl, and nothing of a cluster: `cargo test -p mall --test manifests -- --include-ignored`.

mod alerts;
mod arrows;
mod compose;
mod labels;
mod production;
mod rendered;
mod sound;
