# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_waxseal_global_optspecs
    string join \n h/help V/version
end

function __fish_waxseal_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_waxseal_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_waxseal_using_subcommand
    set -l cmd (__fish_waxseal_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c waxseal -n "__fish_waxseal_needs_command" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_needs_command" -s V -l version -d 'Print version'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "setup" -d 'Lead the mail of this machine\'s Postfix through the gateway: key, configuration, Postfix, and a test'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "run" -d 'Run the gateway'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "demo" -d 'Send sealed mail through a hostile relay on this machine, and show what is caught'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "keygen" -d 'Make a new sealing key, and print the DNS record to publish and the key\'s fingerprint'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "dns-record" -d 'Print the DNS record of a sealing key'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "root" -d 'Make a domain\'s offline root key, and vouch for sealing keys with it'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "report" -d 'Show the verdicts of the last days, and what was held or would have been'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "keys" -d 'Manage correspondents\' keys and your own'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "seal" -d 'Seal one message: message in, sealed message out'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "verify" -d 'Check stored messages, one by one'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "scan" -d 'Check every message of Maildirs, mbox files and folders, and list what was altered'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "check-config" -d 'Read the configuration and print every mistake'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "doctor" -d 'Check everything that sealed mail depends on, and print a remedy for each fault'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "health" -d 'Ask the gateway that runs on this machine whether it is alive, or ready'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "quarantine" -d 'List, show, export, release, keep and delete held mail'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "console" -d 'Manage the accounts of the console, the pages for people'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "state" -d 'Check, back up, restore and move what the gateway holds, remembers and has to send'
complete -c waxseal -n "__fish_waxseal_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l mode -d 'What the gateway does [default: both]' -r -f -a "seal\t'Seal what users send'
verify\t'Check what arrives'
both\t'Do both'"
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l domain -d 'The domain in your users\' addresses, which is sealed for [default: Postfix\'s mydomain]' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l selector -d 'The name of the domain\'s first key [default: today\'s date]' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l alert -d 'Whom to tell about held mail, or `none`. The test messages go there, too [default: postmaster@DOMAIN]' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l sendmail -d 'Whether mail that programs of this machine hand in by `sendmail` is sealed [default: yes]' -r -f -a "yes\t''
no\t''"
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l port -d 'The first of four ports on 127.0.0.1 between Postfix and the gateway [default: 10025, or the next that are free]' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l postfix-config -d 'Postfix\'s configuration folder, if it is not the one that `postconf` uses by itself' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l state -d 'The state folder of a new configuration' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l wait -d 'Without systemd: how long to wait for the gateway that you start by hand, in seconds' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l yes -d 'Ask nothing: take the options, and the defaults for those that are not given'
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l dry-run -d 'Show each file\'s changes, and change nothing'
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -l undo -d 'Put everything back as it was; keys stay'
complete -c waxseal -n "__fish_waxseal_using_subcommand setup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c waxseal -n "__fish_waxseal_using_subcommand run" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand run" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand demo" -l console -d 'Show the story in the console, the pages for people: at an address of this machine, until you press Ctrl-C'
complete -c waxseal -n "__fish_waxseal_using_subcommand demo" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keygen" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand keygen" -l domain -d 'The sealing domain: the one in your users\' From' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand keygen" -l selector -d 'A name for this key, unique within the domain: a-z 0-9 - _ and dots between [default: today\'s date, in the domain\'s folder]' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand keygen" -l not-before -d 'The gateway seals with the key from this day on, UTC, at the earliest; in the domain\'s folder only' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand keygen" -l out -d 'Where to write the private key [default: the domain\'s folder, else <SELECTOR>.pem]' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand keygen" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand dns-record" -l key -d 'The private key: PKCS#8 PEM, readable by its owner alone, or the `pkcs11:` URI of one in a token' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand dns-record" -l domain -d 'The sealing domain: the author\'s, or a parent of it' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand dns-record" -l selector -d 'The key\'s selector' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand dns-record" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and not __fish_seen_subcommand_from new delegate help" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and not __fish_seen_subcommand_from new delegate help" -f -a "new" -d 'Make a new root key'
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and not __fish_seen_subcommand_from new delegate help" -f -a "delegate" -d 'Vouch for a sealing key for a while'
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and not __fish_seen_subcommand_from new delegate help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from new" -l domain -d 'The domain whose sealing keys it will vouch for' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from new" -l out -d 'Where to write the private key [default: <DOMAIN>.root.pem]' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from new" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from delegate" -l key -d 'The root\'s private key' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from delegate" -l days -d 'For how many days' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from delegate" -l from -d 'From which day on, UTC [default: now, less an hour for clocks that differ]' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from delegate" -l domain -d 'The sealing domain, if the file does not name it' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from delegate" -l selector -d 'The sealing key\'s selector, if the file does not name it' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from delegate" -l out -d 'Where to write the delegation [default: <SELECTOR>-<LAST DAY>.delegation]' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from delegate" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from help" -f -a "new" -d 'Make a new root key'
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from help" -f -a "delegate" -d 'Vouch for a sealing key for a while'
complete -c waxseal -n "__fish_waxseal_using_subcommand root; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand report" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand report" -l days -d 'For how many days, today (UTC) included [default: 14; with a question, all]' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand report" -l message-id -d 'Only messages with this Message-ID, with or without its angle brackets' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand report" -l queue-id -d 'Only messages with this id: a queue id of the server before or behind the gateway, a session\'s id in the log, or the id of a held message' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand report" -l domain -d 'Only messages of this correspondent and of the domains below it: the author\'s domain, or the seal\'s' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand report" -l day -d 'Only this day (UTC): 2026-11-23, or today' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand report" -l all -d 'Name marked messages, too'
complete -c waxseal -n "__fish_waxseal_using_subcommand report" -l json -d 'One JSON object: the counts, every message that is named, and what was done to held mail'
complete -c waxseal -n "__fish_waxseal_using_subcommand report" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and not __fish_seen_subcommand_from list pin approve forget unsealed status revoke rotate fingerprint help" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and not __fish_seen_subcommand_from list pin approve forget unsealed status revoke rotate fingerprint help" -f -a "list" -d 'List what is pinned and what is remembered, domain by domain'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and not __fish_seen_subcommand_from list pin approve forget unsealed status revoke rotate fingerprint help" -f -a "pin" -d 'Pin a correspondent\'s key or root: only the pin is trusted, and its unsealed mail is `missing`'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and not __fish_seen_subcommand_from list pin approve forget unsealed status revoke rotate fingerprint help" -f -a "approve" -d 'Accept a key that contradicted what was remembered'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and not __fish_seen_subcommand_from list pin approve forget unsealed status revoke rotate fingerprint help" -f -a "forget" -d 'Forget what is remembered of a domain, or undo a pin'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and not __fish_seen_subcommand_from list pin approve forget unsealed status revoke rotate fingerprint help" -f -a "unsealed" -d 'Note that a domain sends unsealed mail too, so that its unsealed mail is not flagged from memory alone'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and not __fish_seen_subcommand_from list pin approve forget unsealed status revoke rotate fingerprint help" -f -a "status" -d 'How each of our own keys does, and what is to be done next'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and not __fish_seen_subcommand_from list pin approve forget unsealed status revoke rotate fingerprint help" -f -a "revoke" -d 'Take one of our own keys out of use, at once and for good'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and not __fish_seen_subcommand_from list pin approve forget unsealed status revoke rotate fingerprint help" -f -a "rotate" -d 'Gone: the gateway rotates keys by itself'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and not __fish_seen_subcommand_from list pin approve forget unsealed status revoke rotate fingerprint help" -f -a "fingerprint" -d 'Print fingerprints of keys, or of a message\'s attachments, as digits and as words'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and not __fish_seen_subcommand_from list pin approve forget unsealed status revoke rotate fingerprint help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from list" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from list" -l json -d 'One JSON object a line, one line a domain'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from pin" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from pin" -l key -d 'A key record, `v=SEAL1; …`, or a file that holds some, as `keygen` printed it' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from pin" -l root -d 'A root\'s public key in base64url, or a file that holds some, as `root new` printed it' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from pin" -l fingerprint -d 'The fingerprint of a key or a root, as digits or as words' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from pin" -l selector -d 'The selector that --key is for [default: the file\'s, else any]' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from pin" -l no-subdomains -d 'Pin this domain alone, not those below it'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from pin" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from approve" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from approve" -l fingerprint -d 'The key\'s fingerprint as the correspondent read it to you; needed where several keys wait' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from approve" -l yes -d 'Do not ask. Without a terminal the command never asks'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from approve" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from forget" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from forget" -l pin -d 'Undo the pin that `keys pin` made, rather than forget what is remembered'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from forget" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from unsealed" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from unsealed" -l undo -d 'Take the note back'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from unsealed" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from status" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from status" -l json -d 'One JSON object a line, one line a key'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from revoke" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from revoke" -l domain -d 'The sealing domain, where several have a key of this selector' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from fingerprint" -l message -d 'The files are messages: compare their attachments'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from fingerprint" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "list" -d 'List what is pinned and what is remembered, domain by domain'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "pin" -d 'Pin a correspondent\'s key or root: only the pin is trusted, and its unsealed mail is `missing`'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "approve" -d 'Accept a key that contradicted what was remembered'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "forget" -d 'Forget what is remembered of a domain, or undo a pin'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "unsealed" -d 'Note that a domain sends unsealed mail too, so that its unsealed mail is not flagged from memory alone'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "status" -d 'How each of our own keys does, and what is to be done next'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "revoke" -d 'Take one of our own keys out of use, at once and for good'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "rotate" -d 'Gone: the gateway rotates keys by itself'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "fingerprint" -d 'Print fingerprints of keys, or of a message\'s attachments, as digits and as words'
complete -c waxseal -n "__fish_waxseal_using_subcommand keys; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand seal" -l key -d 'The private key: PKCS#8 PEM, readable by its owner alone, or the `pkcs11:` URI of one in a token' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand seal" -l domain -d 'The sealing domain: the author\'s, or a parent of it' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand seal" -l selector -d 'The key\'s selector' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand seal" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand verify" -l keys -d 'A folder of pinned keys: <domain>/<selector>.txt, a key record each, and <domain>/root.txt, root keys one a line. Its domains count as pinned, so their unsealed mail is `missing`' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand verify" -l config -d 'Judge as the gateway with this configuration would now: by its pins, also those made by command, by its memory, and by DNS as its [dns] sets it. A remembered key counts even if DNS has it no longer. Nothing is written. Without this option the system\'s name servers are asked, and none of their answers counts as proved' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand verify" -l no-dns -d 'Don\'t ask DNS for keys and policies: trust only pinned keys, and with --config remembered ones'
complete -c waxseal -n "__fish_waxseal_using_subcommand verify" -l json -d 'One JSON object a line, one line a message'
complete -c waxseal -n "__fish_waxseal_using_subcommand verify" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand scan" -l keys -d 'A folder of pinned keys: <domain>/<selector>.txt, a key record each, and <domain>/root.txt, root keys one a line. Its domains count as pinned, so their unsealed mail is `missing`' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand scan" -l config -d 'Judge as the gateway with this configuration would now: by its pins, also those made by command, by its memory, and by DNS as its [dns] sets it. A remembered key counts even if DNS has it no longer. Nothing is written. Without this option the system\'s name servers are asked, and none of their answers counts as proved' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand scan" -l since -d 'Leave out messages from before this day or moment (2026-11-23, 2026-11-23T09:00:00Z). The date counts at which the last server received a message, or the message\'s own, whichever is later. A message without either is checked' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand scan" -l domain -d 'Leave out messages of other domains: From and the seal are neither of DOMAIN nor of a domain below it. May be given several times' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand scan" -l report -d 'Write the findings as a page for people, which needs nothing else. It replaces FILE' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand scan" -l csv -d 'Write the findings as a table for spreadsheets (RFC 4180, UTF-8). It replaces FILE' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand scan" -l no-dns -d 'Don\'t ask DNS for keys and policies: trust only pinned keys, and with --config remembered ones'
complete -c waxseal -n "__fish_waxseal_using_subcommand scan" -l json -d 'One JSON object a line, one line for every message'
complete -c waxseal -n "__fish_waxseal_using_subcommand scan" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand check-config" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand check-config" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand doctor" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand doctor" -l postfix -d 'Postfix\'s configuration folder, if it is not the one that `postconf` uses by itself' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand doctor" -l time-server -d 'Compare the clock with this time server (SNTP), if not with the one that the machine is synchronised with' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand doctor" -l probe -d 'Send a test message to an address that you can read, to find out what becomes of it: through a sealing listener, or to the server that hands mail to a verifying one; nothing else is checked' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand doctor" -l from -d 'The probe\'s author [default: postmaster at the first sealing domain; for a verifying listener an author of no domain]' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand doctor" -l listener -d 'The listener that the probe is for [default: the first that seals, else the first]' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand doctor" -l server -d 'The server that takes mail from outside, for a probe of a verifying listener [default: 127.0.0.1:25]' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand doctor" -l arrived -d 'Compare a probe as it arrived (a file with the whole message) with what was sent; nothing else is checked' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand doctor" -l json -d 'One JSON object a line, one line a check: check, subject, state, detail, remedy'
complete -c waxseal -n "__fish_waxseal_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand health" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand health" -l listener -d 'With --ready: ask about this listener alone' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand health" -l ready -d 'Ask whether every listener can do its work, too'
complete -c waxseal -n "__fish_waxseal_using_subcommand health" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and not __fish_seen_subcommand_from list show export release delete keep help" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and not __fish_seen_subcommand_from list show export release delete keep help" -f -a "list" -d 'List held mail, oldest first, one line a message, its id first'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and not __fish_seen_subcommand_from list show export release delete keep help" -f -a "show" -d 'Show all that is known of a message: why it is held, what changed, what to do next, and what was done'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and not __fish_seen_subcommand_from list show export release delete keep help" -f -a "export" -d 'Write the exact message to stdout'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and not __fish_seen_subcommand_from list show export release delete keep help" -f -a "release" -d 'Send messages to their next hop, with their envelopes, once'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and not __fish_seen_subcommand_from list show export release delete keep help" -f -a "delete" -d 'Delete messages'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and not __fish_seen_subcommand_from list show export release delete keep help" -f -a "keep" -d 'Have messages not removed by age, whatever `[quarantine] keep` is'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and not __fish_seen_subcommand_from list show export release delete keep help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from list" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from list" -l from -d 'Only mail with this text in the author\'s address or the reverse-path' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from list" -l to -d 'Only mail with this text in a recipient\'s address' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from list" -l domain -d 'Only mail of this domain and of those below it: the author\'s, the reverse-path\'s or the seal\'s' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from list" -l verdict -d 'Only mail with this verdict' -r -f -a "pass\t''
none\t''
missing\t''
fail\t''
ambiguous\t''
unaligned\t''
expired\t''
unknown-key\t''
key-changed\t''
temperror\t''"
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from list" -l since -d 'Only mail received then or later: a day (UTC), a moment, or how long ago (3d)' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from list" -l older-than -d 'Only mail that is held for longer than this, such as 7d' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from list" -l message-id -d 'Only mail with this Message-ID, with or without its angle brackets' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from list" -l state -d 'Only mail in this state: in-doubt (a release was cut short, so some recipients may have it), partly (some recipients have it), requested (one person asked for its release, and it takes two), kept (not removed by age), held (none of these)' -r -f -a "in-doubt\t''
partly\t''
requested\t''
kept\t''
held\t''"
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from list" -l json -d 'One JSON object a line, one line a message'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from show" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from show" -l json -d 'One JSON object'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from export" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from release" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from release" -l listener -d 'Use the next hop of another listener' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from release" -l to -d 'Send only to this recipient of the message; give it once for each' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from release" -l reason -d 'Why; it goes on record with your login. At a terminal you are asked for it' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from release" -l again -d 'Send also to recipients who may have it already, because an earlier attempt was cut short'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from delete" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from delete" -l reason -d 'Why; it goes on record with your login. At a terminal you are asked for it' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from keep" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from keep" -l reason -d 'Why; it goes on record with your login. At a terminal you are asked for it' -r
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from keep" -l off -d 'Have them removed by age again'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from keep" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from help" -f -a "list" -d 'List held mail, oldest first, one line a message, its id first'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from help" -f -a "show" -d 'Show all that is known of a message: why it is held, what changed, what to do next, and what was done'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from help" -f -a "export" -d 'Write the exact message to stdout'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from help" -f -a "release" -d 'Send messages to their next hop, with their envelopes, once'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from help" -f -a "delete" -d 'Delete messages'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from help" -f -a "keep" -d 'Have messages not removed by age, whatever `[quarantine] keep` is'
complete -c waxseal -n "__fish_waxseal_using_subcommand quarantine; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand console; and not __fish_seen_subcommand_from user help" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand console; and not __fish_seen_subcommand_from user help" -f -a "user" -d 'Add, change, list and remove accounts of the console'
complete -c waxseal -n "__fish_waxseal_using_subcommand console; and not __fish_seen_subcommand_from user help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand console; and __fish_seen_subcommand_from user" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand console; and __fish_seen_subcommand_from user" -f -a "add" -d 'Make an account'
complete -c waxseal -n "__fish_waxseal_using_subcommand console; and __fish_seen_subcommand_from user" -f -a "change" -d 'Give an account another role, or another password'
complete -c waxseal -n "__fish_waxseal_using_subcommand console; and __fish_seen_subcommand_from user" -f -a "list" -d 'List the accounts'
complete -c waxseal -n "__fish_waxseal_using_subcommand console; and __fish_seen_subcommand_from user" -f -a "remove" -d 'Remove an account, and end its sessions at once'
complete -c waxseal -n "__fish_waxseal_using_subcommand console; and __fish_seen_subcommand_from user" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand console; and __fish_seen_subcommand_from help" -f -a "user" -d 'Add, change, list and remove accounts of the console'
complete -c waxseal -n "__fish_waxseal_using_subcommand console; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and not __fish_seen_subcommand_from check backup restore move help" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and not __fish_seen_subcommand_from check backup restore move help" -f -a "check" -d 'Check the database, held mail and the outbox, and print a remedy for each fault'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and not __fish_seen_subcommand_from check backup restore move help" -f -a "backup" -d 'Write all of it into one new file, while the gateway runs'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and not __fish_seen_subcommand_from check backup restore move help" -f -a "restore" -d 'Make a state of a backup, where there is none'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and not __fish_seen_subcommand_from check backup restore move help" -f -a "move" -d 'Move the state to where another configuration has it: from SQLite to PostgreSQL, or back'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and not __fish_seen_subcommand_from check backup restore move help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from check" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from check" -l json -d 'One JSON object a line, one line a check: check, subject, state, detail, remedy'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from backup" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from backup" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from restore" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from restore" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from move" -l config -d 'The configuration file' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from move" -l to -d 'The configuration that names the new place' -r -F
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from move" -s h -l help -d 'Print help'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from help" -f -a "check" -d 'Check the database, held mail and the outbox, and print a remedy for each fault'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from help" -f -a "backup" -d 'Write all of it into one new file, while the gateway runs'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from help" -f -a "restore" -d 'Make a state of a backup, where there is none'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from help" -f -a "move" -d 'Move the state to where another configuration has it: from SQLite to PostgreSQL, or back'
complete -c waxseal -n "__fish_waxseal_using_subcommand state; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "setup" -d 'Lead the mail of this machine\'s Postfix through the gateway: key, configuration, Postfix, and a test'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "run" -d 'Run the gateway'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "demo" -d 'Send sealed mail through a hostile relay on this machine, and show what is caught'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "keygen" -d 'Make a new sealing key, and print the DNS record to publish and the key\'s fingerprint'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "dns-record" -d 'Print the DNS record of a sealing key'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "root" -d 'Make a domain\'s offline root key, and vouch for sealing keys with it'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "report" -d 'Show the verdicts of the last days, and what was held or would have been'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "keys" -d 'Manage correspondents\' keys and your own'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "seal" -d 'Seal one message: message in, sealed message out'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "verify" -d 'Check stored messages, one by one'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "scan" -d 'Check every message of Maildirs, mbox files and folders, and list what was altered'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "check-config" -d 'Read the configuration and print every mistake'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "doctor" -d 'Check everything that sealed mail depends on, and print a remedy for each fault'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "health" -d 'Ask the gateway that runs on this machine whether it is alive, or ready'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "quarantine" -d 'List, show, export, release, keep and delete held mail'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "console" -d 'Manage the accounts of the console, the pages for people'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "state" -d 'Check, back up, restore and move what the gateway holds, remembers and has to send'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and not __fish_seen_subcommand_from setup run demo keygen dns-record root report keys seal verify scan check-config doctor health quarantine console state help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from root" -f -a "new" -d 'Make a new root key'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from root" -f -a "delegate" -d 'Vouch for a sealing key for a while'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "list" -d 'List what is pinned and what is remembered, domain by domain'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "pin" -d 'Pin a correspondent\'s key or root: only the pin is trusted, and its unsealed mail is `missing`'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "approve" -d 'Accept a key that contradicted what was remembered'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "forget" -d 'Forget what is remembered of a domain, or undo a pin'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "unsealed" -d 'Note that a domain sends unsealed mail too, so that its unsealed mail is not flagged from memory alone'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "status" -d 'How each of our own keys does, and what is to be done next'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "revoke" -d 'Take one of our own keys out of use, at once and for good'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "rotate" -d 'Gone: the gateway rotates keys by itself'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from keys" -f -a "fingerprint" -d 'Print fingerprints of keys, or of a message\'s attachments, as digits and as words'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from quarantine" -f -a "list" -d 'List held mail, oldest first, one line a message, its id first'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from quarantine" -f -a "show" -d 'Show all that is known of a message: why it is held, what changed, what to do next, and what was done'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from quarantine" -f -a "export" -d 'Write the exact message to stdout'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from quarantine" -f -a "release" -d 'Send messages to their next hop, with their envelopes, once'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from quarantine" -f -a "delete" -d 'Delete messages'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from quarantine" -f -a "keep" -d 'Have messages not removed by age, whatever `[quarantine] keep` is'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from console" -f -a "user" -d 'Add, change, list and remove accounts of the console'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from state" -f -a "check" -d 'Check the database, held mail and the outbox, and print a remedy for each fault'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from state" -f -a "backup" -d 'Write all of it into one new file, while the gateway runs'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from state" -f -a "restore" -d 'Make a state of a backup, where there is none'
complete -c waxseal -n "__fish_waxseal_using_subcommand help; and __fish_seen_subcommand_from state" -f -a "move" -d 'Move the state to where another configuration has it: from SQLite to PostgreSQL, or back'
