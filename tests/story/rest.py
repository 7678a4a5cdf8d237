"""The second part: the tutorial's other commands. What it has the administrator edit, and other people's work, is done here."""

import re

from document import filled
from first import ENTER, expect, publish
from world import Failed, wait_for

EXAMPLES = "/usr/share/doc/waxseal/examples"
AUTHORITY = "/usr/local/share/ca-certificates/story.crt"


def rest(document, network, sender, receiver):
    for step in (held_mail, doctor, fail2ban, undone, submission, undone, by_hand, front, provider):
        step(document, network, sender, receiver)


def held_mail(document, network, sender, receiver):
    sender.type(document.command("waxseal demo"))
    unsealed = document.command("swaks --server mx.partner.example --from dolma@example.org")
    sender.type(unsealed)
    sender.type(unsealed)
    listed = receiver.type(document.command("quarantine list"))
    ids = re.findall(r"^(\d{8}T\S+) .* missing ", listed, re.M)
    if len(ids) != 2:
        raise Failed(f"not two unsealed messages:\n{listed}")
    expect("no seal", receiver.type(filled(document.command("quarantine show"), {"ID": ids[0]})))
    receiver.type(filled(document.command("quarantine export"), {"ID": ids[0]}))
    expect("agenda.txt", receiver.read("/home/admin/held.eml"))
    before = receiver.read("/var/mail/jampa").count("From dolma@")
    receiver.type(filled(document.command("quarantine release"), {"ID": ids[0]}))
    wait_for(
        "the released message arrives", lambda: receiver.read("/var/mail/jampa").count("From dolma@") == before + 1
    )
    receiver.type(filled(document.command("quarantine delete"), {"ID": ids[1]}))
    if re.search(r" missing ", receiver.type(document.command("quarantine list"))):
        raise Failed("still there")

    # A copy of the mail, and the pins, on the machine of somebody who looks at them.
    receiver.world(
        "mkdir",
        "-p",
        "/home/admin/Maildir/cur",
        "/home/admin/Maildir/new",
        "/home/admin/Maildir/tmp",
        "/home/admin/pins/example.org",
    )
    receiver.write(f"/home/admin/pins/example.org/{sender.selector}.txt", sender.record + "\n")
    first = receiver.read("/var/mail/jampa").split("\nFrom ")[0]
    receiver.write("/home/admin/Maildir/cur/1", first.split("\n", 1)[1])
    receiver.type(document.command("waxseal scan"))


def doctor(document, network, sender, receiver):
    """The doctor, and its probes. `example.net` is the receiver's other domain, and `me` reads mail at both sites."""
    for site in (sender, receiver):
        site.world("useradd", "--create-home", "me")
        expect("problems: 0", site.type(document.exactly("sudo waxseal doctor"), status=None).splitlines()[-1])
    receiver.world("postconf", "-e", "mydestination = $myhostname, partner.example, example.net, localhost")
    receiver.world("postfix", "reload")
    sender.type(document.command("--probe me@example.net"))
    probe = wait_for("the probe arrives", lambda: receiver.read("/var/mail/me"))
    sender.write("/home/admin/probe.eml", probe.split("\n", 1)[1])
    sender.type(document.command("--arrived"))
    expect("me@example.org", sender.type(document.command("--probe me@example.org")))
    wait_for("the other probe arrives", lambda: sender.read("/var/mail/me"))


def fail2ban(document, network, sender, receiver):
    receiver.apt("fail2ban", "python3-systemd")
    # Debian 12's own jail for sshd does not start without a log file, and stops them all.
    receiver.write("/etc/fail2ban/jail.d/story.local", "[sshd]\nenabled = false\n")
    receiver.world("systemctl", "restart", "fail2ban")
    wait_for("fail2ban runs", lambda: receiver.try_world("fail2ban-client", "ping").returncode == 0)
    receiver.type(document.command("fail2ban/waxseal.conf"))
    receiver.type(document.command("systemctl reload fail2ban"))
    expect("waxseal", receiver.world("fail2ban-client", "status"))
    receiver.type(document.command("journalctl"))
    expect("listener", receiver.read("/tmp/waxseal.log") or receiver.world("cat", "/tmp/waxseal.log"))
    receiver.type(document.command("fail2ban-regex"))


