//! A page in the making: the reader's language, zone and way to write numbers, and what all pages write alike.

use std::sync::LazyLock;

use jiff::Timestamp;
use jiff::civil::Date;
use maud::{Markup, PreEscaped, Render, html};

use super::foreign::{Foreign, LONG, SHORT};
use super::view::Frame;
use crate::notify::{Languages, Words};

/// The texts of the console.
const TEXTS: [(&str, &str); 9] = [
    ("ar", include_str!("languages/ar.ftl")),
    ("bo", include_str!("languages/bo.ftl")),
    ("de", include_str!("languages/de.ftl")),
    ("en", include_str!("languages/en.ftl")),
    ("es", include_str!("languages/es.ftl")),
    ("fr", include_str!("languages/fr.ftl")),
    ("ru", include_str!("languages/ru.ftl")),
    ("zh-Hans", include_str!("languages/zh-Hans.ftl")),
    ("zh-Hant", include_str!("languages/zh-Hant.ftl")),
];

/// What each language calls itself, in the order in which people choose.
const NAMES: [(&str, &str); 9] = [
    ("en", "English"),
    ("bo", "བོད་ཡིག"),
    ("zh-Hans", "简体中文"),
    ("zh-Hant", "繁體中文"),
    ("fr", "Français"),
    ("es", "Español"),
    ("de", "Deutsch"),
    ("ru", "Русский"),
    ("ar", "العربية"),
];

static LANGUAGES: LazyLock<Languages> =
    LazyLock::new(|| Languages::of(&TEXTS).expect("a test reads all the texts"));

/// The languages that there are, each with what it calls itself.
pub fn languages() -> &'static [(&'static str, &'static str)] {
    &NAMES
}

/// The language that a browser wishes for most, of those that there are: by Accept-Language (RFC 9110 §12.5.4), else English.
pub fn language_for(accept_language: &str) -> &'static str {
    let wishes = accept_language.split(',').take(20).filter_map(|wish| {
        let (tag, weight) = wish.split_once(';').unwrap_or((wish, "q=1"));
        let weight: f32 = weight.trim().strip_prefix("q=")?.parse().ok()?;
        let found = LANGUAGES.find(tag.trim()).ok()?.language();
        (weight > 0.0).then_some((weight, found))
    });
    // Of several with the same weight, the first.
    let best = wishes.fold((0.0, "en"), |best, wish| if wish.0 > best.0 { wish } else { best });
    best.1
}

/// Where the markup of what is put into a text is while the text is written: characters that no text has.
const PLACES: std::ops::RangeInclusive<char> = '\u{e000}'..='\u{e0ff}';

/// A page in the making.
pub(super) struct Page<'a> {
    pub(super) frame: &'a Frame,
    words: Words<'a>,
    left_out: String,
}

impl<'a> Page<'a> {
    pub(super) fn of(frame: &'a Frame) -> Self {
        let words = LANGUAGES.words(&frame.language);
        Self { frame, words, left_out: words.line("left-out", &[]) }
    }

    /// The language's name (BCP 47).
    pub(super) fn language(&self) -> &str {
        self.words.language()
    }

