//! What proves the mall, on a laptop, in CI and in a cluster.
//!
//! * [`ledger`]: what was asked of the mall, and what it answered.
//!
//! Knows the topics and the HTTP interface, and none of the services.

pub mod ledger;
mod service_url;
mod terminal;

pub use service_url::ServiceUrl;
