# Sums up what `cargo test` and `tests/reference/run` have printed about each test program, in one line for all of them.
#
# Rust's test harness has no word for a test that finds out while it runs that it must be skipped. Such a test prints
# `SKIPPED: TEST: REASON`, and passes. Here it is counted as skipped, once, however often it prints that.

/^ +(Running|Doc-tests) / {
    end_program()
    program = $0
    sub(/^ +/, "", program)
}

/SKIPPED: / {
    skip = substr($0, index($0, "SKIPPED: "))
    split(skip, words, ": ")
    if (!(words[2] in known)) {
        known[words[2]] = 1
        skips[++count] = skip
        pending++
    }
}

/^test result:/ {
    passed += $4 - pending
    failed += $6
    skipped += $8 + pending
    pending = 0
    program = ""
}

# tests/reference/run is no program of cargo's.
/^[0-9]+ passed, [0-9]+ failed$/ {
    passed += $1 - pending
    failed += $3
    skipped += pending
    pending = 0
    program = ""
}

END {
    end_program()
    for (i = 1; i <= count; i++) print skips[i]
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
}

# A program that was killed has printed no result.
function end_program() {
    if (program == "") return
    print "ENDED EARLY: " program
    failed++
    skipped += pending
    pending = 0
    program = ""
}
