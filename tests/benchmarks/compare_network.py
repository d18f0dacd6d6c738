"""Measures echo servers on coil and its peers by turns and prints the tables.

    bazel run -c opt //tests/benchmarks:compare_network [-- --rounds=5 --seconds=1]

A server is pinned to one core and the load generator (echo_load.cc) to another. Each
round runs every server once for each workload, in another order each time, and the raw
epoll server right before or after each of them, since a machine that changes its speed
does so within seconds. A ratio is that to this neighbour; the tables show medians.

asio, libuv and Go are compiled here, with the compiler that CXX or CC names; what is
not installed is left out by name.
"""

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

RAW = "raw epoll"

# Name, arguments of echo_load but for the seconds, key of what counts, unit, title.
WORKLOADS = [
    ("W8a", ["1", "64"], "p50", "us", "64 B, one connection, p50 of the round trip"),
    ("W8b_64", ["64", "64"], "rate", "/s", "64 B, 64 connections, messages/s"),
    ("W8b_1000", ["1000", "64"], "cpu", "ns", "64 B, 1,000 connections, CPU"),
    ("W8c_16K", ["64", "16384"], "cpu", "ns", "16 KiB, 64 connections, CPU"),
    ("W8c_1M", ["1", "1048576"], "gb", "GB/s", "1 MiB, one connection"),
    ("W10b", None, "bytes", "B", "memory of an idle connection"),
]


def left_out(name, why):
    print("left out: %s (%s)" % (name, why), file=sys.stderr)


def compiler():
    if "CXX" in os.environ:
        return os.environ["CXX"]
    own = os.environ.get("CC", "")
    own = re.sub("gcc", "g++", re.sub("clang", "clang++", own))
    return own if shutil.which(own) else "c++"


def compiled(name, package, command, output):
    """The program as a command, or None if it cannot be compiled."""
    try:
        result = subprocess.run(command + [output], stderr=subprocess.PIPE)
    except OSError as error:
        left_out(name, error)
        return None
    if result.returncode == 0:
        return [output]
    lines = result.stderr.decode(errors="replace").strip().splitlines()
    why = next((line for line in lines if "error" in line), "does not compile")
    left_out(name, "needs %s: %s" % (package, why))
    return None


def compiled_peers(folder, temporary, wanted):
    peers = {}
    cxx = [compiler(), "-std=c++20", "-O2", "-DNDEBUG", "-w", "-pthread"]

    def source(name):
        return os.path.join(folder, name)

    if wanted("asio"):
        peers["asio"] = compiled(
            "asio", "libasio-dev", cxx + [source("asio_echo.cc"), "-o"],
            os.path.join(temporary, "asio_echo"),
        )
    if wanted("libuv"):
        peers["libuv"] = compiled(
            "libuv", "libuv1-dev", cxx + [source("uv_echo.cc"), "-luv", "-o"],
            os.path.join(temporary, "uv_echo"),
        )
    if wanted("Go"):
        peers["Go"] = go_program(source("go_echo.go"), temporary)
    return peers


def go_program(source, temporary):
    if not shutil.which("go"):
        left_out("Go", "not installed")
        return None
    output = os.path.join(temporary, "go_echo")
    environment = dict(os.environ, GO111MODULE="off")
    environment.setdefault("GOCACHE", os.path.join(temporary, "go-cache"))
    result = subprocess.run(
        ["go", "build", "-o", output, source],
        env=environment, stderr=subprocess.PIPE,
    )
    if result.returncode == 0:
        return [output]
    left_out("Go", "does not compile")
    return None


def python_with(module):
    """A Python that has `module`: Debian's packages are for its own one, which need
    not be the first on the PATH."""
    for python in ("python3", "/usr/bin/python3"):
        try:
            subprocess.run(
                [python, "-c", "import " + module],
                check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )
            return python
        except (OSError, subprocess.CalledProcessError):
            continue
    return None


def servers(folder, temporary, wanted):
    own = os.path.join(folder, "coil_echo")
    commands = {
        RAW: [os.path.join(folder, "epoll_echo")],
        "coil": [own, "--poller=epoll"],
        "coil, io_uring": [own, "--poller=io_uring"],
        "coil, io_uring polls": [own, "--poller=io_uring_polls"],
    }
    commands.update(compiled_peers(folder, temporary, wanted))
    script = os.path.join(folder, "asyncio_echo.py")
    uvloop = python_with("uvloop")
    python = uvloop or "python3"
    commands["asyncio"] = [python, script]
    commands["asyncio, streams"] = [python, script, "--streams"]
    if uvloop:
        commands["uvloop"] = [python, script, "--uvloop"]
        commands["uvloop, streams"] = [python, script, "--uvloop", "--streams"]
    else:
        left_out("uvloop", "python3-uvloop is not installed")
    return {n: c for n, c in commands.items() if c and (n == RAW or wanted(n))}


