//! The scan of a text: the same for any cut, its finds within the text, its links in canonical form.
#![no_main]

use attachment_seal::mime::scan::{MAX_LINKS, Scanned, TextScan, canonical_link, holds_file};
use libfuzzer_sys::fuzz_target;

const CHARSETS: [Option<&str>; 8] = [
    None,
    Some("utf-8"),
    Some("iso-8859-1"),
    Some("utf-16"),
    Some("shift_jis"),
    Some("iso-2022-jp"),
    Some("gb18030"),
    Some("utf-7"),
];

fn scan<'a>(media_type: &str, charset: Option<&str>, pieces: impl Iterator<Item = &'a [u8]>) -> Scanned {
    let mut scan = TextScan::new(media_type, charset);
    pieces.for_each(|piece| scan.update(piece));
    scan.finish()
}

fuzz_target!(|input: (u8, u8, &[u8])| {
    let (which, cut, text) = input;
    let media_type = if which & 1 == 0 { "text/plain" } else { "text/html" };
    let charset = CHARSETS[usize::from(which >> 1) % CHARSETS.len()];
    let whole = scan(media_type, charset, [text].into_iter());
    let cut = scan(media_type, charset, text.chunks(usize::from(cut).max(1)));
    assert_eq!(
        (&whole.first, &whole.last, whole.hides_text, &whole.links),
        (&cut.first, &cut.last, cut.hides_text, &cut.links)
    );
    assert_eq!(whole.first.is_some(), whole.last.is_some());
    for found in [whole.first, whole.last].into_iter().flatten() {
        assert!(found.range.start < found.range.end && found.range.end <= text.len() as u64);
    }
    assert!(whole.links.targets.len() <= MAX_LINKS);
    for target in &whole.links.targets {
        assert_eq!(canonical_link(target).as_ref(), Some(target));
    }
    _ = holds_file(text);
});
