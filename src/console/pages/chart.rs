//! Verdicts by day: an SVG chart in two panels with scales of their own, so that ten bad messages are seen beside ten thousand good
//! ones, and the same as a table. Kinds differ by brightness and by pattern, not by colour alone.

use maud::{Markup, html};

use super::view::Day;
use super::words::Page;

/// The kinds of messages that are drawn, each with the verdicts that count for it. The first two are as they should be.
const KINDS: [(&str, &[&str]); 6] = [
    ("pass", &["pass"]),
    ("none", &["none"]),
    ("missing", &["missing"]),
    ("ambiguous", &["ambiguous"]),
    ("fail", &["fail", "key-changed"]),
    ("other", &[]),
];
/// How many of them are in the upper panel.
const GOOD: usize = 2;

/// The counts of a day, by kind.
fn counts(day: &Day) -> [u64; KINDS.len()] {
    let mut counts = [0; KINDS.len()];
    for (verdict, count) in &day.verdicts {
        let at = KINDS.iter().position(|(_, verdicts)| verdicts.contains(&verdict.as_str()));
        counts[at.unwrap_or(KINDS.len() - 1)] += count;
    }
    counts
}

/// The chart, and the table.
pub(super) fn chart(page: &Page<'_>, days: &[Day]) -> Markup {
    let counted: Vec<[u64; KINDS.len()]> = days.iter().map(counts).collect();
    let total: u64 = counted.iter().flatten().sum();
    let odd: u64 = counted.iter().flat_map(|counts| &counts[GOOD..]).sum();
    if total == 0 {
        return html! { div.empty { p { (page.text("days-none")) } } };
    }
    let facts =
        [("total", page.number(total)), ("days", page.number(days.len() as u64)), ("odd", page.number(odd))];
    let summary = page.filled("days-summary", &facts.each_ref().map(|(name, text)| (*name, text.as_str())));
    html! {
        figure.chart {
            figcaption { (summary) }
            (legend(page, &counted))
            // Text in a drawing shrinks with it, so a narrow screen has a drawing of its own, of the last days.
            div.wide { (drawing(page, days, &counted, "w", 720)) }
            div.slim {
                @let from = days.len().saturating_sub(14);
                (drawing(page, &days[from..], &counted[from..], "s", 330))
            }
        }
        details { summary { (page.text("days-table")) } (table(page, days, &counted)) }
    }
}

fn name(page: &Page<'_>, kind: usize) -> String {
    match KINDS[kind].0 {
        "other" => page.text("others"),
        word => page.text(&format!("verdict-{word}")),
    }
}

/// Which kinds there are.
fn present(counted: &[[u64; KINDS.len()]]) -> impl Iterator<Item = usize> {
    (0..KINDS.len()).filter(move |&kind| counted.iter().any(|counts| counts[kind] > 0))
}

fn legend(page: &Page<'_>, counted: &[[u64; KINDS.len()]]) -> Markup {
    html! {
        ul.legend {
            @for kind in present(counted) {
                li {
                    svg.swatch width="14" height="14" aria-hidden="true" focusable="false" {
                        (patterns(&format!("l{kind}")))
                        (block(&format!("l{kind}"), kind, (0.0, 0.0), (14.0, 14.0)))
                    }
                    " " (name(page, kind))
                }
            }
        }
    }
}

/// The patterns that lie over the colours, under names of their own for each drawing.
fn patterns(prefix: &str) -> Markup {
    html! {
        defs {
            pattern id={ (prefix) "-missing" } width="6" height="6" patternUnits="userSpaceOnUse" { circle.ink cx="3" cy="3" r="1.4" {} }
            pattern id={ (prefix) "-ambiguous" } width="6" height="6" patternUnits="userSpaceOnUse" { path.line d="M0 3h6" {} }
            pattern id={ (prefix) "-fail" } width="6" height="6" patternUnits="userSpaceOnUse" { path.line d="M-1 5l6-6M1 7l6-6" {} }
        }
    }
}

/// One bar's piece: its colour, and the pattern over it.
fn block(prefix: &str, kind: usize, at: (f64, f64), size: (f64, f64)) -> Markup {
    let word = KINDS[kind].0;
    let [x, y, width, height] = [at.0, at.1, size.0, size.1].map(|number| format!("{number:.1}"));
    html! {
        rect class={ "k-" (word) } x=(x) y=(y) width=(width) height=(height) {}
        @if matches!(word, "missing" | "ambiguous" | "fail") {
            rect x=(x) y=(y) width=(width) height=(height) fill={ "url(#" (prefix) "-" (word) ")" } {}
        }
    }
}

/// Where a panel is.
struct Panel {
    top: f64,
    height: f64,
    kinds: std::ops::Range<usize>,
    max: u64,
}

