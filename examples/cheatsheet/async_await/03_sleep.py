import asyncio


async def other():
    print("others run meanwhile")


async def main():
    task = asyncio.create_task(other())
    await asyncio.sleep(2)  # Non-blocking sleep
    print("two seconds later")
    await task


asyncio.run(main())
