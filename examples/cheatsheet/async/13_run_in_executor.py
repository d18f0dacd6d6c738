import asyncio
import concurrent.futures
import threading


def sync_function():
    # synchronous code
    return threading.current_thread() is threading.main_thread()


async def main():
    loop = asyncio.get_running_loop()
    in_main_thread = await loop.run_in_executor(None, sync_function)
    print("default executor, main thread:", in_main_thread)
    # Run synchronous code in an executor to prevent blocking the event loop.
    with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
        in_main_thread = await loop.run_in_executor(pool, sync_function)
    print("own executor, main thread:", in_main_thread)


asyncio.run(main())
