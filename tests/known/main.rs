//! What is believed of domains and their keys, line by line of docs/SPEC.md §8 to §10.
//!
//! | SPEC.md | rule | test |
//! |---|---|---|
//! | §8 step 1 | no seal: `none`, or `missing` of a known sealer | `policies::a_policy_makes_…`, `authors::no_disguise_silences_missing` |
//! | §8 step 2 | exactly one From with one address, else `ambiguous` | `authors::an_unclear_author_gets_no_pass` |
//! | | aligned: the From domain or a parent, not above the organisational domain | `authors::only_the_authors_own_…`, `nobody_seals_above_…` |
//! | | nearest first, in message order; the first that verifies counts, else the first's result | `authors::aligned_seals_are_tried_nearest_first` |
//! | | none aligned: unreadable `d`, known sealer, a stranger's valid seal, else as no seal | `authors::without_an_aligned_seal`, `a_strangers_seal_…` |
//! | §8 step 4 | not found: `unknown-key`, `key-changed` of a known sealer | `keys::no_key_and_no_answer_…`, `policies::another_selector_…` |
//! | | revoked: `fail`; a failing lookup: `temperror` | `keys::a_revoked_key_fails`, `no_key_and_no_answer_…` |
//! | §9 | PKCS#8 PEM, mode 0600 | `tests/commands.rs`, `src/keyfile.rs`, `attachment-seal/src/seal/key.rs` |
//! | | TXT at `<s>._attachment-seal.<d>`; empty `p`; `t=y` | `tests/dns/lookups.rs`, `keys::a_trial_is_told_of` |
//! | | a trial: reported, no action | `src/policy.rs`, `keys::the_selector_of_a_trial_is_no_way_out` |
//! | | whether the answer was DNSSEC-secure is part of the result | `keys::a_key_from_dns_…`, `tests/dns/gateway.rs` |
//! | | for a pinned domain nothing else is believed; a key without selector is for any | `keys::nothing_but_the_pin_…`, `pinned_keys_and_roots_…` |
//! | | delegation: form, signature, `nb` ≤ `t` < `x` ≤ `na` | `keys::a_bad_delegation_…`, `a_delegation_covers_…` |
//! | | by the domain's root, or an earlier sealing key that is remembered | `keys::a_root_of_the_policy_delegates`, `memory::an_earlier_…`, `tests/root.rs` |
//! | | a stolen sealing key dies with its delegation | `memory::a_key_that_a_root_delegated_to_…` |
//! | | one that does not hold is as if it were not there | `keys::a_bad_delegation_…` |
//! | | a revoked record beats it; a pinned key is tried before | `keys::a_root_of_the_policy_…`, `pinned_keys_and_roots_…` |
//! | §10 | policy: TXT at `_attachment-seal.<d>`, `p`, `root`, `rua` | `tests/dns/lookups.rs`, `attachment-seal/src/seal/policy_record.rs` |
//! | | `p` other than `none` states that all is sealed | `policies::a_policy_makes_…` |
//! | | known: itself or a parent, by pin, policy, memory; the result names which | `policies::a_pin_covers_…`, `a_policy_makes_…`, `memory::one_message_…` |
//! | | `subdomains = false` | `policies::a_pin_covers_what_it_says` |
//! | | 3 passes within 90 days | `memory::three_passes_within_90_days_make_a_sealer` |
//! | | memory alone marks and alerts, unless `missing` is set; `keys unsealed` | `tests/keys.rs`, `tests/config.rs` |
//! | | only verdicts of aligned, valid seals count | `memory::nothing_but_a_pass_counts_as_one` |
//! | | a first key is accepted from DNS and remembered | `keys::a_key_from_dns_…`, `memory::a_subdomain_is_no_way_out` |
//! | | any further key: DNSSEC, pinned, a known root, a remembered key within 90 days; else `key-changed` | `keys::an_unsigned_answer_…`, `memory` |
//! | | a failing policy lookup: pins and memory stand, else `none`, and told | `policies::a_policy_that_cannot_be_had_…`, `what_memory_says_…` |
//! | | a failing key lookup is `temperror` | `keys::no_key_and_no_answer_…`, `tests/dns/gateway.rs` |
//! | | `published` | `policies::the_nearest_policy_asks`, `a_forged_policy_…`, `src/policy.rs` |
//! | | strength of proof in every result | `keys::the_strongest_proof_is_named` |

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod authors;
mod keys;
mod memory;
mod policies;
mod world;
