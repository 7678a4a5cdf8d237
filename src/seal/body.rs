//! The body hash `bh` (SEAL.md §4): BLAKE3 over the body canonicalised as RFC 6376 §3.4.3 (simple).

use std::borrow::Cow;

/// The body with its trailing empty lines reduced to one CR LF, which an empty body has too.
pub fn canonical(body: &[u8]) -> Cow<'_, [u8]> {
    let end = content_end(body);
    match body.get(end..end + 2) {
        Some(_) => Cow::Borrowed(&body[..end + 2]),
        None => Cow::Owned([&body[..end], b"\r\n"].concat()),
    }
}

/// The body hash of a whole body.
pub fn hash(body: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(&body[..content_end(body)]).update(b"\r\n").finalize()
}

/// Where the body ends without its final line end and trailing empty lines.
fn content_end(body: &[u8]) -> usize {
    let mut end = body.len();
    while body[..end].ends_with(b"\r\n") {
        end -= 2;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reduces_trailing_empty_lines_to_one() {
        for (body, form) in [
            ("", "\r\n"),
            ("\r\n\r\n", "\r\n"),
            ("a", "a\r\n"),
            ("a\r\n", "a\r\n"),
            ("a\r\n\r\n", "a\r\n"),
            ("\r\na \r\n", "\r\na \r\n"),
        ] {
            assert_eq!(canonical(body.as_bytes()), form.as_bytes(), "{body:?}");
            assert_eq!(hash(body.as_bytes()), blake3::hash(form.as_bytes()), "{body:?}");
        }
    }
}
