import asyncio


async def some_coroutine(seconds):
    await asyncio.sleep(seconds)
    print(f"done after {seconds} s")


async def main():
    # The sheet says "with", which is an error: it is "async with".
    async with asyncio.timeout(5):
        await some_coroutine(1)
    try:
        async with asyncio.timeout(5):
            await some_coroutine(10)
    except TimeoutError:
        print("timed out")
    # Timeout a coroutine if it doesn't complete within the specified time.


asyncio.run(main())
