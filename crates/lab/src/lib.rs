//! The tools that prove the mall, on a laptop, in CI and in a cluster.
//!
//! * [`load`]: orders at a steady rate, and a [`ledger`] of each attempt and what was answered.
//! * [`drill`]: faults under load, and whether the mall recovers from them.
//! * [`audit`]: whether the topics and statistics are what they must be, and what clients were promised.
//!
//! Knows the topics and the HTTP interface, and none of the services.

pub mod audit;
mod client;
pub mod drill;
mod figures;
pub mod ledger;
pub mod load;
mod order_id;
mod service_url;
mod settings;
mod terminal;

pub use order_id::OrderId;
pub use service_url::ServiceUrl;
pub use settings::Settings;
