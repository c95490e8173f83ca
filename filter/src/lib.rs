//! The Falco condition language: text → syntax tree → compiled filter. To be written.
pub mod catalog;
pub use catalog::*;