def submission(document, network, sender, receiver):
    """The sender's site gets a submission service, the receiver's has rspamd, and setup is run again at both."""
    for site in (sender, receiver):
        site.apt("dovecot-core")
        site.write(
            "/etc/dovecot/conf.d/99-story.conf",
            "service auth {\n  unix_listener /var/spool/postfix/private/auth {\n    mode = 0666\n  }\n}\n",
        )
        site.world("systemctl", "restart", "dovecot")
        site.world("postconf", "-e", "smtpd_sasl_type = dovecot", "smtpd_sasl_path = private/auth")
        site.world("useradd", "--create-home", "dolma")
        site.world("sh", "-c", "echo dolma:secret | chpasswd")
    enable_submission(sender)
    add_rspamd(receiver)
    sender.type(document.exactly("sudo waxseal setup"), ENTER)
    expect("stay at port 25", receiver.type(document.exactly("sudo waxseal setup"), ENTER))
    before = receiver.read("/var/mail/jampa").count("x-attachment-seal=pass")
    sender.type(document.command("--auth-user dolma"), [("Password", "secret")])
    wait_for(
        "mail of the submission service arrives sealed",
        lambda: receiver.read("/var/mail/jampa").count("x-attachment-seal=pass") > before,
    )
    looks = receiver.read("/var/mail/jampa").split("\nFrom ")[-1].count("\nX-Spamd-Result:")
    if looks != 1:
        raise Failed(f"rspamd looked at the message {looks} times")
    receiver.world("postconf", "-X", "smtpd_milters")


def add_rspamd(site):
    """Looks at what arrives, and notes in each message that it did."""
    site.apt("rspamd")
    site.write("/etc/rspamd/local.d/milter_headers.conf", 'use = ["x-spamd-result"];\n')
    site.world("systemctl", "restart", "rspamd")
    wait_for("rspamd listens", lambda: ":11332" in site.world("ss", "-ltn"))
    site.world("postconf", "-e", "smtpd_milters=inet:localhost:11332")
    site.world("postfix", "reload")


def enable_submission(site):
    """As Debian's master.cf has it, without the #."""
    site.world("postconf", "-M", "submission/inet=submission inet n - y - - smtpd")
    for option in (
        "syslog_name=postfix/submission",
        "smtpd_tls_security_level=encrypt",
        "smtpd_sasl_auth_enable=yes",
        "smtpd_relay_restrictions=permit_sasl_authenticated,reject",
    ):
        site.world("postconf", "-P", f"submission/inet/{option}")
    site.world("postfix", "reload")


def undone(document, network, sender, receiver):
    for site in (sender, receiver):
        site.type(document.command("setup --undo"))
        if "10027" in site.read("/etc/postfix/master.cf"):
            raise Failed(f"{site.short}: not as it was")


def by_hand(document, network, sender, receiver):
    """The same without setup: the key, the wirings' files, and their lines in master.cf."""
    sender.type(document.command("sudo install -d -o waxseal"))
    printed = sender.type(document.command("keygen --domain example.org --selector gate1"))
    sender.type(document.command("sudo chown waxseal:"))
    sender.world("rm", *[f"/etc/waxseal/keys/example.org/{name}" for name in other_keys(sender)])
    publish(network, sender, printed)

    wire(sender, "submission", ["submission"])
    sender.type(document.command("check-config && sudo systemctl enable --now"))
    sender.type(document.command("sudo postfix reload"))

    config = receiver.read(f"{EXAMPLES}/postfix/proxy-filter/waxseal.toml")
    wire(
        receiver,
        "proxy-filter",
        ["smtp"],
        re.sub(r"^keys = \[.*\]", f'keys = ["{sender.record}"]', config, flags=re.M),
    )
    # Its exit status is 1, because the configuration pins the domain, too.
    receiver.try_world("waxseal", "keys", "forget", "--pin", "example.org")
    receiver.type(document.command("check-config && sudo systemctl enable --now"))
    receiver.type(document.command("sudo postfix reload"))

    before = receiver.read("/var/mail/jampa").count("header.s=gate1")
    sender.type(document.command("--auth-user dolma"), [("Password", "secret")])
    wait_for(
        "mail arrives sealed with the new key",
        lambda: receiver.read("/var/mail/jampa").count("header.s=gate1") > before,
    )

    receiver.world("sh", "-c", "cd /home/admin && waxseal root new --domain example.org > root.txt")
    receiver.type(document.command("--root root.txt"))


