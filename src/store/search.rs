//! How a page of judged messages is put together of what two tables have: messages that the policy simply delivered, and all
//! others.

use super::error::DatabaseError;
use super::judged::{
    Found, Judged, JudgedId, MAX_DELIVERED, MAX_DELIVERED_FINDINGS, MAX_FINDINGS, MAX_KEPT, MAX_NAMED,
    MAX_PAGE, Page, Position, Question,
};
use super::terms::{Record, Wanted};

/// One of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shelf {
    /// Those that the policy would not simply have delivered.
    Named,
    Delivered,
}

impl Shelf {
    pub(super) const BOTH: [Self; 2] = [Self::Named, Self::Delivered];

    pub(super) fn table(self) -> &'static str {
        match self {
            Self::Named => "judged",
            Self::Delivered => "delivered",
        }
    }

    pub(super) fn is_delivered(self) -> bool {
        self == Self::Delivered
    }

    /// Messages that are kept.
    pub(super) fn max_kept(self) -> u64 {
        match self {
            Self::Named => MAX_KEPT,
            Self::Delivered => MAX_DELIVERED,
        }
    }

    /// Octets that are kept of what was found in them.
    pub(super) fn max_findings(self) -> u64 {
        match self {
            Self::Named => MAX_FINDINGS,
            Self::Delivered => MAX_DELIVERED_FINDINGS,
        }
    }
}

/// Some thousand messages of one table that were written one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stretch {
    pub(super) number: i64,
    pub(super) messages: i64,
    pub(super) first_id: i64,
    pub(super) last_id: i64,
    /// When the oldest and the newest were judged.
    pub(super) first_at: i64,
    pub(super) last_at: i64,
}

impl Stretch {
    /// One that has no message yet.
    pub(super) fn new(number: i64) -> Self {
        Self { number, messages: 0, first_id: i64::MAX, last_id: 0, first_at: i64::MAX, last_at: 0 }
    }

    pub(super) fn add(&mut self, id: i64, at: i64) {
        self.messages += 1;
        self.first_id = self.first_id.min(id);
        self.last_id = self.last_id.max(id);
        self.first_at = self.first_at.min(at);
        self.last_at = self.last_at.max(at);
    }
}

/// A row that was found.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) gateway: String,
    pub(super) record: String,
}

/// What an adapter found in a table.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The newest first.
    pub(super) rows: Vec<Row>,
    /// Above which row it looked, where it stopped because that took long.
    pub(super) stopped_at: Option<i64>,
}

/// A table, as an adapter reads it.
pub(super) trait Shelves {
    /// Rows below `below` that seem to be wanted, the newest first, `limit` at most. A search that is not patient stops after some
    /// work.
    fn find(
        &self,
        shelf: Shelf,
        wanted: &Wanted,
        below: i64,
        limit: usize,
        is_patient: bool,
    ) -> Result<Rows, DatabaseError>;
}

/// What was found in a table.
struct Pile {
    /// With their rows, the newest first.
    found: Vec<(i64, Found)>,
    /// How many are on the page.
    taken: usize,
    /// Below which row nothing was looked at.
    looked_to: i64,
    /// Whether nothing is left there.
    is_whole: bool,
}

impl Pile {
    fn of(
        shelves: &dyn Shelves,
        shelf: Shelf,
        wanted: &Wanted,
        below: i64,
        limit: usize,
        is_patient: bool,
    ) -> Result<Self, DatabaseError> {
        let mut pile = Self { found: Vec::new(), taken: 0, looked_to: below, is_whole: false };
        while pile.found.len() < limit {
            let asked = limit - pile.found.len();
            let Rows { rows, stopped_at } = shelves.find(shelf, wanted, pile.looked_to, asked, is_patient)?;
            let is_end = rows.len() < asked && stopped_at.is_none();
            if let Some(last) = stopped_at.or(rows.last().map(|row| row.id)) {
                pile.looked_to = last;
            }
            pile.found.extend(rows.into_iter().filter_map(|row| {
                let record = Record::read(&row.record).filter(|record| wanted.is(record))?;
                let Record { id, judged, particulars } = record;
                Some((row.id, Found { id, gateway: row.gateway, judged, particulars }))
            }));
            if is_end || stopped_at.is_some() {
                pile.is_whole = is_end;
                break;
            }
        }
        Ok(pile)
    }

    fn next(&self) -> Option<&Found> {
        self.found.get(self.taken).map(|(_, found)| found)
    }

    /// Whether there may be more where nothing was looked at yet.
    fn is_used_up(&self) -> bool {
        self.taken == self.found.len() && !self.is_whole
    }

    fn is_over(&self) -> bool {
        self.taken == self.found.len() && self.is_whole
    }

    /// Where the next page begins.
    fn position(&self, began: i64) -> i64 {
        match self.taken {
            _ if self.taken == self.found.len() => self.looked_to,
            0 => began,
            taken => self.found[taken - 1].0,
        }
    }
}

