import asyncio


async def task(n):
    await asyncio.sleep(n)
    return f"Task {n} done"


async def main():
    results = await asyncio.gather(task(1), task(2), task(3))
    print(results)


asyncio.run(main())