    /// Which way the language is written.
    pub(super) fn direction(&self) -> &'static str {
        if self.language() == "ar" { "rtl" } else { "ltr" }
    }

    /// A text.
    pub(super) fn text(&self, message: &str) -> String {
        self.words.line(message, &[])
    }

    /// A text that may be missing, such as that of a word that a later version wrote: then the word itself.
    pub(super) fn word(&self, kind: &str, word: &str) -> Markup {
        let text = self.text(&format!("{kind}-{word}"));
        if text.is_empty() {
            self.short(word).render()
        } else {
            html! { (text) }
        }
    }

    /// A text with strings put into it.
    pub(super) fn filled(&self, message: &str, arguments: &[(&str, &str)]) -> String {
        self.words.line(message, arguments)
    }

    /// A text with markup put into it.
    pub(super) fn phrase(&self, message: &str, arguments: &[(&str, &dyn Render)]) -> Markup {
        let places: Vec<String> = PLACES.take(arguments.len()).map(String::from).collect();
        let named: Vec<(&str, &str)> =
            arguments.iter().zip(&places).map(|((name, _), place)| (*name, place.as_str())).collect();
        let mut markup = html! { (self.words.line(message, &named)) }.into_string();
        for ((_, argument), place) in arguments.iter().zip(&places) {
            markup = markup.replace(place.as_str(), &argument.render().into_string());
        }
        PreEscaped(markup)
    }

    /// A stranger's text where there is little room.
    pub(super) fn short<'t>(&'t self, text: &'t str) -> Foreign<'t> {
        Foreign::new(text, SHORT, &self.left_out)
    }

    /// A stranger's text.
    pub(super) fn long<'t>(&'t self, text: &'t str) -> Foreign<'t> {
        Foreign::new(text, LONG, &self.left_out)
    }

    /// A sentence that the gateway writes in English, and that may have strangers' words in it.
    pub(super) fn english(&self, text: &str) -> Markup {
        if self.language() == "en" {
            return self.long(text).render();
        }
        html! { span lang="en" dir="ltr" { (self.long(text)) } }
    }

    /// `12,345`, as the language writes it.
    pub(super) fn number(&self, number: u64) -> String {
        let digits = number.to_string();
        let group = self.text("digit-group");
        // `1234` is a year or a port; people read four digits without help.
        if digits.len() < 5 {
            return digits;
        }
        let first = digits.len() % 3;
        let (head, tail) = digits.split_at(first);
        let tail: Vec<&str> = (0..tail.len() / 3).map(|at| &tail[at * 3..at * 3 + 3]).collect();
        let groups: Vec<&str> = Some(head).filter(|head| !head.is_empty()).into_iter().chain(tail).collect();
        groups.join(&group)
    }

    /// `1.2 MB`: in units of a thousand, as file managers show.
    pub(super) fn size(&self, octets: u64) -> String {
        let (unit, message) = match octets {
            0..1_000 => return self.filled("size-b", &[("number", &octets.to_string())]),
            1_000..999_950 => (1_000, "size-kb"),
            999_950..999_950_000 => (1_000_000, "size-mb"),
            _ => (1_000_000_000, "size-gb"),
        };
        let tenths = (u128::from(octets) * 10 + unit / 2) / unit;
        let whole = u64::try_from(tenths / 10).unwrap_or(u64::MAX);
        let number = match tenths % 10 {
            0 => self.number(whole),
            tenth => format!("{}{}{tenth}", self.number(whole), self.text("decimal-point")),
        };
        self.filled(message, &[("number", &number)])
    }

    /// `Mon 23 Nov 2026`.
    pub(super) fn date(&self, date: Date) -> String {
        let weekday = self.name("weekdays", date.weekday().to_monday_one_offset());
        let month = self.name("months", date.month());
        let (day, year) = (date.day().to_string(), date.year().to_string());
        let facts = [("weekday", &*weekday), ("day", &*day), ("month", &*month), ("year", &*year)];
        self.filled("date", &facts)
    }

    /// `23 Nov`.
    pub(super) fn short_date(&self, date: Date) -> String {
        let (day, month) = (date.day().to_string(), self.name("months", date.month()));
        self.filled("short-date", &[("day", &day), ("month", &month)])
    }

    /// One of the names that a text has, counted from 1.
    fn name(&self, message: &str, at: i8) -> String {
        let names = self.text(message);
        let at = usize::try_from(at - 1).unwrap_or_default();
        names.split_whitespace().nth(at).unwrap_or_default().to_owned()
    }

    /// `Mon 23 Nov 2026, 12:04 CET`, in the reader's zone.
    pub(super) fn moment_text(&self, moment: Timestamp) -> String {
        let zoned = moment.to_zoned(self.frame.zone.clone());
        let (time, zone) = (zoned.strftime("%H:%M").to_string(), zoned.strftime("%Z").to_string());
        let date = self.date(zoned.date());
        self.filled("moment", &[("date", &date), ("time", &time), ("zone", &zone)])
    }

    /// The same, as programs can read it, too.
    pub(super) fn moment(&self, moment: Timestamp) -> Markup {
        html! { time datetime=(moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()) { (self.moment_text(moment)) } }
    }

    /// Why a message got its verdict, in one sentence.
    pub(super) fn why(&self, verdict: &str, reason: Option<&str>) -> Markup {
        let reason = reason.unwrap_or_default();
        let messages = [format!("why-{verdict}-{reason}"), format!("why-{reason}"), format!("why-{verdict}")];
        let text = messages.iter().map(|message| self.text(message)).find(|text| !text.is_empty());
        html! { (text.unwrap_or_default()) }
    }

    /// A verdict, as a mark that is seen at a glance: by its word, its sign and its colour.
    pub(super) fn badge(&self, verdict: &str) -> Markup {
        let known = Mood::of(verdict);
        html! {
            span class={ "badge " (known.class()) } {
                span.sign aria-hidden="true" { (known.sign()) } (self.word("verdict", verdict))
            }
        }
    }
}

