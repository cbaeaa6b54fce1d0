"""The processes that share one training or evaluation, as `torchrun` starts them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

import edgerkd.jobs.host  # noqa: F401  first: see there
from edgerkd.core.errors import ConfigError
from edgerkd.distill.parallel import Parallel, peers

MEETING = timedelta(minutes=10)  # for all to have started: reading the data may take one of them long
_LONGEST = 8192  # bytes of a text that ranks tell each other
WORK = timedelta(days=7)  # for the slowest to finish; a rank that ends early is noticed at once in any case


class Ranks(Parallel):
    """This process's number and how many there are, with what they need to work at one job."""

    __slots__ = ()

    def agree(self, digest: str) -> None:
        """Wait for all, and make sure that they do the same. Raises ConfigError where one has other flags or files."""
        if self.world == 1:
            return
        mine = torch.frombuffer(bytearray.fromhex(digest), dtype=torch.uint8)
        all_of_them = [torch.empty_like(mine) for _ in range(self.world)]
        with peers():
            dist.all_gather(all_of_them, mine, group=self.group)
        odd = [rank for rank, other in enumerate(all_of_them) if other.tolist() != all_of_them[0].tolist()]
        if odd:
            raise ConfigError(
                f"ranks {odd} are doing other work than rank 0: give every machine the same run, data, flags and "
                "versions"
            )

    def tell(self, text: str) -> str:
        """What the first rank says, for all. Raises LostRankError where one has ended."""
        if self.world == 1:
            return text
        padded = torch.frombuffer(bytearray(text.encode().ljust(_LONGEST, b"\0")), dtype=torch.uint8)
        with peers():
            dist.broadcast(padded, src=0, group=self.group)
        return bytes(padded.tolist()).rstrip(b"\0").decode()

    def wait(self) -> None:
        """Wait until all are here. Raises LostRankError where one has ended."""
        if self.world > 1:
            with peers():
                dist.barrier(group=self.group)


ALONE = Ranks()


@contextmanager
def open_ranks() -> Iterator[Ranks]:
    """This process's place among those that torchrun started; alone where it did not."""
    world = _number("WORLD_SIZE", 1)
    if world == 1:
        yield ALONE
        return
    rank = _number("RANK", None)
    try:
        dist.init_process_group("gloo", timeout=MEETING)
        group = dist.new_group(timeout=WORK)
    except (ValueError, RuntimeError) as e:
        raise ConfigError(f"WORLD_SIZE is {world} but the other processes cannot be reached ({e}): use torchrun") from e
    try:
        assert isinstance(group, dist.ProcessGroup)  # all ranks are in it
        yield Ranks(rank=rank, world=world, group=group)
    finally:
        dist.destroy_process_group()


def _number(name: str, default: int | None) -> int:
    text = os.environ.get(name, "" if default is None else str(default))
    try:
        return int(text)
    except ValueError as e:
        raise ConfigError(f"{name} is {text!r} in the environment, not a number: use torchrun") from e
