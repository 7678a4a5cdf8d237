"""The commands of the tutorial, as it has them: in blocks that are indented by four columns."""

import ast
import re
import sys
import textwrap
from pathlib import Path

TUTORIAL = "deploy/README.md"
# From here on it is for those who have no package.
APPENDIX = "\n## Appendix"

# A line of a block is a command if it begins with one of these, or with `$ `; then the other lines are what it prints.
PROGRAMS = {"sudo", "waxseal", "echo", "swaks", "openssl", "systemctl", "journalctl", "fail2ban-regex"}
# The first line of a block that has no commands: settings, a script, a DNS record, a header field, the way of mail.
OTHERS = re.compile(r"[a-z_]+ = |\[[a-z]+\]$|#!/bin/sh$|\S+ IN TXT |Authentication-Results: |.* -> ")


class Document:
    """A document's commands, each to be run at least once."""

    def __init__(self, path, end):
        text = path.read_text()
        if end:
            text, found, _ = text.partition(end)
            if not found:
                raise ValueError(f"{path}: no heading {end}")
        self.path = path
        self.scripts = []
        self.commands = []
        for block in blocks(text):
            self.commands += self._commands_of(block)
        self.run = set()

    def _commands_of(self, block):
        prompted = [line[2:] for line in block if line.startswith("$ ")]
        if prompted:
            return [bare(line) for line in prompted]
        if block[0].startswith("#!"):
            self.scripts.append("\n".join(block) + "\n")
        if OTHERS.match(block[0]):
            return []
        for line in block:
            if line.split()[0] not in PROGRAMS:
                raise ValueError(f"{self.path}: neither a command nor a setting: {line}")
        return [bare(line) for line in block]

    def command(self, *words):
        """The one command that has all of these words."""
        found = [command for command in self.commands if all(word in command for word in words)]
        if len(set(found)) != 1:
            raise LookupError(f"{self.path}: {len(found)} commands have {words}: {found}")
        self.run.add(found[0])
        return found[0]

    def exactly(self, command):
        """The command, if the document has it."""
        if command not in self.commands:
            raise LookupError(f"{self.path}: no command {command}")
        self.run.add(command)
        return command

    def left(self):
        """The commands that were not run."""
        return [command for command in self.commands if command not in self.run]


def blocks(text):
    """Each block's lines, without their indentation; a line that ends in a backslash goes on in the next."""
    block, before = [], ""
    for line in [*text.split("\n"), ""]:
        if line.startswith("    ") and (block or not before.strip()):
            if block and block[-1].endswith("\\"):
                block[-1] = block[-1][:-1].rstrip() + " " + line.strip()
            else:
                block.append(line)
        elif block:
            yield textwrap.dedent("\n".join(block)).split("\n")
            block = []
        before = line


def bare(command):
    """A command without the remark at its end."""
    return re.sub(r"\s{2,}# .*", "", command)


def filled(command, names):
    """A command with what stands in the place of the document's examples."""
    for example, name in names.items():
        if example not in command:
            raise LookupError(f"`{command}` has no {example}")
        command = command.replace(example, name)
    return command


def covered(document, sources):
    """Looks up what the parts of the story look up, without doing it; returns the commands that they leave out."""
    asked = re.compile(r'document\.(command|exactly)\(((?:"[^"]*"(?:, )?)+)\)')
    for source in sources:
        for name, words in asked.findall(source.read_text()):
            getattr(document, name)(*ast.literal_eval(f"({words},)"))
    return document.left()


if __name__ == "__main__":
    here = Path(__file__).resolve().parent
    left = covered(Document(here.parents[1] / TUTORIAL, APPENDIX), [here / "first.py", here / "rest.py"])
    sys.exit("\n".join(["tests/story types no", *left]) if left else 0)
