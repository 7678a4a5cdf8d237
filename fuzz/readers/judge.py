"""waxseal itself: seals seeds, and judges many messages in one process."""
import json
import pathlib
import subprocess

DOMAIN = "example.org"


class Judge:
    def __init__(self, program, folder, lax=False):
        self.program, self.folder, self.lax = program, pathlib.Path(folder), lax
        self.key = self.folder / "key.pem"
        made = subprocess.run([program, "keygen", "--domain", DOMAIN, "--selector", "gate1", "--out", self.key],
                              capture_output=True, text=True, check=True).stdout
        record = next(line.split('"')[1] for line in made.splitlines() if "_attachment-seal" in line)
        self.pins = self.folder / "pins"
        (self.pins / DOMAIN).mkdir(parents=True)
        (self.pins / DOMAIN / "gate1.txt").write_text(record + "\n")

    def seal(self, message):
        """The sealed message, or None where waxseal refuses it."""
        command = [self.program, "seal", "--key", self.key, "--domain", DOMAIN, "--selector", "gate1"]
        sealed = subprocess.run(command, input=message, capture_output=True)
        return sealed.stdout if sealed.returncode == 0 and sealed.stdout.startswith(b"Attachment-Seal:") else None

    def verify(self, paths):
        """A result for each path, in their order. A lax judge finds everything to be in order."""
        if self.lax:
            return [{"verdict": "pass"} for _ in paths]
        command = [self.program, "verify", "--keys", self.pins, "--no-dns", "--json", *paths]
        lines = subprocess.run(command, cwd=self.folder, capture_output=True, text=True).stdout.splitlines()
        results = [json.loads(line) for line in lines]
        if [result["file"] for result in results] != [str(path) for path in paths]:
            raise RuntimeError(f"waxseal judged {len(results)} of {len(paths)} messages")
        return results