def other_keys(site):
    return [path.name for path in (site.root / "etc/waxseal/keys/example.org").iterdir() if path.name != "gate1.pem"]


def wire(site, wiring, replaced, config=None):
    """Copies a wiring's waxseal.toml, and puts its lines into master.cf in the place of these services."""
    site.write("/etc/waxseal/waxseal.toml", config or site.read(f"{EXAMPLES}/postfix/{wiring}/waxseal.toml"))
    for service in replaced:
        site.world("postconf", "-MX", f"{service}/inet")
    site.write(
        "/etc/postfix/master.cf",
        site.read("/etc/postfix/master.cf") + site.read(f"{EXAMPLES}/postfix/{wiring}/master.cf"),
    )


def front(document, network, sender, receiver):
    """waxseal has port 25 of the receiver, from systemd, and a certificate of the story's authority."""
    certify(receiver, "mx.partner.example", sender)
    receiver.write("/root/hook", document.scripts[0])
    receiver.world("postconf", "-MX", "smtp/inet", "127.0.0.1:10027/inet")
    receiver.write(
        "/etc/postfix/master.cf",
        receiver.read("/etc/postfix/master.cf") + receiver.read(f"{EXAMPLES}/postfix/front/master.cf"),
    )
    receiver.write("/etc/waxseal/waxseal.toml", receiver.read(f"{EXAMPLES}/postfix/front/waxseal.toml"))
    receiver.world(
        "sh", "-c", "sed '/^systemctl/d' /root/hook > /root/first && RENEWED_LINEAGE=/root/lineage sh /root/first"
    )
    receiver.type(document.command("sudo postfix reload"))
    receiver.type(document.command("systemctl stop waxseal"))
    receiver.type(document.command("waxseal-inbound.socket"))
    expect(
        "Verify return code: 0", sender.type(document.command("openssl s_client"), [("Verify return code", "QUIT")])
    )
    receiver.world("sh", "-c", "RENEWED_LINEAGE=/root/lineage sh /root/hook")
    expect("Relay access denied", sender.type(document.command("--to b@example.com"), status=None))


MAKE_CERTIFICATE = """
set -e
mkdir -p /root/lineage
cd /root/lineage
openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=authority -keyout ca.key -out ca.pem
openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -addext "subjectAltName=DNS:$1" -keyout privkey.pem -out request.pem
openssl x509 -req -in request.pem -days 30 -CA ca.pem -CAkey ca.key -CAcreateserial -copy_extensions copy -out fullchain.pem
"""


def certify(site, name, *readers):
    """A certificate where certbot leaves it, of an authority that these sites trust."""
    site.world("sh", "-c", MAKE_CERTIFICATE, "certify", name)
    for reader in readers:
        reader.write(AUTHORITY, site.read("/root/lineage/ca.pem"))
        reader.world("update-ca-certificates")


def provider(document, network, sender, receiver):
    """The sender's gateway takes submissions for a provider, whose server is the receiver's machine."""
    certify(receiver, "smtp.provider.example", sender)
    enable_submission(receiver)
    receiver.world("postconf", "-e", "smtpd_tls_chain_files = /root/lineage/privkey.pem, /root/lineage/fullchain.pem")
    receiver.world("postfix", "reload")
    certify(sender, "mail.example.org")
    sender.world("install", "-m", "644", "/root/lineage/fullchain.pem", "/etc/waxseal/tls.pem")
    sender.world("install", "-m", "640", "-g", "waxseal", "/root/lineage/privkey.pem", "/etc/waxseal/tls.key")
    sender.world("postconf", "-MX", "submission/inet", "127.0.0.1:10026/inet")
    sender.world("postfix", "reload")
    sender.write("/etc/waxseal/waxseal.toml", sender.read(f"{EXAMPLES}/provider/waxseal.toml"))
    sender.type(document.command("port-25.conf"))
    sender.type(document.exactly("sudo systemctl daemon-reload && sudo systemctl restart waxseal"))
    expect(
        "530 5.7.0 authentication required",
        sender.type(document.command("--to a@example.net", ":587"), status=None).lower(),
    )
