//! A search for a few octets in a row. In text made to hold one of them everywhere, a search for that one costs the most of
//! all, so the octets are looked at together.

/// The places in `text` where the next `N` octets are what `is` says. Where `is` does not branch, the compiler makes vector
/// code of the search.
pub(crate) fn find<'t, const N: usize>(
    text: &'t [u8],
    is: impl Fn([u8; N]) -> bool + Copy + 't,
) -> impl Iterator<Item = usize> + 't {
    const BLOCK: usize = 64;
    let places = (text.len() + 1).saturating_sub(N);
    (0..places).step_by(BLOCK).flat_map(move |start| {
        let length = BLOCK.min(places - start);
        let shifted: [&[u8]; N] = std::array::from_fn(|by| &text[start + by..start + by + length]);
        let is_here = move |at: usize| is(std::array::from_fn(|by| shifted[by][at]));
        let any = (0..length).fold(false, |any, at| any | is_here(at));
        (0..if any { length } else { 0 }).filter(move |&at| is_here(at)).map(move |at| start + at)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn finds_all_places(text in "(-{1,70}|\r|b){0,60}") {
            let text = text.as_bytes();
            let pairs: Vec<usize> = (1..text.len()).filter(|&at| text[at - 1..].starts_with(b"--")).map(|at| at - 1).collect();
            prop_assert_eq!(find(text, |[one, other]| (one == b'-') & (other == b'-')).collect::<Vec<_>>(), pairs);
            let ends: Vec<usize> = (0..text.len()).filter(|&at| text[at..].starts_with(b"-\rb")).collect();
            let is_end = |[one, two, three]: [u8; 3]| (one == b'-') & (two == b'\r') & (three == b'b');
            prop_assert_eq!(find(text, is_end).collect::<Vec<_>>(), ends);
        }
    }
}
