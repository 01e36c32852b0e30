"""What an attack must not do: cost anyone else an RPC, take memory without bound, or leave anything behind."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from honest import Honest
from service import SHOP, Service, Usage, wait_until

# Honest RPCs before the attack, at least while it goes on, and after it.
BEFORE, MEANWHILE, AFTER = 20, 30, 20
MOST_ROUNDS = 50
# How much the process may have grown, in MiB, after all attacks so far, unless one needs more.
GROWTH_MIB = 96


@dataclass
class Attack:
    """One attack under way."""

    service: Service
    honest: Honest
    figures: dict[str, int] = field(default_factory=dict)
    """What it tried, and what came of it."""

    def rounds(self) -> Iterator[int]:
        """Once, and again until the honest client has been served meanwhile; but not for ever."""
        aim = self.honest.look() + MEANWHILE
        for turn in range(MOST_ROUNDS):
            yield turn
            if self.honest.look() >= aim:
                return
        self.honest.go_on(1)

    def count(self, **figures: int) -> None:
        """Adds to the figures."""
        for what, number in figures.items():
            name = what.replace("_", " ")
            self.figures[name] = self.figures.get(name, 0) + number


def honest(service: Service, **settings: float) -> Honest:
    return Honest(service.address, service.authority.certificate, service.clients[SHOP], **settings)


@contextmanager
def endured(service: Service, began: Usage, growth_mib: int = GROWTH_MIB, loops: int = 2) -> Iterator[Attack]:
    """Around an attack: an honest client goes on all the time; afterwards all is as it `began`. `growth_mib` is the
    most that the
    process may have grown since then; with one of `loops` it keeps its connection, with two it also connects anew."""
    service.forget_peak()
    with honest(service, loops=loops) as client:
        client.go_on(BEFORE)
        attack, start, issued = Attack(service, client), time.monotonic(), client.issued
        yield attack
        seconds, meanwhile = time.monotonic() - start, client.look() - issued
        client.go_on(AFTER)
        report = client.stop()
    growth = (service.peak_kib() - began.rss_kib) / 1024
    figures = ", ".join(f"{count} {what}" for what, count in attack.figures.items())
    told = f"{report}, {meanwhile} tokens meanwhile; memory +{growth:.1f} MiB at most"
    print(f"ATTACK {figures} in {seconds:.1f} s; honest client: {told}")
    assert not report.errors, f"the honest client got {dict(report.errors)}"
    assert growth <= growth_mib
    released(service, began)


def released(service: Service, began: Usage) -> None:
    """Waits until nothing is left of an attack."""
    wait_until("no connection is left", lambda: service.connections() == 0)
    wait_until("no RPC is in flight", lambda: service.metric("rpcs_in_flight") == 0)
    wait_until("no descriptor is left", lambda: service.usage().descriptors <= began.descriptors)
    wait_until("no thread is left", lambda: service.usage().threads <= began.threads)
