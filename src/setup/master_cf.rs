//! Edits of master.cf in its text, so that entries and comments stay where they are: `postconf` moves an entry that it changes to
//! behind the comments that follow it. Whoever uses this compares what `postconf` reads in either text.

use super::wiring::Edit;

/// The text with these edits; `None` where an entry is not found, or is written in a way that is not edited here.
pub(super) fn edited(text: &str, edits: &[Edit]) -> Option<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for edit in edits {
        match edit {
            Edit::Entry { fields, options } => {
                lines.push(columns(fields));
                lines.extend(options.iter().map(|(name, value)| option(name, value)));
            }
            Edit::Option { entry, name, value, .. } => set(&mut lines, entry, name, value)?,
        }
    }
    Some(lines.join("\n") + "\n")
}

/// An entry's first line, in the columns that master.cf comes with.
fn columns(fields: &str) -> String {
    let widths = [9, 5, 7, 7, 7, 7, 7, 0];
    let columns = fields.split_whitespace().zip(widths).map(|(field, width)| format!("{field:width$}"));
    columns.collect::<Vec<_>>().join(" ")
}

fn option(name: &str, value: &str) -> String {
    format!("    -o {name}={value}")
}

/// Sets an option of an entry, in its own line or in a new one at the entry's end.
fn set(lines: &mut Vec<String>, entry: &str, name: &str, value: &str) -> Option<()> {
    let is_start = |line: &str| {
        let mut fields = line.split_whitespace();
        let found = fields.next().zip(fields.next());
        !line.starts_with(['#', ' ', '\t'])
            && found.is_some_and(|(name, kind)| format!("{name}/{kind}") == entry)
    };
    let start = lines.iter().position(|line| is_start(line))?;
    let mut last = start;
    for (at, line) in lines.iter().enumerate().skip(start + 1) {
        // Comments and empty lines may be between the lines of an entry.
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        if !line.starts_with([' ', '\t']) {
            break;
        }
        last = at;
    }
    let sets = |line: &str| line.split(['=', ' ', '\t', '{', ',']).any(|word| word == name);
    let mut setting =
        (start..=last).filter(|at| !lines[*at].trim_start().starts_with('#') && sets(&lines[*at]));
    match (setting.next(), setting.next()) {
        (None, _) => lines.insert(last + 1, option(name, value)),
        (Some(at), None) if is_alone(&lines[at], name) => lines[at] = option(name, value),
        _ => return None,
    }
    Some(())
}

/// Whether a line has this option, `-o name=value`, and nothing else.
fn is_alone(line: &str, name: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    matches!(words[..], ["-o", set] if set.split('=').next() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set_option(entry: &str, name: &str, value: &str) -> Edit {
        Edit::Option { entry: entry.into(), name: name.into(), value: value.into(), before: None }
    }

    const TEXT: &str = "\
# smtp inet of old
smtp      inet  n       -       y       -       -       smtpd
#smtp      inet  n       -       y       -       1       postscreen
submission inet n - y - - smtpd
  -o syslog_name=postfix/submission
#  -o smtpd_milters=inet:commented
  -o smtpd_milters=inet:localhost:8891

pickup unix n - y 60 1 pickup -o content_filter= -o x=y
";

    #[test]
    fn lines_are_put_in_where_they_belong() {
        let edits = [
            set_option("smtp/inet", "smtpd_proxy_filter", "127.0.0.1:10028"),
            set_option("submission/inet", "smtpd_milters", ""),
            set_option("submission/inet", "smtpd_proxy_filter", "127.0.0.1:10025"),
            Edit::Entry { fields: "a inet n - y - - smtpd".into(), options: vec![("b".into(), "c".into())] },
        ];
        let expected =
            TEXT.replace("smtpd\n#smtp", "smtpd\n    -o smtpd_proxy_filter=127.0.0.1:10028\n#smtp").replace(
                "  -o smtpd_milters=inet:localhost:8891\n",
                "    -o smtpd_milters=\n    -o smtpd_proxy_filter=127.0.0.1:10025\n",
            ) + "a         inet  n       -       y       -       -       smtpd\n    -o b=c\n";
        assert_eq!(edited(TEXT, &edits).unwrap(), expected);
    }

    #[test]
    fn what_is_written_otherwise_is_left_to_postconf() {
        for edit in [set_option("pickup/unix", "content_filter", "x"), set_option("smtps/inet", "a", "b")] {
            assert_eq!(edited(TEXT, &[edit]), None);
        }
    }
}
