//! A message as octets: its header section and author, its body hash, what is cut from and put into it, and how it lies in
//! files.

pub mod author;
pub mod body;
pub mod edits;
pub mod header;
mod identity;
pub(crate) mod line_ends;
mod readers;
pub mod stored;
pub(crate) mod words;
