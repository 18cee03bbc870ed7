//! All services in one process.
//!
//! Each is the same `run` as in a process of its own, with a context of its own; nothing is shared but the process and
//! its log. Which broker they talk to is a matter of configuration: [`Cluster`] is one that lives in this process.

mod cluster;
mod mall;

pub use cluster::Cluster;
pub use mall::{Config, Instance, Mall};
