import asyncio


async def worker(n, semaphore, running):
    async with semaphore:
        # Use semaphores to limit the number of coroutines that can run
        # concurrently. Enter a critical section with a limited number of permits.
        running.append(n)
        print(f"worker {n}: {len(running)} inside")
        await asyncio.sleep(n)
        running.remove(n)


async def main():
    semaphore = asyncio.Semaphore(5)
    running = []
    await asyncio.gather(*(worker(n, semaphore, running) for n in range(1, 8)))


asyncio.run(main())
