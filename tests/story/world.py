"""The world that the tutorial takes for granted, its least part: where it is, and a fresh Debian to copy."""

import re
import shutil
import subprocess
import time
from pathlib import Path

NETWORK = "198.51.100"
NAME_SERVER = f"{NETWORK}.1"
RELAY = f"{NETWORK}.66"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What an administrator has who reads the tutorial. The rest is fetched, so that `apt install` needs no network.
BASE_PACKAGES = ["sudo", "ca-certificates", "openssl", "ssl-cert"]
FETCHED_PACKAGES = [
    "swaks",
    "libnet-ssleay-perl",
    "libio-socket-ssl-perl",
    "fail2ban",
    "python3-systemd",
    "dovecot-core",
    "rspamd",
]


class Failed(Exception):
    """The story did not go as it should."""


def run(*arguments, **options):
    """Runs a program; what it prints is shown only where it fails."""
    done = subprocess.run(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        **options,
    )
    if done.returncode != 0:
        raise Failed(f"{' '.join(arguments)}\n{done.stdout[-3000:]}")
    return done.stdout


def wait_for(what, condition, seconds=60):
    """Waits until something is so, and returns it."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() > deadline:
            raise Failed(f"not within {seconds} s: {what}")
        time.sleep(0.2)


class Base:
    """A fresh Debian in a folder, to be copied. It is on the machine's network; the copies are not."""

    def __init__(self, suite, folder):
        self.folder = folder
        if (folder / "etc/waxseal-story").exists():
            return
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "etc/debian_version").exists():
            mirror = mirror_here()
            run("debootstrap", suite, str(folder), *([mirror] if mirror else []))
        for path in Path("/etc/apt/apt.conf.d").glob("99*"):
            shutil.copy(path, folder / "etc/apt/apt.conf.d")
        for name in ("resolv.conf", "hosts"):
            shutil.copy(f"/etc/{name}", folder / "etc" / name)
        self.inside("apt-get", "-qq", "update")
        self.apt("install", "-y", *BASE_PACKAGES)
        self.apt("install", "-y", "--download-only", "postfix", *FETCHED_PACKAGES)
        (folder / "etc/waxseal-story").touch()

    def apt(self, *arguments):
        # Packages start nothing here: there is no systemd yet.
        guard = self.folder / "usr/sbin/policy-rc.d"
        guard.write_text("#!/bin/sh\nexit 101\n")
        guard.chmod(0o755)
        self.inside("apt-get", "-qq", "-o", "APT::Sandbox::User=root", *arguments)
        guard.unlink()

    def inside(self, *arguments):
        return run(
            "chroot",
            str(self.folder),
            "env",
            "-i",
            "HOME=/root",
            f"PATH={PATH}",
            "LANG=C.UTF-8",
            "DEBIAN_FRONTEND=noninteractive",
            *arguments,
        )


def mirror_here():
    """Where this machine has its Debian from."""
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        text = path.read_text() if path.is_file() else ""
        found = re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?) (\S+/debian/?)(?:\s|$)", text, re.M)
        if found:
            return found[1]
    return None