/// How bad a verdict is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mood {
    /// As it should be.
    Good,
    /// Neither.
    Plain,
    /// Not as it should be, and perhaps nobody's fault.
    Doubtful,
    /// Proof that something is wrong.
    Bad,
}

impl Mood {
    pub(super) fn of(verdict: &str) -> Self {
        match verdict {
            "pass" => Self::Good,
            "none" => Self::Plain,
            "fail" | "key-changed" => Self::Bad,
            _ => Self::Doubtful,
        }
    }

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Plain => "plain",
            Self::Doubtful => "doubtful",
            Self::Bad => "bad",
        }
    }

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Plain => "–",
            Self::Doubtful => "?",
            Self::Bad => "✕",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a text that is not there has failed")]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::super::samples;
    use super::*;

    /// The texts of a file, each with the names of what is put into it.
    fn texts(tag: &str) -> BTreeMap<&'static str, BTreeSet<&'static str>> {
        let (_, file) = TEXTS.iter().find(|(known, _)| *known == tag).unwrap();
        let lines =
            file.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once(" = "));
        let variables = |text: &'static str| {
            let names = text.split('$').skip(1).map(|rest| rest.split([' ', '}']).next().unwrap());
            names.collect::<BTreeSet<_>>()
        };
        lines.map(|(name, text)| (name, variables(text))).collect()
    }

    /// What is written in English for Tibetan readers, because nobody who knows has translated it: all but these.
    const IN_TIBETAN: [&str; 31] = [
        "anybody",
        "attachments-title",
        "back",
        "column-from",
        "column-reason",
        "column-subject",
        "done-quarantine",
        "fact-date",
        "fact-from",
        "fact-subject",
        "facts-title",
        "field-from",
        "language-label",
        "log-in",
        "log-out",
        "login-title",
        "messages-title",
        "name-label",
        "nav-messages",
        "nav-now",
        "now-title",
        "password-label",
        "requested-reason",
        "save",
        "saved",
        "seal-none",
        "seal-title",
        "search",
        "state-held",
        "verdict-none",
        "waiting-none",
    ];

    #[test]
    fn every_language_has_every_text() {
        let english = texts("en");
        assert!(english.len() > 250, "{}", english.len());
        let mut wrong = Vec::new();
        for (tag, _) in TEXTS {
            let texts = texts(tag);
            for (name, variables) in &english {
                match texts.get(name) {
                    None if tag == "bo" && !IN_TIBETAN.contains(name) && *name != "why-missing" => {}
                    Some(found) if found == variables => {}
                    other => wrong.push(format!("{tag}: {name}: {other:?}, not {variables:?}")),
                }
            }
            wrong.extend(
                texts
                    .keys()
                    .filter(|name| !english.contains_key(*name))
                    .map(|name| format!("{tag}: {name} is no text")),
            );
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Of these, a page asks by a word that it has.
    const BY_WORD: [&str; 14] = [
        "verdict-", "why-", "done-", "action-", "state-", "fate-", "trust-", "known-", "deed-", "key-",
        "pin-", "role-", "outcome-", "act-",
    ];

    #[test]
    fn every_text_is_used() {
        let sources = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/console/pages")).unwrap();
        let code: String = sources
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let is_used = |name: &str| {
            code.contains(&format!("\"{name}\""))
                || BY_WORD.iter().any(|prefix| name.starts_with(prefix))
                || name.strip_suffix("-hint").is_some_and(|name| code.contains(&format!("\"{name}\"")))
        };
        let idle: Vec<&str> = texts("en").into_keys().filter(|name| !is_used(name)).collect();
        assert!(idle.is_empty(), "{idle:?}");
    }

    #[test]
    fn every_word_of_ours_has_a_text() {
        let frame = samples::frame("en", "/");
        let page = Page::of(&frame);
        for verdict in attachment_seal::verdict::Verdict::EACH.map(attachment_seal::verdict::Verdict::as_str)
        {
            assert!(!page.text(&format!("verdict-{verdict}")).is_empty(), "{verdict}");
            assert!(!page.why(verdict, None).0.is_empty(), "{verdict}");
        }
        for what in [
            "attachments",
            "too-many-seals",
            "malformed-seal",
            "revoked-key",
            "bad-signature",
            "future-seal",
            "other-message",
        ] {
            assert_ne!(page.why("fail", Some(what)).0, page.why("fail", None).0, "{what}");
        }
        for state in crate::store::HeldState::ALL {
            assert!(!page.text(&format!("state-{}", state.as_str())).is_empty());
        }
    }

    fn page_in<T>(language: &str, ask: impl Fn(&Page<'_>) -> T) -> T {
        let frame = samples::frame(language, "/");
        ask(&Page::of(&frame))
    }

    #[test]
    fn sizes_and_numbers_are_as_people_write_them() {
        let sizes = [0, 999, 1_000, 1_250, 48_213, 999_949, 999_950, 1_873_442, 5_000_000_000, u64::MAX];
        let english = page_in("en", |page| sizes.map(|size| page.size(size)));
        assert_eq!(
            english,
            [
                "0 B",
                "999 B",
                "1 KB",
                "1.3 KB",
                "48.2 KB",
                "999.9 KB",
                "1 MB",
                "1.9 MB",
                "5 GB",
                "18,446,744,073.7 GB"
            ]
        );
        assert_eq!(page_in("fr", |page| page.size(1_873_442)), "1,9 Mo");
        for (language, number) in [
            ("en", "1,234,567"),
            ("de", "1.234.567"),
            ("fr", "1\u{a0}234\u{a0}567"),
            ("ru", "1\u{a0}234\u{a0}567"),
        ] {
            assert_eq!(page_in(language, |page| page.number(1_234_567)), number);
        }
        assert_eq!(
            page_in("en", |page| [0, 999, 1_234, 12_345].map(|number| page.number(number))),
            ["0", "999", "1234", "12,345"]
        );
    }

    #[test]
    fn a_date_has_its_weekday_and_its_zone() {
        let moment = samples::at("2026-11-22T20:04:00Z");
        for (language, text) in [
            ("en", "Mon 23 Nov 2026, 01:34 IST"),
            ("de", "Mo 23. Nov. 2026, 01:34 IST"),
            ("fr", "lun. 23 nov. 2026, 01:34 IST"),
            ("zh-Hans", "2026年11月23日 周一 01:34 IST"),
            ("bo", "Mon 23 Nov 2026, 01:34 IST"),
        ] {
            assert_eq!(page_in(language, |page| page.moment_text(moment)), text);
        }
    }

    #[test]
    fn every_language_names_all_days_and_months() {
        for (language, _) in languages() {
            let names = |message| page_in(language, |page| page.text(message).split_whitespace().count());
            assert_eq!((names("weekdays"), names("months")), (7, 12), "{language}");
        }
    }

    #[test]
    fn the_browser_is_asked_for_the_language() {
        for (accept, language) in [
            ("fr-CH, fr;q=0.9, en;q=0.8", "fr"),
            ("pt, es;q=0.5", "es"),
            ("en;q=0.2, ar;q=0.9", "ar"),
            ("zh-TW", "zh-Hant"),
            ("zh", "zh-Hans"),
            ("fr;q=0, de", "de"),
            ("*", "en"),
            ("", "en"),
            ("\u{0};;q=x,,,", "en"),
        ] {
            assert_eq!(language_for(accept), language, "{accept}");
        }
    }

    #[test]
    fn what_is_put_into_a_text_is_in_its_place() {
        let text = page_in("de", |page| {
            page.phrase(
                "requested-by",
                &[("name", &page.short("<a>\u{e001}")), ("moment", &html! { b { "x" } })],
            )
            .0
        });
        assert!(
            text.contains("&lt;a&gt;<span class=\"odd\"") && text.contains("am <b>x</b> beantragt"),
            "{text}"
        );
    }
}
