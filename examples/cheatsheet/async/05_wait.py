import asyncio


async def coroutine1():
    await asyncio.sleep(1)
    return "coroutine1"


async def coroutine2():
    await asyncio.sleep(2)
    return "coroutine2"


async def main():
    # The sheet passes the coroutines themselves, which is an error since Python
    # 3.11: asyncio.wait() takes tasks. It also means to wait for any of them.
    tasks = [asyncio.create_task(coroutine1()), asyncio.create_task(coroutine2())]
    done, pending = await asyncio.wait(
        tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        print("done:", task.result())
    print("pending:", len(pending))
    for task in pending:
        task.cancel()


asyncio.run(main())
