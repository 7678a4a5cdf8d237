//! A command line: what the next hop gets of it means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::smtp::protocol::command;

fuzz_target!(|line: &[u8]| {
    if let Ok(command) = command::parse(line) {
        let passed_on = command::for_next_hop(&command, line);
        assert_eq!(command::parse(&passed_on), Ok(command));
    }
});
