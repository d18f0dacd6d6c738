import asyncio


async def producer(queue):
    for data in range(3):
        await asyncio.sleep(1)
        print("put", data)
        await queue.put(data)


async def consumer(queue):
    for _ in range(3):
        data = await queue.get()
        print("got", data)
    # Use asyncio.Queue for communication between producer and consumer
    # coroutines.


async def main():
    queue = asyncio.Queue()
    await asyncio.gather(producer(queue), consumer(queue))


asyncio.run(main())
