//! SASL mechanisms (RFC 4422) that work through a gateway. Those that bind to the TLS session cannot: the client's ends here,
//! and the next hop's begins here.

/// Whether a client can prove by this mechanism who it is.
///
/// `-PLUS` binds to the TLS session (RFC 5802 §6). EXTERNAL is about the connection itself: what it proved to the next hop would be
/// who this gateway is, whoever the client is. ANONYMOUS proves nothing.
pub(crate) fn works(mechanism: &str) -> bool {
    let mechanism = mechanism.to_ascii_uppercase();
    !mechanism.ends_with("-PLUS") && !matches!(mechanism.as_str(), "EXTERNAL" | "ANONYMOUS")
}

/// Of the mechanisms behind the next hop's AUTH those that work; `None` if none does.
pub(crate) fn offered(mechanisms: &str) -> Option<String> {
    let working: Vec<_> = mechanisms.split_ascii_whitespace().filter(|name| works(name)).collect();
    (!working.is_empty()).then(|| working.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_works_through_us() {
        let offer = "SCRAM-SHA-256-PLUS SCRAM-SHA-256 scram-sha-1-plus PLAIN External ANONYMOUS XOAUTH2";
        assert_eq!(offered(offer).as_deref(), Some("SCRAM-SHA-256 PLAIN XOAUTH2"));
        assert_eq!(offered("EXTERNAL GS2-KRB5-PLUS"), None);
        assert_eq!(offered(""), None);
    }
}
