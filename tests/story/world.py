"""The world that the tutorial takes for granted: fresh Debians that boot with systemd, a network, name servers, mailboxes."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

NETWORK = "198.51.100"
NAME_SERVER = f"{NETWORK}.1"
RELAY = f"{NETWORK}.66"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What an administrator has who reads the tutorial. The rest is fetched, so that `apt install` needs no network.
BASE_PACKAGES = ["sudo", "ca-certificates", "openssl", "ssl-cert"]
FETCHED_PACKAGES = ["swaks", "libnet-ssleay-perl", "libio-socket-ssl-perl", "fail2ban", "python3-systemd", "dovecot-core", "rspamd"]


class Failed(Exception):
    """The story did not go as it should."""


def run(*arguments, **options):
    """Runs a program; what it prints is shown only where it fails."""
    done = subprocess.run(
        arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **options
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
        return run("chroot", str(self.folder), "env", "-i", "HOME=/root", f"PATH={PATH}", "LANG=C.UTF-8", "DEBIAN_FRONTEND=noninteractive", *arguments)


def mirror_here():
    """Where this machine has its Debian from."""
    for path in [Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("*"))]:
        text = path.read_text() if path.is_file() else ""
        found = re.search(r"^(?:URIs:|deb(?: \[[^]]*\])?) (\S+/debian/?)(?:\s|$)", text, re.M)
        if found:
            return found[1]
    return None


class Network:
    """A bridge in a namespace of its own, with a name server for the whole of DNS, and a relay that swaps attachments."""

    def __init__(self, folder):
        self.name = f"story{os.getpid()}"
        self.transcript = open(folder / "transcript", "w")
        self.folder = folder / "dns"
        self.folder.mkdir()
        self.zones = {
            "example.org": ["@ MX 10 mail", f"mail A {NETWORK}.10"],
            "partner.example": ["@ MX 10 mx", f"mx A {NETWORK}.20"],
            "example.net": ["@ MX 10 mx", f"mx A {NETWORK}.20", f"relay A {RELAY}"],
            "provider.example": [f"smtp A {NETWORK}.20"],
            ".": [],
        }
        self.sites = []
        run("ip", "netns", "add", self.name)
        self.ip("link", "set", "lo", "up")
        self.ip("link", "add", "lan", "type", "bridge")
        self.ip("link", "set", "lan", "up")
        for address in (NAME_SERVER, RELAY):
            self.ip("address", "add", f"{address}/24", "dev", "lan")
        self._configure()
        self.server = subprocess.Popen(
            ["ip", "netns", "exec", self.name, "knotd", "-c", str(self.folder / "knot.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.relay = subprocess.Popen(
            ["ip", "netns", "exec", self.name, sys.executable, str(Path(__file__).with_name("relay.py")), RELAY, f"{NETWORK}.20"],
            stdout=subprocess.DEVNULL,
        )

    def ip(self, *arguments):
        run("ip", "-n", self.name, *arguments)

    def _configure(self):
        zones = "".join(f"  - domain: {zone}\n    file: {zone.strip('.') or 'root'}.zone\n" for zone in self.zones)
        (self.folder / "knot.conf").write_text(
            f"server:\n  listen: {NAME_SERVER}@53\n  rundir: {self.folder}\n  user: root:root\n"
            f"database:\n  storage: {self.folder}\ntemplate:\n  - id: default\n    storage: {self.folder}\n"
            f"zone:\n{zones}"
        )
        self._write(1)

    def _write(self, serial):
        self.serial = serial
        for zone, records in self.zones.items():
            lines = ["$TTL 1", f"@ SOA ns.example.net. hostmaster.example.net. {serial} 3600 600 86400 1", "@ NS ns.example.net."]
            if zone == "example.net":
                lines.append(f"ns A {NAME_SERVER}")
            path = self.folder / f"{zone.strip('.') or 'root'}.zone"
            path.write_text(f"$ORIGIN {zone.rstrip('.')}.\n" + "\n".join(lines + records) + "\n")

    def publish(self, zone, records):
        """Puts records into a zone, as its administrator does."""
        self.zones[zone] += records
        self._write(self.serial + 1)
        run("knotc", "-c", str(self.folder / "knot.conf"), "-b", "zone-reload")

    def remove(self, zone, record):
        self.zones[zone].remove(record)
        self.publish(zone, [])

    def plug(self, site):
        """Connects a site's network namespace."""
        run("ip", "netns", "add", site.namespace)
        self.sites.append(site.namespace)
        self.ip("link", "add", site.short, "type", "veth", "peer", "name", "eth0", "netns", site.namespace)
        self.ip("link", "set", site.short, "master", "lan", "up")
        for arguments in (["link", "set", "lo", "up"], ["address", "add", f"{site.address}/24", "dev", "eth0"], ["link", "set", "eth0", "up"]):
            run("ip", "-n", site.namespace, *arguments)

    def end(self):
        for process in (self.server, self.relay):
            process.terminate()
            process.wait()
        for namespace in [*self.sites, self.name]:
            run("ip", "netns", "del", namespace)


BOOT = r"""
set -e
root=$1
hostname "$2"
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sys "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
# Not chroot: a process in a chroot may make no user namespace, and the unit wants one.
cd "$root"
pivot_root . mnt
umount -l /mnt
exec env -i container=story PATH=/usr/sbin:/usr/bin:/sbin:/bin /sbin/init
"""