class Pinned:
    """What a child does before it runs: goes to its core, and up in priority."""

    def __init__(self, core, realtime):
        self.core = core
        self.realtime = realtime

    def __call__(self):
        os.sched_setaffinity(0, {self.core})
        if self.realtime:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))


def measure(command, workload, options):
    """What echo_load says of a server that is started for it, or None."""
    _, arguments, _, _, _ = workload
    server = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        preexec_fn=Pinned(options.cores[0], options.realtime),
    )
    try:
        port = server.stdout.readline().strip().decode()
        if not port:
            return None
        load = [os.path.join(options.folder, "echo_load"), port, str(server.pid)]
        if arguments is None:
            load += ["hold", str(options.idle)]
        else:
            load += arguments + [str(options.seconds)]
        result = subprocess.run(
            load, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            timeout=60 + 10 * options.seconds,
            preexec_fn=Pinned(options.cores[1], options.realtime),
        )
        if result.returncode != 0:
            print(result.stderr.decode().strip(), file=sys.stderr)
            return None
        return json.loads(result.stdout.decode())
    except subprocess.TimeoutExpired:
        return None
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def number(value):
    return "{:,.0f}".format(value) if value >= 100 else "%.2f" % value


def table(title, names, rows):
    print("\n%s\n" % title)
    print("| workload | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def medians(samples, names, key, unit):
    """Cells of a row: the median, and that of the ratios to the raw server."""
    for name in names:
        values = [s[key] for s, _ in samples[name] if s]
        if not values:
            yield "-"
            continue
        ratios = [s[key] / r[key] for s, r in samples[name] if s and r and r[key]]
        text = "%s %s" % (number(statistics.median(values)), unit)
        if name != RAW and ratios:
            text += " (%.2f)" % statistics.median(ratios)
        yield text


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1)
    parser.add_argument("--filter", default="", help="workloads, a regular expression")
    parser.add_argument("--servers", default="", help="servers, a regular expression")
    parser.add_argument("--idle", type=int, default=0, help="connections of W10b")
    parser.add_argument(
        "--realtime", action="store_true",
        help="both sides in the class SCHED_FIFO: for root, on a machine that is busy",
    )
    parser.add_argument("--cores", default="", help="of the server and of the load: 0,1")
    parser.add_argument("--folder", default=os.path.dirname(os.path.abspath(__file__)))
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    options.cores = [int(c) for c in options.cores.split(",")] if options.cores else cores
    if len(options.cores) < 2:
        sys.exit("compare_network needs two cores")
    if not options.idle:
        options.idle = 10000 if options.seconds >= 1 else 1000
    workloads = [w for w in WORKLOADS if re.search(options.filter, w[0])]

    with tempfile.TemporaryDirectory(prefix="compare_network") as temporary:
        commands = servers(
            options.folder, temporary, lambda name: re.search(options.servers, name)
        )
        names = list(commands)
        # Of each server pairs of what it and its neighbour said.
        samples = {w[0]: {n: [] for n in names} for w in workloads}

        def run(name, workload):
            sample = measure(commands[name], workload, options)
            if sample is None:
                print("no answer: %s, %s" % (name, workload[0]), file=sys.stderr)
            return sample

        for turn in range(options.rounds):
            others = [n for n in names if n != RAW]
            at = turn % max(1, len(others))
            others = others[at:] + others[:at]
            for workload in workloads:
                of = samples[workload[0]]
                for i in range(0, max(1, len(others)), 2):
                    before = [(n, run(n, workload)) for n in others[i : i + 1]]
                    raw = run(RAW, workload)
                    after = [(n, run(n, workload)) for n in others[i + 1 : i + 2]]
                    of[RAW].append((raw, raw))
                    for name, sample in before + after:
                        of[name].append((sample, raw))

    print(
        "%s, Linux %s, %d cores, load average %.1f; %d rounds of %g s%s"
        % (
            platform.machine(), platform.release(), os.cpu_count(), os.getloadavg()[0],
            options.rounds, options.seconds, ", real-time" if options.realtime else "",
        )
    )
    table(
        "What counts for each workload (ratio to raw epoll):", names,
        [
            ["%s %s" % (w[0], w[4])] + list(medians(samples[w[0]], names, w[2], w[3]))
            for w in workloads
        ],
    )
    load = [w for w in workloads if w[1]]
    for key, unit, title in (("rate", "/s", "Messages/s"), ("cpu", "ns", "CPU for a message")):
        table(
            "%s (ratio to raw epoll):" % title, names,
            [[w[0]] + list(medians(samples[w[0]], names, key, unit)) for w in load],
        )


main()
