"""What ordinary mail software does to a message that it passes on: each handler takes octets and gives octets."""
import copy
import email
import email.policy
import os
import pathlib
import select
import shutil
import subprocess
from email.mime.text import MIMEText

ADAPTERS = pathlib.Path(__file__).resolve().parent / "adapters"
INSTALLED = ADAPTERS.parents[2] / "target" / "handlers"  # what pip and npm installed, and JavaMail's class
JARS = "/usr/share/java/javax.mail.jar:/usr/share/java/javax.activation.jar"
PYTHON2 = shutil.which("python2.7") or "python2.7"
SECONDS = 20

# Programs that take the path of a message on a line, and write what they make of it to the same path with `.out`.
ADAPTED = {
    "gmime": ["/usr/bin/python3", "gmime.py"],
    "mailman2": [PYTHON2, "mailman2.py"],
    "mailman3": [str(INSTALLED / "venv/bin/python"), "mailman3.py"],
    "MIME::Parser": ["perl", "mime_parser.pl"],
    "ruby-mail": ["ruby", "mail.rb"],
    "JavaMail": ["java", "-XX:+UseSerialGC", "-Xmx256m", "-cp", f"{JARS}:{INSTALLED}", "Regenerate"],
    "mailsplit": ["node", "mailsplit.js"],
    "nodemailer": ["node", "nodemailer.js"],
}
SENDMAIL = INSTALLED / "sendmail"  # where its packages are unpacked, beside Debian's Postfix, which excludes it
FOOTER = (ADAPTERS / "footer.txt").read_text()


class Adapter:
    """One running program. It is started anew when it died, or gave no answer in time."""

    def __init__(self, command, folder):
        self.command, self.path = command, folder / "message"
        self.start()

    def start(self):
        environment = {**os.environ, "NODE_PATH": str(INSTALLED / "node_modules"), "PYTHONWARNINGS": "ignore"}
        self.process = subprocess.Popen(self.command, cwd=ADAPTERS, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def __call__(self, message):
        made = self.path.with_suffix(".out")
        made.unlink(missing_ok=True)
        self.path.write_bytes(message)
        self.process.stdin.write(f"{self.path}\n".encode())
        self.process.stdin.flush()
        if not select.select([self.process.stdout], [], [], SECONDS)[0] or not self.process.stdout.readline():
            self.stop()
            self.start()
            raise TimeoutError("no answer")
        return made.read_bytes()

    def stop(self):
        """Ends it: politely first, since a mail server must be stopped."""
        self.process.stdin.close()
        try:
            self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def python(policy):
    return lambda message: email.message_from_bytes(message, policy=policy).as_bytes()


def wrapped(message):
    """The whole body in a multipart/mixed with a footer, as lists do to all that is not plain text."""
    outer = email.message_from_bytes(message)
    inner = copy.deepcopy(outer)
    for name in set(inner.keys()):
        del (outer if name.lower().startswith("content-") else inner)[name]
    if "mime-version" not in outer:
        outer["MIME-Version"] = "1.0"
    outer["Content-Type"] = "multipart/mixed"
    footer = MIMEText(FOOTER, "plain", "us-ascii")
    footer["Content-Disposition"] = "inline"
    outer.set_payload([inner, footer])
    return outer.as_bytes()


def command(*words):
    def handle(message):
        return subprocess.run(words, input=message.replace(b"\r\n", b"\n"), capture_output=True, timeout=SECONDS).stdout
    return handle


def altermime(folder):
    def handle(message):
        path = folder / "altermime"
        path.write_bytes(message.replace(b"\r\n", b"\n"))
        subprocess.run(["altermime", f"--input={path}", f"--disclaimer={ADAPTERS / 'footer.txt'}", "--htmltoo"],
                       cwd=folder, capture_output=True, timeout=SECONDS)
        return path.read_bytes()
    return handle


def all_of(folder):
    """Every handler by its name, and the running programs among them."""
    adapted = dict(ADAPTED)
    if os.geteuid() == 0 and shutil.which("postfix"):
        adapted["postfix"] = ["/usr/bin/python3", "server.py", "postfix", str(folder / "postfix")]
    if SENDMAIL.exists():
        adapted["sendmail"] = ["/usr/bin/python3", "server.py", "sendmail", str(folder / "sendmail"), str(SENDMAIL)]
    adapters = {name: Adapter(words, folder) for name, words in adapted.items() if shutil.which(words[0])}
    handlers = {
        "none": lambda message: message,
        "python-compat32": python(email.policy.compat32),
        "python-SMTP": python(email.policy.SMTP),
        "wrapped": wrapped,
        "reformime-7bit": command("reformime", "-r7"),
        "reformime-8bit": command("reformime", "-r8"),
        "altermime": altermime(folder),
        **adapters,
    }
    return handlers, adapters.values()
