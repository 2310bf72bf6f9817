#!/usr/bin/env python3
"""Runs a server for as long as somebody holds this program's standard input open.

usage: hold.py LOG PROGRAM ARGUMENT...

The server gets a session, and so a process group, of its own; its id is the first line of standard output. When standard
input ends, which happens however the holder ends, the whole group is asked to end, and killed 10 s later. When the server
ends by itself, this ends too, with 1.
"""
import os
import select
import signal
import subprocess
import sys
import time


ASKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heed():
    """A child inherits what is ignored."""
    for asked in ASKED:
        signal.signal(asked, signal.SIG_DFL)


def group_lives(group):
    try:
        os.killpg(group, 0)
        return True
    except ProcessLookupError:
        return False


def send(group, what):
    try:
        os.killpg(group, what)
    except ProcessLookupError:
        pass


def main():
    log, command = sys.argv[1], sys.argv[2:]
    with open(log, "ab") as out:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=heed,
        )
    print(server.pid, flush=True)
    while server.poll() is None:
        ready, _, _ = select.select([sys.stdin], [], [], 0.2)
        if ready and not os.read(sys.stdin.fileno(), 1024):
            break
    ended_itself = server.poll() is not None
    send(server.pid, signal.SIGTERM)
    until = time.monotonic() + 10
    while group_lives(server.pid) and time.monotonic() < until:
        server.poll()
        time.sleep(0.1)
    send(server.pid, signal.SIGKILL)
    server.wait()
    return 1 if ended_itself else 0


if __name__ == "__main__":
    # These reach the holder too, whose end is what counts: who ends with the group it is in cannot end the server.
    for asked in ASKED:
        signal.signal(asked, signal.SIG_IGN)
    sys.exit(main())
