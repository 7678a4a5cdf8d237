//! waxseal: an inline mail gateway that seals attachments where mail is sent and checks them where it is received.
//!
//! The pure core is the crate [`attachment_seal`]; here are the edges, each of which speaks one outside language, and the
//! centre, where core and edges meet. Imports go one way: `main → commands → service → gateway → edges → core`.
//!
//! | part | modules | rule |
//! |---|---|---|
//! | rules | [`envelope`], [`limits`], [`policy`] | pure, as the core is |
//! | edges | [`smtp`], [`config`], [`dns`], [`keyfile`], [`lookup`], [`store`], [`notify`], [`http`], [`systemd`], [`open_files`] | edges don't import each other, but for the contract in `lookup`, the threads of [`blocking`], the [`clock`] and the folders of `beneath` |
//! | centre | [`setup`], [`standing`], [`gateway`], [`release`], [`expiry`], [`keyring`], [`monitoring`], [`service`], [`log`], [`demo`], [`doctor`], [`commands`] | decides, and asks the edges |
//! | counts | [`metrics`] | as the log: written by edges and centre, read by `monitoring` alone; decides nothing |

mod beneath;
pub mod blocking;
pub mod clock;
pub mod commands;
pub mod config;
pub mod demo;
pub mod dns;
pub mod doctor;
pub mod envelope;
pub mod expiry;
pub mod gateway;
pub mod http;
pub mod keyfile;
pub mod keyring;
pub mod limits;
pub mod log;
pub mod lookup;
pub mod metrics;
pub mod monitoring;
pub mod notify;
pub mod open_files;
pub mod policy;
pub mod release;
pub mod service;
pub mod setup;
pub mod smtp;
pub mod standing;
pub mod store;
pub mod systemd;
