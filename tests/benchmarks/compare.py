"""Runs the workloads on coil and its peers by turns and prints one table.

    bazel run -c opt //tests/benchmarks:compare [-- --rounds=5 --filter=W1]

Each round starts every program once for each workload, so that a machine that
changes its speed does so for all. The table shows the median time of one operation
and, for the peers, the ratio to coil. Peers that are not built or installed are
left out by name.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys

WORKLOADS = "W1a W1b W2 W3a W3b W4a W4b W5a W5b W6a W6b W6c W7a W7b W7b_busy_poll W10a"


def programs(folder):
    names = {
        "coil": [os.path.join(folder, "coil_benchmark")],
        "asio": [os.path.join(folder, "asio_benchmark")],
        "libuv": [os.path.join(folder, "uv_benchmark")],
    }
    script = os.path.join(folder, "asyncio_benchmark.py")
    python = python_with("uvloop")
    names["asyncio"] = [python or "python3", script]
    if python:
        names["uvloop"] = [python, script, "--uvloop"]
    else:
        print("left out: uvloop (not installed)", file=sys.stderr)
    return names


def python_with(module):
    """A Python that has `module`: Debian's packages are for its own one, which
    need not be the first on the PATH."""
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


def run(name, command, workload):
    """The time of one operation in seconds, or None."""
    if "python3" in command[0]:
        command = command + ["--filter=^%s$" % workload]
    else:
        command = command + [
            "--benchmark_filter=^%s(/|$)" % workload,
            "--benchmark_format=json",
        ]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if result.returncode != 0:
        return None
    text = result.stdout.decode()
    if "{" not in text:
        return None
    for entry in json.loads(text[text.index("{") :])["benchmarks"]:
        return entry.get("bytes", entry.get("op"))
    return None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--filter", default="")
    parser.add_argument("--folder", default=os.path.dirname(os.path.abspath(__file__)))
    arguments = parser.parse_args()
    peers = {}
    for name, command in programs(arguments.folder).items():
        if "python3" in command[0] or os.path.exists(command[0]):
            peers[name] = command
        else:
            print("left out: %s (not built)" % name, file=sys.stderr)
    print("| workload | " + " | ".join(peers) + " |")
    print("|---|" + "---|" * len(peers))
    for workload in WORKLOADS.split():
        if not re.search(arguments.filter, workload):
            continue
        samples = {name: [] for name in peers}
        for _ in range(arguments.rounds):
            for name, command in peers.items():
                value = run(name, command, workload)
                if value is not None:
                    samples[name].append(value)
        cells = []
        own = statistics.median(samples["coil"]) if samples["coil"] else None
        for name in peers:
            if not samples[name]:
                cells.append("-")
                continue
            value = statistics.median(samples[name])
            scaled = "%.0f B" % value if workload == "W10a" else "%.1f ns" % (value * 1e9)
            if name != "coil" and own:
                scaled += " (%.1fx)" % (value / own)
            cells.append(scaled)
        print("| %s | %s |" % (workload, " | ".join(cells)), flush=True)


main()
