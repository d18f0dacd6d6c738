import asyncio


async def coroutine1():
    print("coroutine1 starts")
    await asyncio.sleep(1)
    print("coroutine1 ends")


async def coroutine2():
    print("coroutine2 starts")
    await asyncio.sleep(2)
    print("coroutine2 ends")


async def main():
    # The event loop manages asynchronous tasks and coroutines.
    # Use asyncio.gather() to run multiple coroutines concurrently.
    await asyncio.gather(coroutine1(), coroutine2())


if __name__ == "__main__":
    # Run the main event loop using asyncio.run().
    asyncio.run(main())
