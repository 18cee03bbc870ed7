//! The services of the mall, each in a process of its own or all in one.

pub mod embedded;
mod services;

pub use services::{Instance, Services};
