//! A command line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::smtp::command;

fuzz_target!(|line: &[u8]| {
    _ = command::parse(line);
});
