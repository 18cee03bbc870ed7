//! Holds `k8s` to itself and to `compose.yaml`: what `kubectl kustomize` renders, parsed.
//!
//! Needs kubectl, and nothing of a cluster; without kubectl it says so and passes, unless `CI` is set.

mod arrows;
mod compose;
mod rendered;
mod sound;
