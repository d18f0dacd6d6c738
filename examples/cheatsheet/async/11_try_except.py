import asyncio


class SomeException(Exception):
    pass


async def some_coroutine():
    await asyncio.sleep(1)
    raise SomeException("something went wrong")


async def main():
    try:
        result = await some_coroutine()
        print(result)
    except SomeException as e:
        print(f"An error occurred: {e}")
    # Use try-except blocks to handle exceptions in asynchronous code.


asyncio.run(main())
