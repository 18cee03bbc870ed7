//! The mall from outside: over HTTP, through the log, with signals.
//!
//! `flow`, `restart` and `poison` run on librdkafka's mock broker, and on a real one when `MALL_TEST_KAFKA=host:port`
//! names it. `exactly_once`, `fencing` and `topics` need the real one and say so when it is missing.

mod exactly_once;
mod fencing;
mod flow;
mod gateway;
mod outage;
mod poison;
mod process;
mod restart;
mod secured;
mod status;
mod support;
mod topics;