fn drawing(
    page: &Page<'_>,
    days: &[Day],
    counted: &[[u64; KINDS.len()]],
    prefix: &str,
    width: u32,
) -> Markup {
    let max = |kinds: std::ops::Range<usize>| {
        let sums = counted.iter().map(|counts| counts[kinds.clone()].iter().sum::<u64>());
        rounded(sums.max().unwrap_or_default())
    };
    let good = Panel { top: 24.0, height: 90.0, kinds: 0..GOOD, max: max(0..GOOD) };
    let odd = Panel { top: 152.0, height: 70.0, kinds: GOOD..KINDS.len(), max: max(GOOD..KINDS.len()) };
    let step = f64::from(width - 4) / days.len().max(1) as f64;
    let every = (64.0 / step).ceil().max(1.0) as usize;
    html! {
        svg class="days" viewBox={ "0 0 " (width) " 246" } role="img" aria-labelledby={ (prefix) "-title" } {
            title id={ (prefix) "-title" } { (page.text("days-caption")) }
            (patterns(prefix))
            @for (panel, label) in [(&good, "days-good"), (&odd, "days-odd")] {
                text.panel x="2" y=(panel.top - 9.0) { (page.text(label)) }
                text.scale x=(width - 2) y=(panel.top - 9.0) text-anchor="end" { (page.number(panel.max)) }
                line.grid x1="2" x2=(width - 2) y1=(panel.top) y2=(panel.top) {}
                line.axis x1="2" x2=(width - 2) y1=(panel.top + panel.height) y2=(panel.top + panel.height) {}
                @for (at, counts) in counted.iter().enumerate() {
                    (bar(page, panel, prefix, (2.0 + step * at as f64, step), counts, &days[at]))
                }
            }
            @for (at, day) in days.iter().enumerate().filter(|(at, _)| (days.len() - 1 - at).is_multiple_of(every)) {
                @let middle = 2.0 + step * (at as f64 + 0.5);
                @let (x, anchor) = if at + 1 == days.len() && step < 40.0 { (f64::from(width) - 2.0, "end") } else { (middle, "middle") };
                text.scale x=(format!("{x:.1}")) y="240" text-anchor=(anchor) { (page.short_date(day.day)) }
            }
        }
    }
}

/// One day's bar in a panel, from the axis up.
fn bar(page: &Page<'_>, panel: &Panel, prefix: &str, place: (f64, f64), counts: &[u64], day: &Day) -> Markup {
    let (left, step) = place;
    let gap = (step * 0.16).clamp(1.0, 5.0);
    let mut bottom = panel.top + panel.height;
    let mut pieces = Vec::new();
    let mut told = vec![page.date(day.day)];
    for kind in panel.kinds.clone().filter(|&kind| counts[kind] > 0) {
        // One message in ten thousand is still to be seen.
        let height = (panel.height * counts[kind] as f64 / panel.max.max(1) as f64).max(2.0);
        bottom -= height;
        pieces.push(block(prefix, kind, (left + gap, bottom), (step - 2.0 * gap, height)));
        told.push(format!("{}: {}", name(page, kind), page.number(counts[kind])));
    }
    html! { @if !pieces.is_empty() { g { title { (told.join(", ")) } @for piece in pieces { (piece) } } } }
}

/// The next of 1, 2, 5, 10, 20, 50 …: where a scale ends.
fn rounded(max: u64) -> u64 {
    let mut power = 1_u64;
    loop {
        for end in [1, 2, 5].map(|digit| power.saturating_mul(digit)) {
            if end >= max {
                return end;
            }
        }
        power = power.saturating_mul(10);
    }
}

fn table(page: &Page<'_>, days: &[Day], counted: &[[u64; KINDS.len()]]) -> Markup {
    let kinds: Vec<usize> = present(counted).collect();
    html! {
        table.numbers {
            caption.aside { (page.text("days-caption")) }
            thead {
                tr {
                    th scope="col" { (page.text("day")) }
                    @for &kind in &kinds { th scope="col" { (name(page, kind)) } }
                    th scope="col" { (page.text("total")) }
                }
            }
            tbody {
                @for (day, counts) in days.iter().zip(counted).rev() {
                    tr {
                        th scope="row" { (page.date(day.day)) }
                        @for &kind in &kinds { td { (page.number(counts[kind])) } }
                        td { (page.number(counts.iter().sum())) }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number() {
        for (max, end) in [(0, 1), (1, 1), (3, 5), (7, 10), (11, 20), (5_000, 5_000), (5_001, 10_000)] {
            assert_eq!(rounded(max), end);
        }
        assert_eq!(rounded(u64::MAX), u64::MAX);
    }

    #[test]
    fn every_message_counts_once() {
        let verdicts = [("pass", 5), ("fail", 1), ("key-changed", 2), ("expired", 3), ("a-later-word", 4)];
        let verdicts = verdicts.map(|(word, count)| (word.to_owned(), count)).to_vec();
        let day = Day { day: jiff::civil::date(2026, 11, 23), verdicts };
        assert_eq!(counts(&day), [5, 0, 0, 0, 3, 7]);
    }
}
