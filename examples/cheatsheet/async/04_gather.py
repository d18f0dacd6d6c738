import asyncio


async def coroutine1():
    await asyncio.sleep(2)
    print("coroutine1 is done")
    return 1


async def coroutine2():
    await asyncio.sleep(1)
    print("coroutine2 is done")
    return 2


async def main():
    results = await asyncio.gather(coroutine1(), coroutine2())
    # Concurrently run multiple coroutines and await their completion.
    print(*results)


asyncio.run(main())
