"""The mail readers: each runs in one process of its own, and answers path after path."""
import json
import os
import pathlib
import queue
import shutil
import subprocess
import threading

HERE = pathlib.Path(__file__).resolve().parent
ADAPTERS = HERE / "adapters"
INSTALLED = HERE.parents[1] / "target" / "readers"  # what pip and npm installed, and JavaMail's class
PIP = str(INSTALLED / "venv/bin/python")
JARS = "/usr/share/java/javax.mail.jar:/usr/share/java/javax.activation.jar"

COMMANDS = {
    "python-email": ["/usr/bin/python3", "python_email.py"],
    "python-compat32": ["/usr/bin/python3", "python_compat32.py"],
    "gmime": ["/usr/bin/python3", "gmime.py"],
    "flanker": [PIP, "flanker_mime.py"],
    "mail-parser": [PIP, "mail_parser.py"],
    "MIME::Parser": ["perl", "mime_parser.pl"],
    "Email::MIME": ["perl", "email_mime.pl"],
    "Mail::Box": ["perl", "mail_box.pl"],
    "mailparser": ["node", "mailparser.js"],
    "postal-mime": ["node", "postal_mime.js"],
    "emailjs": ["node", "emailjs.js"],
    "php-mailparse": ["php", "mailparse.php"],
    "ruby-mail": ["ruby", "mail.rb"],
    "JavaMail": ["java", "-XX:+UseSerialGC", "-Xmx256m", "-cp", f"{JARS}:{INSTALLED}", "JavaMail"],
    "munpack": ["/usr/bin/python3", "unpackers.py", "munpack"],
    "ripmime": ["/usr/bin/python3", "unpackers.py", "ripmime"],
    "reformime": ["/usr/bin/python3", "reformime.py"],
    "uudeview": ["/usr/bin/python3", "unpackers.py", "uudeview"],
    "mshow": ["/usr/bin/python3", "unpackers.py", "mshow"],
}
PROBE = b"From: a@example.org\r\nSubject: x\r\nMIME-Version: 1.0\r\nContent-Type: application/pdf; name=a.pdf\r\n" \
    b"Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\nJVBERg==\r\n"


class Reader:
    """One running mail reader. It is started anew when it died, or gave no answer in time."""

    def __init__(self, name):
        self.name = name
        self.start()

    def start(self):
        environment = {**os.environ, "NODE_PATH": str(INSTALLED / "node_modules"), "PYTHONPATH": str(ADAPTERS),
                       "PYTHONWARNINGS": "ignore"}
        link = ADAPTERS / "node_modules"
        if not link.is_symlink() and (INSTALLED / "node_modules").is_dir():
            link.symlink_to(os.path.relpath(INSTALLED / "node_modules", ADAPTERS))
        self.process = subprocess.Popen(COMMANDS[self.name], cwd=ADAPTERS, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.answers = queue.Queue()
        threading.Thread(target=self.listen, args=(self.process, self.answers), daemon=True).start()

    @staticmethod
    def listen(process, answers):
        for line in process.stdout:
            answers.put(line)
        answers.put(None)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def ask(self, path, seconds=30):
        """The files that the reader shows of the message: [kind, name, hash, size] each, or {"error": …}."""
        try:
            self.process.stdin.write(f"{path}\n".encode())
            self.process.stdin.flush()
            line = self.answers.get(timeout=seconds)
        except (OSError, queue.Empty):
            line = None
        if line is None:
            self.stop()
            self.start()
            return {"error": "no answer"}
        return json.loads(line)


def installed(folder, without=()):
    """The readers that work here but for those left out, and the names of those that don't."""
    probe = pathlib.Path(folder) / "probe.eml"
    probe.write_bytes(PROBE)
    working, missing = [], []
    for name, command in COMMANDS.items():
        if name in without:
            continue
        tool = {"unpackers.py": command[-1], "reformime.py": "reformime"}.get(command[1], command[0])
        if shutil.which(tool) is None:
            missing.append(name)
            continue
        reader = Reader(name)
        answer = reader.ask(probe)
        if isinstance(answer, list) and [found[3] for found in answer] == [4]:
            working.append(reader)
        else:
            reader.stop()
            missing.append(f"{name} ({answer})")
    return working, missing


def ask_all(readers, path):
    """Every reader's answer. They work at the same time."""
    answers = {}

    def ask(reader):
        answers[reader.name] = reader.ask(path)

    threads = [threading.Thread(target=ask, args=(reader,)) for reader in readers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
