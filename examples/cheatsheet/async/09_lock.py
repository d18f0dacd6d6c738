import asyncio


async def worker(name, lock):
    async with lock:
        # Use locks to manage access to shared resources in a coroutine.
        # Enter a critical section using async with lock.
        print(name, "enters")
        await asyncio.sleep(1)
        print(name, "leaves")


async def main():
    lock = asyncio.Lock()
    await asyncio.gather(worker("a", lock), worker("b", lock))


asyncio.run(main())
