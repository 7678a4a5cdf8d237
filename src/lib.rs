//! waxseal: an inline mail gateway that seals attachments where mail is sent and checks them where it is received.
//!
//! Imports go one way: `main → commands → gateway → edges → core`.
//!
//! | part | modules | rule |
//! |---|---|---|
//! | core | [`author`], [`authres`], [`domain`], [`doubt`], [`edits`], [`envelope`], [`header`], [`limits`], [`manifest`], [`mime`], [`policy`], [`report`], [`seal`], [`stored`], [`verdict`] | no tokio, sockets, files, environment or clock |
//! | edges | [`smtp`], [`config`], [`dns`], [`keyfile`], [`lookup`], [`store`], [`notify`], [`http`], [`systemd`], [`open_files`] | each speaks one outside language; edges don't import each other, but for the contract in `lookup`, the threads of [`blocking`] and the [`clock`] |
//! | centre | [`setup`], [`standing`], [`gateway`], [`release`], [`expiry`], [`rotation`], [`announcer`], [`monitoring`], [`service`], [`log`], [`demo`], [`doctor`], [`commands`] | where core and edges meet |
//! | counts | [`metrics`] | as the log: written by edges and centre, read by `monitoring` alone; decides nothing |

pub mod announcer;
pub mod author;
pub mod authres;
pub mod blocking;
pub mod clock;
pub mod commands;
pub mod config;
pub mod demo;
pub mod dns;
pub mod doctor;
pub mod domain;
pub mod doubt;
pub mod edits;
pub mod envelope;
pub mod expiry;
pub mod gateway;
pub mod header;
pub mod http;
pub mod keyfile;
pub mod limits;
pub mod log;
pub mod lookup;
pub mod manifest;
pub mod metrics;
pub mod mime;
pub mod monitoring;
pub mod notify;
pub mod open_files;
pub mod policy;
pub mod release;
pub mod report;
pub mod rotation;
pub mod seal;
pub mod service;
pub mod setup;
pub mod smtp;
pub mod standing;
pub mod store;
pub mod stored;
pub mod systemd;
pub mod verdict;
