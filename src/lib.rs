//! waxseal: an inline mail gateway that seals attachments where mail is sent and checks them where it is received.
//!
//! The pure core is the crate [`attachment_seal`]. Imports go one way: each room imports rooms of the rows below its own.
//!
//! | row | rooms | what they have in common |
//! |---|---|---|
//! | commands | [`commands`] | one file for each subcommand; they decide nothing |
//! | program | [`log`], [`monitoring`], [`doctor`], `console`, [`service`], [`scan`], [`demo`], [`setup`] | what runs, and what looks at it from outside |
//! | gateway | [`gateway`] | one message, from its final dot to the reply: where the core and the edges meet |
//! | configuration | [`config`] | the administrator's words, in the edges' own types |
//! | edges | [`smtp`], [`dns`], [`keys`], [`store`], [`notify`], [`web`] | each has one outside language, and imports no other edge |
//! | base | [`policy`], [`metrics`], [`disk`], [`blocking`], [`clock`], [`phrase`], [`advice`] | small, without an outside language of their own |

pub mod advice;
pub mod blocking;
pub mod clock;
pub mod commands;
pub mod config;
#[cfg(feature = "console")]
pub mod console;
pub mod demo;
pub mod disk;
pub mod dns;
pub mod doctor;
pub mod gateway;
pub mod keys;
pub mod log;
pub mod metrics;
pub mod monitoring;
pub mod notify;
pub mod phrase;
pub mod policy;
pub mod scan;
pub mod service;
pub mod setup;
pub mod smtp;
pub mod store;
pub mod web;
