import asyncio


async def coroutine():
    print("working")
    await asyncio.sleep(1)
    return 42


async def main():
    result = await coroutine()
    # Use the await keyword to pause execution until the coroutine completes.
    print("result:", result)


asyncio.run(main())
