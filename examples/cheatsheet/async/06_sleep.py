import asyncio


async def main():
    print("before")
    await asyncio.sleep(1)
    # Suspend the coroutine for the specified number of seconds.
    print("after")


asyncio.run(main())
