//! The console: pages for people, by which they find a message, see why it was held, and decide what becomes of it.
//! docs/CONSOLE.md is its other half.

pub mod pages;
