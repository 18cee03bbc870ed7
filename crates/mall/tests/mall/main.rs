//! The mall from outside: over HTTP, through the log, with signals.
//!
//! What needs nothing runs on librdkafka's mock broker. A test that needs a real broker, or more, is ignored and says
//! what it needs; when it is run all the same and that is missing, it fails.

mod audit;
mod broker_errors;
mod exactly_once;
mod fencing;
mod find_command;
mod flow;
mod gateway;
mod hostile;
mod keys;
mod killed_broker;
mod load;
mod metrics;
mod outage;
mod poison;
mod position;
mod process;
mod regions;
mod restart;
mod retention;
mod secured;
mod snapshots;
mod statistics;
mod status;
mod stdout;
mod support;
mod topics;
mod tracking;
mod transactions;
