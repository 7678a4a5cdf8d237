# The recipes are conveniences; .ci/run and tests/run work without just.

# What is there
_default:
    @just --list

# All that CI checks
check:
    .ci/run

# Every test; as root also those that send mail through Postfix
test *arguments:
    tests/run {{arguments}}

# The whole story on loopback
demo:
    cargo run --quiet -- demo

# The gateway under load, beside other relays
load *arguments:
    benches/relay/run {{arguments}}

# Formatting, as CI wants it
format:
    cargo fmt --all
