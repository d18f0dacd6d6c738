import asyncio


async def async_function():
    # Define asynchronous functions using the async keyword.
    # Asynchronous code can be executed within these functions.
    print("inside an async function")


asyncio.run(async_function())
