import asyncio


async def coroutine1():
    print("coroutine1 runs")
    await asyncio.sleep(1)
    return 1


async def coroutine2():
    print("coroutine2 runs")
    await asyncio.sleep(1)
    return 2


async def main():
    task1 = asyncio.create_task(coroutine1())
    task2 = asyncio.create_task(coroutine2())
    # Create tasks to run coroutines concurrently and await their completion.
    print("sum:", await task1 + await task2)


asyncio.run(main())
