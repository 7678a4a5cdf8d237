//! Two texts line by line, in the form of `diff -u`.

/// Lines around a change that are shown.
const CONTEXT: usize = 3;

/// A line of either text, or of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line<'a> {
    Both(&'a str),
    Old(&'a str),
    New(&'a str),
}

/// The changes from one text to another; empty where there are none.
pub(super) fn unified(old_name: &str, new_name: &str, old: &[u8], new: &[u8]) -> String {
    let (old, new) = (String::from_utf8_lossy(old), String::from_utf8_lossy(new));
    let lines = compare(&old.lines().collect::<Vec<_>>(), &new.lines().collect::<Vec<_>>());
    let is_near = |at: usize| {
        let around = at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(lines.len());
        lines[around].iter().any(|line| !matches!(line, Line::Both(_)))
    };
    let mut text = String::new();
    let (mut in_old, mut in_new) = (0, 0);
    let mut at = 0;
    while at < lines.len() {
        let end = (at..lines.len()).find(|at| !is_near(*at)).unwrap_or(lines.len());
        let hunk = &lines[at..end];
        let count = |is: fn(&Line<'_>) -> bool| hunk.iter().filter(|line| is(line)).count();
        let olds = count(|line| !matches!(line, Line::New(_)));
        let news = count(|line| !matches!(line, Line::Old(_)));
        if !hunk.is_empty() {
            // A side without lines begins before its first.
            let start = |before: usize, count: usize| if count == 0 { before } else { before + 1 };
            text += &format!("@@ -{},{olds} +{},{news} @@\n", start(in_old, olds), start(in_new, news));
        }
        for line in hunk {
            let (mark, line) = match line {
                Line::Both(line) => (' ', line),
                Line::Old(line) => ('-', line),
                Line::New(line) => ('+', line),
            };
            text += &format!("{mark}{line}\n");
        }
        (in_old, in_new) = (in_old + olds, in_new + news);
        at = end;
        while at < lines.len() && !is_near(at) {
            (in_old, in_new, at) = (in_old + 1, in_new + 1, at + 1);
        }
    }
    if text.is_empty() { text } else { format!("--- {old_name}\n+++ {new_name}\n{text}") }
}

/// The fewest changes, by the longest common subsequence.
fn compare<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Line<'a>> {
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for a in (0..old.len()).rev() {
        for b in (0..new.len()).rev() {
            common[a][b] = if old[a] == new[b] {
                common[a + 1][b + 1] + 1
            } else {
                common[a + 1][b].max(common[a][b + 1])
            };
        }
    }
    let (mut a, mut b, mut lines) = (0, 0, Vec::new());
    while a < old.len() || b < new.len() {
        if a < old.len() && b < new.len() && old[a] == new[b] {
            lines.push(Line::Both(old[a]));
            (a, b) = (a + 1, b + 1);
        } else if b == new.len() || (a < old.len() && common[a + 1][b] >= common[a][b + 1]) {
            lines.push(Line::Old(old[a]));
            a += 1;
        } else {
            lines.push(Line::New(new[b]));
            b += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_changes_with_what_is_around_them() {
        let old: String = (1..=20).map(|n| format!("{n}\n")).collect();
        let new = old.replace("\n5\n", "\n5\nfive and a half\n").replace("19\n", "");
        assert_eq!(
            unified("a", "b", old.as_bytes(), new.as_bytes()),
            "--- a\n+++ b\n@@ -3,6 +3,7 @@\n 3\n 4\n 5\n+five and a half\n 6\n 7\n 8\n@@ -16,5 +17,4 @@\n 16\n 17\n 18\n-19\n 20\n"
        );
        assert_eq!(unified("a", "b", b"x\n", b"x\n"), "");
        assert_eq!(unified("/dev/null", "b", b"", b"x\n"), "--- /dev/null\n+++ b\n@@ -0,0 +1,1 @@\n+x\n");
    }
}
