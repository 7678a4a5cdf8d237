"""A mail server, Postfix or sendmail, that passes mail on to one that takes no 8-bit mail (RFC 6152, section 3).

Such a server encodes every 8-bit part anew. `server.py postfix FOLDER` and `server.py sendmail FOLDER ROOT` keep what they
need in FOLDER; ROOT is where the packages of sendmail are unpacked. Each line of standard input is the path of a message.
"""
import os
import pathlib
import re
import smtplib
import socket
import subprocess
import sys
import threading
import queue

SECONDS = 15
FROM, TO = "office@example.org", "desk@partner.example"
arrived = queue.Queue()


def sink(listener):
    """Takes mail by plain SMTP, with no extension at all."""
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=take, args=(connection,), daemon=True).start()


def take(connection):
    stream = connection.makefile("rwb")

    def reply(text):
        stream.write(text + b"\r\n")
        stream.flush()

    reply(b"220 sink.test")
    for line in stream:
        verb = line.strip().upper()
        if verb == b"DATA":
            reply(b"354 go on")
            message = []
            for line in stream:
                if line == b".\r\n":
                    break
                message.append(line[1:] if line.startswith(b".") else line)
            arrived.put(b"".join(message))
            reply(b"250 taken")
        elif verb == b"QUIT":
            reply(b"221 bye")
            return
        else:
            reply(b"250 sink.test" if verb[:4] in (b"EHLO", b"HELO", b"MAIL", b"RCPT", b"RSET") else b"502 no")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def postfix(folder, sink_port):
    """A Postfix of our own; gives how to connect to it."""
    port = free_port()
    for name in ("etc", "queue", "data"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    subprocess.run(["chown", "postfix", folder / "data"], check=True)
    for above in [folder, *folder.parents]:
        if above.stat().st_uid == os.getuid() and above != pathlib.Path("/"):
            above.chmod(above.stat().st_mode | 0o011)
    (folder / "etc/main.cf").write_text(f"""\
compatibility_level = 3.6
queue_directory = {folder}/queue
data_directory = {folder}/data
mydestination =
local_recipient_maps =
alias_maps =
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
relayhost = [127.0.0.1]:{sink_port}
smtpd_relay_restrictions = permit_mynetworks, reject
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
""")
    services = [f"127.0.0.1:{port} inet n - n - - smtpd", "pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup",
                "qmgr unix n - n 300 1 qmgr", "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce",
                "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "smtp unix - - n - - smtp",
                "error unix - - n - - error", "anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache",
                "proxymap unix - - n - - proxymap", "postlog unix-dgram n - n - 1 postlogd"]
    (folder / "etc/master.cf").write_text("\n".join(services) + "\n")
    subprocess.run(["postfix", "-c", folder / "etc", "start"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def send(message):
        with smtplib.SMTP("127.0.0.1", port, timeout=SECONDS) as client:
            client.sendmail(FROM, TO, message, ["BODY=8BITMIME"])
    return send


def sendmail(folder, sink_port, root):
    """A sendmail for each message, which passes it on at once."""
    (folder / "queue").mkdir(parents=True, exist_ok=True)
    (folder / "mc").write_text(f"""\
include(`{root}/usr/share/sendmail/cf/m4/cf.m4')
OSTYPE(`linux')
define(`SMART_HOST', `esmtp:[127.0.0.1]')
define(`ESMTP_MAILER_ARGS', `TCP $h {sink_port}')
define(`QUEUE_DIR', `{folder}/queue')
define(`STATUS_FILE', `{folder}/queue/status')
define(`confDELIVERY_MODE', `interactive')
define(`confTO_IDENT', `0s')
define(`confDONT_BLAME_SENDMAIL', `GroupWritableDirPathSafe,TrustStickyBit')
FEATURE(`accept_unqualified_senders')
FEATURE(`accept_unresolvable_domains')
FEATURE(`nocanonify')
FEATURE(`promiscuous_relay')
MAILER(`smtp')
""")
    made = subprocess.run(["m4", folder / "mc"], check=True, capture_output=True)
    (folder / "cf").write_bytes(made.stdout)
    # It sleeps for a minute where the host's name has no dot, so it gets a name of its own.
    script = f"hostname relay.test; exec {root}/usr/libexec/sendmail/sendmail -C {folder}/cf -bs -odi"
    command = ["unshare", "--uts", "sh", "-c", script]
    environment = {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, pathlib.Path(root).glob("usr/lib/*-linux-gnu")))}

    def send(message):
        stuffed = re.sub(rb"(?m)^\.", b"..", message)
        session = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with session:
            # It takes no command before it has answered the one before.
            for part in (b"", b"EHLO client.test\r\n", b"MAIL FROM:<%s> BODY=8BITMIME\r\n" % FROM.encode(),
                         b"RCPT TO:<%s>\r\n" % TO.encode(), b"DATA\r\n", stuffed + b".\r\n", b"QUIT\r\n"):
                session.stdin.write(part)
                session.stdin.flush()
                while session.stdout.readline()[3:4] == b"-":
                    pass
    return send


def main():
    kind, folder, *root = sys.argv[1:]
    folder = pathlib.Path(folder)
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=sink, args=(listener,), daemon=True).start()
    port = listener.getsockname()[1]
    send = postfix(folder, port) if kind == "postfix" else sendmail(folder, port, *root)
    try:
        for line in sys.stdin:
            path = pathlib.Path(line.rstrip("\n"))
            try:
                while not arrived.empty():
                    arrived.get()
                send(path.read_bytes())
                path.with_suffix(".out").write_bytes(arrived.get(timeout=SECONDS))
            except (OSError, smtplib.SMTPException, subprocess.SubprocessError, queue.Empty) as error:
                print(error, file=sys.stderr)
            print("done", flush=True)
    finally:
        if kind == "postfix":
            subprocess.run(["postfix", "-c", folder / "etc", "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


main()
