//! The console's pages: from plain data ([`view`]) to HTML. No input, no output, no state, and no script.

pub mod view;
