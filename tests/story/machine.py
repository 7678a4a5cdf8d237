"""A site: a fresh Debian with Postfix, which boots in namespaces of its own, and somebody who types at its terminal."""

import os
import pty
import select
import signal
import subprocess
import time
import uuid
from pathlib import Path

from world import NAME_SERVER, NETWORK, PATH, Failed, run, wait_for


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
        answers = f"postfix postfix/main_mailer_type select Internet Site\npostfix postfix/mailname string {domain}"
        self.world("sh", "-c", f"echo '{answers}' | debconf-set-selections")
        self.apt("postfix")
        self.world("useradd", "--create-home", "--shell", "/bin/bash", "admin")
        (self.root / "etc/sudoers.d/admin").write_text("admin ALL=(ALL) NOPASSWD: ALL\n")

    def _boot(self):
        # systemd wants a group of its own.
        self.group = (
            next(
                path
                for path in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
                if (path / "cgroup.procs").exists()
            )
            / self.namespace
        )
        self.group.mkdir()
        command = [
            "ip",
            "netns",
            "exec",
            self.namespace,
            "unshare",
            "--mount",
            "--uts",
            "--ipc",
            "--pid",
            "--cgroup",
            "--fork",
            "--kill-child",
        ]
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
        wait_for(
            f"{self.short} runs",
            lambda: self.try_world("systemctl", "is-active", "multi-user.target").returncode == 0,
            180,
        )

    def entering(self, *arguments):
        enter = ["nsenter", "-t", self.init, "-m", "-u", "-i", "-n", "-p", "-r", "-w"]
        return [
            *enter,
            "env",
            "-i",
            "HOME=/root",
            f"PATH={PATH}",
            "LANG=C.UTF-8",
            "TERM=dumb",
            "DEBIAN_FRONTEND=noninteractive",
            *arguments,
        ]

    def world(self, *arguments):
        """Does something that is none of the tutorial's business."""
        return run(*self.entering(*arguments))

    def apt(self, *packages):
        self.world("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "install", "-y", *packages)

    def try_world(self, *arguments):
        return subprocess.run(
            self.entering(*arguments), stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace"
        )

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
        """What it has logged last, for people."""
        if self.machine is None:
            return ""
        lines = "journalctl --no-pager -o cat -n 300 | grep -v -e pam_ -e '(to admin)' -e COMMAND= | tail -n 30"
        return self.try_world("sh", "-c", lines).stdout

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
