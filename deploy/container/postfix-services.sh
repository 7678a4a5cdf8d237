#!/bin/sh
# Puts waxseal into the Postfix of docker-mailserver or of mailcow, after the queue of the first smtpd:
#
#   Internet -> postscreen, smtpd :25, milters -> queue -> waxseal :10128 -> smtpd :10127 -> queue -> mailbox
#   users    -> smtpd :587, :465, milters      -> queue -> waxseal :10125 -> smtpd :10126 -> queue -> Internet
#
# Both run it at each start, before Postfix: docker-mailserver as docker-data/dms/config/user-patches.sh, mailcow as
# data/hooks/postfix/waxseal.sh. To run it twice does no harm. README.md in this folder explains it.
set -eu

if [ -d /opt/postfix/conf ]; then
    # mailcow. Change these if you changed IPV4_NETWORK in mailcow.conf.
    config=/opt/postfix/conf
    postfix=172.22.1.253
    waxseal=172.22.1.230
    # Port 25, and mail that you release from mailcow's own quarantine.
    incoming='smtpd/pass 590/inet'
    # Submission, the same behind HAProxy, and webmail.
    outgoing='submission/inet smtps/inet 10587/inet 10465/inet 588/inet'
else
    # docker-mailserver. The addresses are those of compose.override.yaml.
    config=/etc/postfix
    postfix=172.31.25.2
    waxseal=172.31.25.3
    incoming='smtpd/pass'
    outgoing='submission/inet submissions/inet'
fi

# The command itself: mailcow has a script of this name that adds `-c`.
postconf() {
    /usr/sbin/postconf -c "$config" "$@"
}

# Sets options of a service in master.cf: options NAME/TYPE OPTION=VALUE... Those that are set stay, because each change
# moves comments in the file.
options() {
    of=$1
    shift
    for option in "$@"; do
        [ "$(postconf -P "$of/${option%%=*}" 2>/dev/null)" = "$of/${option%%=*} = ${option#*=}" ] \
            || postconf -P "$of/$option"
    done
}

# Adds a service to master.cf: service NAME/TYPE FIELDS OPTION=VALUE...
service() {
    name=$1 fields=$2
    shift 2
    [ -n "$(postconf -M "$name" 2>/dev/null)" ] || postconf -M "$name=${name%/*} ${name#*/} $fields"
    options "$name" "$@"
}

# Takes mail back from waxseal: takes_back PORT NAME OVERRIDES. It was checked where it came in, so nothing here checks,
# counts or changes it. Only waxseal may connect.
takes_back() {
    service "$postfix:$1/inet" 'n - n - - smtpd' \
        "syslog_name=postfix/$2" \
        "mynetworks=$waxseal/32" \
        smtpd_client_restrictions=permit_mynetworks,reject \
        smtpd_helo_restrictions= \
        smtpd_sender_restrictions= \
        smtpd_relay_restrictions=permit_mynetworks,reject \
        smtpd_recipient_restrictions=permit_mynetworks,reject \
        smtpd_data_restrictions= \
        smtpd_end_of_data_restrictions= \
        "smtpd_authorized_xforward_hosts=$waxseal/32" \
        "receive_override_options=no_unknown_recipient_checks,no_header_body_checks,no_milters$3" \
        local_header_rewrite_clients= \
        smtpd_soft_error_limit=1001 \
        smtpd_hard_error_limit=1000 \
        smtpd_client_connection_count_limit=0 \
        smtpd_client_connection_rate_limit=0 \
        smtpd_tls_security_level=none \
        smtpd_sasl_auth_enable=no
}

# Carries mail to waxseal, as it is. These settings undo those that main.cf has for mail to the Internet: a relay, a
# password, TLS, and header_checks that would remove fields.
service waxseal/unix '- - n - 20 smtp' \
    syslog_name=postfix/waxseal \
    smtp_send_xforward_command=yes \
    smtp_data_done_timeout=600s \
    smtp_line_length_limit=0 \
    smtp_header_checks= \
    smtp_generic_maps= \
    smtp_fallback_relay= \
    smtp_bind_address= \
    smtp_sasl_auth_enable=no \
    smtp_tls_policy_maps= \
    smtp_tls_security_level=none

# Incoming mail: aliases and SRS come after waxseal, so that the quarantine has the envelope as it was sent.
takes_back 10127 verified ''
for name in $incoming; do
    options "$name" "content_filter=waxseal:[$waxseal]:10128" receive_override_options=no_address_mappings
done

# Your users' mail: what rewrites addresses in header fields comes before the seal.
takes_back 10126 sealed ,no_address_mappings
for name in $outgoing; do
    options "$name" "content_filter=waxseal:[$waxseal]:10125"
done
