//! The gateway against order services that do as they are told: how each of their failures is told to a client.

mod answers;
mod batches;
mod keys;
mod support;
