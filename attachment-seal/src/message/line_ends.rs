//! Runs of CR LF, many looked at together: a message may be millions of empty lines.

/// As many line ends as are compared at once.
const SOME: [[u8; 2]; 128] = [*b"\r\n"; 128];

/// Octets of the CR LFs that `text` begins with.
pub(crate) fn leading(text: &[u8]) -> usize {
    let mut rest = text;
    for some in [SOME.as_flattened(), b"\r\n"] {
        while let Some(behind) = rest.strip_prefix(some) {
            rest = behind;
        }
    }
    text.len() - rest.len()
}

/// Octets of the CR LFs that `text` ends with.
pub(crate) fn trailing(text: &[u8]) -> usize {
    let mut rest = text;
    for some in [SOME.as_flattened(), b"\r\n"] {
        while let Some(before) = rest.strip_suffix(some) {
            rest = before;
        }
    }
    text.len() - rest.len()
}

/// Gives out so many CR LFs.
pub(crate) fn repeat(mut number: usize, mut out: impl FnMut(&[u8])) {
    while number > 0 {
        let some = number.min(SOME.len());
        out(SOME[..some].as_flattened());
        number -= some;
    }
}

/// `text` without the CRs and LFs, in any order, that it begins with.
pub(crate) fn trim_start(text: &[u8]) -> &[u8] {
    let rest = &text[leading(text)..];
    &rest[rest.iter().take_while(|octet| matches!(octet, b'\r' | b'\n')).count()..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_line_ends_at_both_ends() {
        for lines in [0, 1, 2, 127, 128, 129, 300] {
            let empty = "\r\n".repeat(lines);
            for (before, behind) in [("", ""), ("a", ""), ("", "a"), ("a", "b"), ("\n", ""), ("", "\r")] {
                let text = format!("{before}{empty}{behind}");
                let (start, end) = (
                    if before.is_empty() { 2 * lines } else { 0 },
                    if behind.is_empty() { 2 * lines } else { 0 },
                );
                assert_eq!((leading(text.as_bytes()), trailing(text.as_bytes())), (start, end), "{text:?}");
                let trimmed = text.trim_start_matches(['\r', '\n']);
                assert_eq!(trim_start(text.as_bytes()), trimmed.as_bytes(), "{text:?}");
            }
            let mut repeated = Vec::new();
            repeat(lines, |some| repeated.extend_from_slice(some));
            assert_eq!(repeated, empty.as_bytes());
        }
    }
}
