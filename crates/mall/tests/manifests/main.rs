//! Holds `k8s` to itself and to `compose.yaml`: what `kubectl kustomize` renders, parsed.
//!
//! Needs kubectl, and nothing of a cluster: `cargo test -p mall --test manifests -- --include-ignored`.

mod arrows;
mod compose;
mod labels;
mod production;
mod rendered;
mod sound;
