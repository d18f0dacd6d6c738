"""Runs a program of asyncio in virtual time: virtual_time.py PROGRAM. The seconds that it sleeps take none."""

import asyncio
import runpy
import sys


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    def __init__(self):
        super().__init__()
        self._virtual_now = 0.0
        self._real_select = self._selector.select
        self._selector.select = self._select

    def time(self):
        return self._virtual_now

    def _select(self, timeout):
        if timeout is None:   # a thread is at work: wait for it
            return self._real_select(None)
        events = self._real_select(0)
        if not events:
            self._virtual_now += timeout
        return events


class Policy(asyncio.DefaultEventLoopPolicy):
    def new_event_loop(self):
        return VirtualTimeLoop()


asyncio.set_event_loop_policy(Policy())
runpy.run_path(sys.argv[1], run_name='__main__')
