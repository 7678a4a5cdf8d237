//! Metrics as text: OpenMetrics for whoever asks for it, as Prometheus does, and for all others the older text format of
//! Prometheus, in which the type of a counter stands at its full name.

use std::collections::HashSet;

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// Prometheus's, version 0.0.4.
    Prometheus,
}

impl Format {
    /// What a request with this Accept field is answered with.
    pub(super) fn wanted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// All that the registry holds.
pub(super) fn text(registry: &Registry, format: Format) -> String {
    let mut text = String::new();
    // A text takes whatever is written to it.
    let _ = encode(&mut text, registry);
    match format {
        Format::OpenMetrics => text,
        Format::Prometheus => as_prometheus(&text),
    }
}

fn as_prometheus(text: &str) -> String {
    let counters: HashSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut converted = String::with_capacity(text.len() + 512);
    for line in text.lines().filter(|line| *line != "# EOF") {
        let comment = ["# HELP ", "# TYPE "].into_iter().find(|start| line.starts_with(start));
        let renamed = comment.and_then(|comment| {
            let (name, rest) = line[comment.len()..].split_once(' ')?;
            counters.contains(name).then(|| format!("{comment}{name}_total {rest}"))
        });
        converted.push_str(renamed.as_deref().unwrap_or(line));
        converted.push('\n');
    }
    converted
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;
    use prometheus_client::metrics::gauge::Gauge;

    use super::*;

    #[test]
    fn a_counters_type_stands_where_each_format_looks_for_it() {
        let mut registry = Registry::with_prefix("waxseal");
        registry.register("panics", "Panics", Counter::<u64>::default());
        registry.register("ready", "Ready", Gauge::<i64>::default());
        assert_eq!(
            text(&registry, Format::OpenMetrics),
            "# HELP waxseal_panics Panics.\n# TYPE waxseal_panics counter\nwaxseal_panics_total 0\n\
             # HELP waxseal_ready Ready.\n# TYPE waxseal_ready gauge\nwaxseal_ready 0\n# EOF\n"
        );
        assert_eq!(
            text(&registry, Format::Prometheus),
            "# HELP waxseal_panics_total Panics.\n# TYPE waxseal_panics_total counter\nwaxseal_panics_total 0\n\
             # HELP waxseal_ready Ready.\n# TYPE waxseal_ready gauge\nwaxseal_ready 0\n"
        );
    }

    #[test]
    fn open_metrics_is_for_whoever_asks() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4";
        assert_eq!(Format::wanted(prometheus), Format::OpenMetrics);
        assert_eq!(Format::wanted("*/*"), Format::Prometheus);
        assert_eq!(Format::wanted(""), Format::Prometheus);
    }
}