/// A page of the messages that fit a question.
pub(super) fn page(
    shelves: &dyn Shelves,
    question: &Question,
    after: Option<&Position>,
    limit: usize,
) -> Result<Page, DatabaseError> {
    let limit = limit.clamp(1, MAX_PAGE);
    let began = after.copied().unwrap_or(Position::NEWEST);
    let wanted = Wanted::by(question);
    // One more than is shown tells whether there is more.
    let pile = |shelf, below| Pile::of(shelves, shelf, &wanted, below, limit + 1, false);
    let mut named = pile(Shelf::Named, began.named)?;
    let nothing = Pile { found: Vec::new(), taken: 0, looked_to: began.delivered, is_whole: true };
    let mut delivered = if question.delivered { pile(Shelf::Delivered, began.delivered)? } else { nothing };
    let mut messages = Vec::new();
    // What was not looked at may be newer than the rest of the other table.
    while messages.len() < limit && !named.is_used_up() && !delivered.is_used_up() {
        let newer = match (named.next(), delivered.next()) {
            (None, None) => break,
            (Some(one), Some(other)) if one.judged.at < other.judged.at => &mut delivered,
            (None, Some(_)) => &mut delivered,
            (Some(_), _) => &mut named,
        };
        messages.extend(newer.next().cloned());
        newer.taken += 1;
    }
    let is_last = named.is_over() && delivered.is_over();
    let next =
        Position { named: named.position(began.named), delivered: delivered.position(began.delivered) };
    Ok(Page { messages, next: (!is_last).then_some(next) })
}

/// The messages that are named and that fit a question, the oldest first; of more than 20,000, the newest.
pub(super) fn named(shelves: &dyn Shelves, question: &Question) -> Result<Vec<Judged>, DatabaseError> {
    let limit = usize::try_from(MAX_NAMED).unwrap_or(usize::MAX);
    let pile = Pile::of(shelves, Shelf::Named, &Wanted::by(question), i64::MAX, limit, true)?;
    Ok(pile.found.into_iter().rev().map(|(_, found)| found.judged).collect())
}

/// One message.
pub(super) fn one(shelves: &dyn Shelves, id: &JudgedId) -> Result<Option<Found>, DatabaseError> {
    for shelf in Shelf::BOTH {
        let pile = Pile::of(shelves, shelf, &Wanted::one(id), i64::MAX, 1, true)?;
        if let Some((_, found)) = pile.found.into_iter().next() {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables whose rows are judged at the second of their ids, or of ten times that; each search goes through so many rows.
    struct Made {
        named: i64,
        delivered: i64,
        work: i64,
    }

    impl Shelves for Made {
        fn find(
            &self,
            shelf: Shelf,
            _: &Wanted,
            below: i64,
            limit: usize,
            is_patient: bool,
        ) -> Result<Rows, DatabaseError> {
            let (last, pace) = match shelf {
                Shelf::Named => (self.named, 10),
                Shelf::Delivered => (self.delivered, 1),
            };
            let first = if is_patient { 1 } else { (below.min(last + 1) - self.work).max(1) };
            let ids = (first..below.min(last + 1)).rev().take(limit);
            let row = |id| Row { id, gateway: String::new(), record: record(id * pace) };
            let rows: Vec<_> = ids.map(row).collect();
            let stopped_at = (rows.len() < limit && first > 1).then_some(first);
            Ok(Rows { rows, stopped_at })
        }
    }

    fn record(at: i64) -> String {
        format!(
            r#"{{"at": {at}, "session": "s", "verdict": "pass", "reason": null, "known": null, "trust": null,
                "asked": "mark", "done": "mark", "from_domain": null, "domain": null, "reverse_path": "",
                "recipients": 1, "message_id": null, "attachments": [], "summary": ""}}"#
        )
    }

    /// All pages, and how many there are.
    fn all(made: &Made, delivered: bool, limit: usize) -> (Vec<u64>, usize) {
        let question = Question { delivered, ..Question::default() };
        let (mut found, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let page = page(made, &question, after.as_ref(), limit).unwrap();
            assert!(page.messages.len() <= limit);
            found.extend(page.messages.iter().map(|found| found.judged.at));
            pages += 1;
            match page.next {
                Some(next) => after = Some(next.to_string().parse().unwrap()),
                None => return (found, pages),
            }
        }
    }

    #[test]
    fn pages_are_in_order_and_have_everything_once() {
        for (named, delivered, limit) in [(0, 0, 50), (50, 0, 50), (51, 0, 50), (40, 400, 50), (3, 7, 1)] {
            let made = Made { named, delivered, work: i64::MAX };
            let mut expected: Vec<u64> =
                (1..=delivered).chain((1..=named).map(|id| id * 10)).map(|at| at as u64).collect();
            expected.sort_unstable_by(|a, b| b.cmp(a));
            let (found, pages) = all(&made, true, limit);
            assert_eq!(found, expected, "{named} {delivered}");
            assert_eq!(pages, expected.len().div_ceil(limit).max(1), "{named} {delivered}");
            assert_eq!(all(&made, false, limit).0.len() as i64, named);
        }
    }

    /// A search that stops shows nothing that is older than what it has not looked at.
    #[test]
    fn a_search_that_stops_goes_on_in_order() {
        for work in [1, 7, 60] {
            let made = Made { named: 40, delivered: 400, work };
            let (found, _) = all(&made, true, 50);
            assert_eq!(found.len(), 440, "{work}");
            assert!(found.is_sorted_by(|a, b| a >= b), "{work}: {found:?}");
        }
    }
}
