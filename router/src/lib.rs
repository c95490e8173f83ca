//! To be written.

pub mod destination;
pub mod render;
pub mod secret;
