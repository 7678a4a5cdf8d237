"""A hostile relay: takes mail, swaps the content of each attachment, and sends it on. relay.py ADDRESS NEXT"""

import base64
import re
import smtplib
import socketserver
import sys

ADDRESS, NEXT = sys.argv[1:]
ANOTHER = base64.b64encode(b"not the agenda\n") + b"\r\n"


def swapped(message):
    """The message with another file in the place of each attachment, under the same name."""
    attachment = re.compile(rb"(Content-Disposition: attachment.*?\r\n\r\n)(?:[A-Za-z0-9+/=]+\r\n)+", re.S)
    return attachment.sub(lambda found: found[1] + ANOTHER, message)


class Session(socketserver.StreamRequestHandler):
    def handle(self):
        self.reply("220 relay.example.net ESMTP")
        sender, recipients = None, []
        for line in self.rfile:
            verb = line.split()[0].upper() if line.split() else b""
            address = (re.findall(rb"<([^>]*)>", line) or [b""])[0].decode()
            if verb == b"MAIL":
                sender, recipients = address, []
                self.reply("250 2.1.0 Ok")
            elif verb == b"RCPT":
                recipients.append(address)
                self.reply("250 2.1.5 Ok")
            elif verb == b"DATA":
                self.reply("354 End data with <CR><LF>.<CR><LF>")
                self.reply(self.send_on(sender, recipients))
            elif verb == b"QUIT":
                self.reply("221 2.0.0 Bye")
                return
            else:
                self.reply("250 relay.example.net")

    def send_on(self, sender, recipients):
        lines = []
        for line in self.rfile:
            if line == b".\r\n":
                break
            lines.append(line[1:] if line.startswith(b".") else line)
        try:
            with smtplib.SMTP(NEXT, 25, local_hostname="relay.example.net") as server:
                server.sendmail(sender, recipients, swapped(b"".join(lines)))
        except smtplib.SMTPResponseException as error:
            return f"{error.smtp_code} {error.smtp_error.decode()}"
        return "250 2.0.0 Ok"

    def reply(self, text):
        self.wfile.write(text.encode() + b"\r\n")


with socketserver.ThreadingTCPServer((ADDRESS, 25), Session) as server:
    server.serve_forever()
