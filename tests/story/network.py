"""The network between the sites, with a name server for the whole of DNS, and a relay that swaps attachments."""

import os
import subprocess
import sys
from pathlib import Path

from world import NAME_SERVER, NETWORK, RELAY, run


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
            [
                "ip",
                "netns",
                "exec",
                self.name,
                sys.executable,
                str(Path(__file__).with_name("relay.py")),
                RELAY,
                f"{NETWORK}.20",
            ],
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
            lines = [
                "$TTL 1",
                f"@ SOA ns.example.net. hostmaster.example.net. {serial} 3600 600 86400 1",
                "@ NS ns.example.net.",
            ]
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
        for arguments in (
            ["link", "set", "lo", "up"],
            ["address", "add", f"{site.address}/24", "dev", "eth0"],
            ["link", "set", "eth0", "up"],
        ):
            run("ip", "-n", site.namespace, *arguments)

    def end(self):
        for process in (self.server, self.relay):
            process.terminate()
            process.wait()
        for namespace in [*self.sites, self.name]:
            run("ip", "netns", "del", namespace)
