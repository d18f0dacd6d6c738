"""The workloads W1-W7 and W10a on CPython's asyncio, or on uvloop with --uvloop.

Prints what google benchmark prints with --benchmark_format=json, as far as
compare.py reads it. --filter=REGEX chooses workloads.
"""

import argparse
import asyncio
import concurrent.futures
import json
import re
import sys
import threading
import time


async def child(i):
    return i + 1


async def W1a(n=300_000):
    for i in range(n):
        await child(i)
    return n


async def W1b(n=50_000):
    for i in range(n):
        await asyncio.create_task(child(i))
    return n


async def W2(n=100_000):
    await asyncio.gather(*[asyncio.create_task(child(i)) for i in range(n)])
    return n


async def W3a(n=50_000):
    ping, pong = asyncio.Event(), asyncio.Event()

    async def first():
        for _ in range(n):
            pong.set()
            await ping.wait()
            ping.clear()

    async def second():
        for _ in range(n):
            await pong.wait()
            pong.clear()
            ping.set()

    await asyncio.gather(first(), second())
    return 2 * n


async def W3b(tasks=1000, n=200):
    async def yielder():
        for _ in range(n):
            await asyncio.sleep(0)

    await asyncio.gather(*[yielder() for _ in range(tasks)])
    return tasks * n


async def through_queue(pairs, n):
    queue = asyncio.Queue(128)

    async def put(count):
        for i in range(count):
            await queue.put(i)

    async def get(count):
        for _ in range(count):
            await queue.get()

    await asyncio.gather(
        *[put(n // pairs) for _ in range(pairs)],
        *[get(n // pairs) for _ in range(pairs)],
    )
    return n


async def W4a():
    return await through_queue(1, 200_000)


async def W4b():
    return await through_queue(10, 200_000)


async def contend(n, yields):
    lock = asyncio.Lock()

    async def worker():
        for _ in range(n):
            async with lock:
                if yields:
                    await asyncio.sleep(0)

    await asyncio.gather(*[worker() for _ in range(100)])
    return 100 * n


async def W5a():
    return await contend(2000, False)


async def W5b():
    return await contend(500, True)


async def W6b(n=100_000):
    loop = asyncio.get_running_loop()
    for _ in range(n):
        loop.call_later(1, print).cancel()
    return n


async def W6c(n=30_000):
    for i in range(n):
        async with asyncio.timeout(1):
            await child(i)
    return n


async def W7a(n=100_000):
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    received = 0

    def receive():
        nonlocal received
        received += 1
        if received == n:
            done.set_result(None)

    def post():
        for _ in range(n):
            loop.call_soon_threadsafe(receive)

    thread = threading.Thread(target=post)
    thread.start()
    await done
    thread.join()
    return n


async def W7b(n=10_000):
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        for _ in range(n):
            await loop.run_in_executor(pool, int)
    return n


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("--filter", default="")
    arguments = parser.parse_args()
    if arguments.uvloop:
        import uvloop

        uvloop.install()
    results = []
    for workload in (W1a, W1b, W2, W3a, W3b, W4a, W4b, W5a, W5b, W6b, W6c, W7a, W7b):
        if not re.search(arguments.filter, workload.__name__):
            continue
        wall, cpu = time.perf_counter(), time.process_time()
        n = asyncio.run(workload())
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        results.append(
            {
                "name": workload.__name__,
                "op": (wall if workload in (W7a, W7b) else cpu) / n,
            }
        )
    json.dump({"benchmarks": results}, sys.stdout)


main()