class Site:
    """A Debian with Postfix that somebody has just set up, booted."""

    def __init__(self, base, network, folder, short, hostname, domain, address):
        self.root = folder / short
        self.short, self.hostname, self.domain = short, hostname, domain
        self.address = address = f"{NETWORK}.{address}"
        self.namespace = f"{network.name}{short}"
        self.typed = []
        self.transcript = network.transcript
        self.seconds = 0.0
        self.machine = None
        self.network = network
        self.base = base

    def start(self):
        """Copies the base, boots it, and installs Postfix."""
        address, hostname, domain = self.address, self.hostname, self.domain
        run("cp", "-a", "--reflink=auto", str(self.base.folder), str(self.root))
        (self.root / "etc/hostname").write_text(hostname.split(".")[0] + "\n")
        (self.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{address} {hostname} {hostname.split('.')[0]}\n")
        (self.root / "etc/resolv.conf").write_text(f"nameserver {NAME_SERVER}\n")
        (self.root / "etc/mailname").write_text(domain + "\n")
        (self.root / "etc/machine-id").write_text(uuid.uuid4().hex + "\n")
        # The network is there before the machine is, so nothing has to wait for it.
        (self.root / "etc/systemd/system/systemd-networkd-wait-online.service").symlink_to("/dev/null")
        self.network.plug(self)
        self._boot()
        self.world("sh", "-c", f"printf 'postfix postfix/main_mailer_type select Internet Site\npostfix postfix/mailname string {domain}\n' | debconf-set-selections")
        self.apt("postfix")
        self.world("useradd", "--create-home", "--shell", "/bin/bash", "admin")
        (self.root / "etc/sudoers.d/admin").write_text("admin ALL=(ALL) NOPASSWD: ALL\n")

    def _boot(self):
        # systemd wants a group of its own.
        self.group = next(path for path in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if (path / "cgroup.procs").exists()) / self.namespace
        self.group.mkdir()
        command = ["ip", "netns", "exec", self.namespace, "unshare", "--mount", "--uts", "--ipc", "--pid", "--cgroup", "--fork", "--kill-child"]
        self.machine = subprocess.Popen(
            [*command, "bash", "-c", BOOT, "boot", str(self.root), self.hostname.split(".")[0]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=lambda: (self.group / "cgroup.procs").write_text(str(os.getpid())),
        )
        children = Path(f"/proc/{self.machine.pid}/task/{self.machine.pid}/children")
        self.init = wait_for(f"{self.short} has a process 1", lambda: children.read_text().strip())
        # Until then its root is this machine's.
        wait_for(f"{self.short} boots", lambda: os.readlink(f"/proc/{self.init}/exe").endswith("systemd"))
        wait_for(f"{self.short} runs", lambda: self.try_world("systemctl", "is-active", "multi-user.target").returncode == 0, 180)

    def entering(self, *arguments):
        enter = ["nsenter", "-t", self.init, "-m", "-u", "-i", "-n", "-p", "-r", "-w"]
        return [*enter, "env", "-i", "HOME=/root", f"PATH={PATH}", "LANG=C.UTF-8", "TERM=dumb", "DEBIAN_FRONTEND=noninteractive", *arguments]

    def world(self, *arguments):
        """Does something that is none of the tutorial's business."""
        return run(*self.entering(*arguments))

    def apt(self, *packages):
        self.world("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "install", "-y", *packages)

    def try_world(self, *arguments):
        return subprocess.run(self.entering(*arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")

    def type(self, command, answers=(), status=0):
        """Types a command as the administrator, answers its questions, and returns what it prints."""
        self.typed.append(command)
        print(f"{self.short}$ {command}", flush=True)
        begun = time.monotonic()
        printed, ended = converse(self.entering("su", "-", "admin", "-c", command), list(answers))
        self.seconds += time.monotonic() - begun
        self.transcript.write(f"{self.short}$ {command}\n{printed}\n")
        self.transcript.flush()
        if status is not None and ended != status:
            raise Failed(f"{self.short}$ {command}\nexit status {ended}:\n{printed[-4000:]}")
        return printed

    def log(self):
        """What its gateway and its Postfix have logged last, for people."""
        return "" if self.machine is None else self.try_world("sh", "-c", "journalctl --no-pager -o cat -n 300 | grep -v -e pam_ -e '(to admin)' -e COMMAND= | tail -n 30").stdout

    def read(self, path):
        file = self.root / path.lstrip("/")
        return file.read_text(errors="replace") if file.exists() else ""

    def write(self, path, text):
        (self.root / path.lstrip("/")).write_text(text)

    def end(self):
        if self.machine is None:
            return
        # The kernel ends every process of a namespace with its process 1.
        self.machine.kill()
        self.machine.wait()
        wait_for("the group is empty", lambda: "populated 0" in (self.group / "cgroup.events").read_text(), 20)
        for folder, _, _ in os.walk(self.group, topdown=False):
            os.rmdir(folder)


def converse(arguments, answers):
    """Runs a program at a terminal. Each answer is a pair: what the question has in it, and what is typed."""
    child, terminal = pty.fork()
    if child == 0:
        os.execvp(arguments[0], arguments)
    printed, seen = b"", 0
    deadline = time.monotonic() + 240
    while True:
        ready, _, _ = select.select([terminal], [], [], 1)
        if ready:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                data = b""
            if not data:
                break
            printed += data
        while answers and answers[0][0].encode() in printed[seen:]:
            seen = len(printed)
            os.write(terminal, answers.pop(0)[1].encode() + b"\n")
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            break
    _, status = os.waitpid(child, 0)
    text = printed.decode(errors="replace").replace("\r\n", "\n")
    if answers:
        raise Failed(f"never asked: {answers[0][0]}\n{text[-4000:]}")
    return text, os.waitstatus_to_exitcode(status)
