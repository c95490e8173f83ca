//! What tests and measurements share: local stand-ins for the services that Tercel delivers to.

pub mod receivers;
