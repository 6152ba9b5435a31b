"""Several vLLM servers with one model: which are up, which adapters each has, and bringing them to what is wanted.

What a vLLM loaded at run time is lost when it restarts and is not spread to its replicas. So the wanted adapters are
kept here, and a thread looks at every replica again and again: one that came back is given its adapters before it gets
requests for them.
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import httpx

from tunesmith.engine.backends._processes import Processes
from tunesmith.engine.backends._remote import refusal
from tunesmith.engine.backends._targets import Target
from tunesmith.errors import EngineError, ModelError, TunesmithError

__all__ = ["Card", "Replicas", "card_of"]

_log = logging.getLogger(__name__)
_LOOK_SECONDS = 10.0
_LOAD_SECONDS = 300.0


class Card:
    """What /v1/models says: the base model's name, its context length and all names that can be asked for."""

    def __init__(self, document: Mapping[str, object]) -> None:
        data = document.get("data")
        cards = [card for card in data if isinstance(card, dict)] if isinstance(data, list) else []
        bases = [card for card in cards if not card.get("parent")]
        if not bases:
            raise EngineError("The server says that it serves no model.")
        self.base = str(bases[0]["id"])
        length = bases[0].get("max_model_len")
        self.context = int(length) if isinstance(length, int) else None
        self.names = frozenset(str(card["id"]) for card in cards)


def card_of(client: httpx.Client, url: str) -> Card:
    """Ask the server at `url`. Raises EngineError when it refuses, httpx.TransportError when it is not there."""
    response = client.get(f"{url}/models")
    if response.status_code != httpx.codes.OK:
        raise EngineError(f"{url}/models answers {refusal(response.status_code, response.content)}")
    return Card(response.json())


class _Replica:
    """One server as it was last seen. Whole values are put in place of old ones, so that readers need no lock."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.alive = False
        self.base = ""
        self.adapters: frozenset[str] = frozenset()
        self.refused: frozenset[str] = frozenset()
        self.complaint = ""


class Replicas:
    """The servers of a vLLM engine.

    `check(digest, path)` raises ModelError for an adapter that vLLM would not serve as it was trained. `place(path)`
    is where the servers see the folder `path`. `processes` are those that this engine started.
    """

    def __init__(
        self,
        urls: Sequence[str],
        client: httpx.Client,
        *,
        check: Callable[[str, Path], None],
        place: Callable[[Path], str],
        processes: Processes,
        look_seconds: float,
    ) -> None:
        self._replicas = tuple(_Replica(url) for url in urls)
        self._client = client
        self._check = check
        self._place = place
        self._processes = processes
        self._look_seconds = look_seconds
        self._wanted: dict[str, str] = {}
        self._unwanted: set[str] = set()
        self._turn = itertools.count()
        self._changing = threading.RLock()
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="tunesmith-vllm", daemon=True)

    def begin(self) -> None:
        """Look at all replicas once and then, in a thread, for ever."""
        self.refresh()
        self._thread.start()

    def pick(self, adapter: str | None, tried: set[str]) -> Target | None:
        """The next of the live replicas in turn that has the adapter."""
        count, first = len(self._replicas), next(self._turn)
        for offset in range(count):
            replica = self._replicas[(first + offset) % count]
            if replica.alive and replica.url not in tried and (adapter is None or adapter in replica.adapters):
                return Target(replica.url, adapter or replica.base)
        return None

    def lost(self, target: Target, *, reachable: bool) -> None:
        """Give the replica nothing more until it has been looked at again."""
        for replica in self._replicas:
            if replica.url == target.url:
                replica.alive = reachable
                replica.adapters -= {target.model}
        self._wake.set()

    def refresh(self) -> None:
        """Look at every replica and give it what it lacks."""
        for replica in self._replicas:
            with self._changing:
                self._look_at(replica)

    def load(self, digest: str, path: Path) -> None:
        """Load the adapter on every live replica; the others get it when they are back.

        Raises ModelError when it is none that vLLM serves or a replica refuses it, EngineError when none is up.
        """
        self._check(digest, path)
        place = self._place(path)
        with self._changing:
            live = [replica for replica in self._replicas if replica.alive]
            self._wanted[digest] = place
            self._unwanted.discard(digest)
            try:
                for replica in live:
                    self._give(replica, digest, place)
                if not any(digest in replica.adapters for replica in self._replicas):
                    raise EngineError("No vLLM replica is up to load the adapter on.")
            except TunesmithError:
                self.unload(digest)
                raise

    def unload(self, digest: str) -> None:
        """Take the adapter from every replica; from those that are away when they are back with it."""
        with self._changing:
            self._wanted.pop(digest, None)
            self._unwanted.add(digest)
            for replica in self._replicas:
                if replica.alive:
                    self._take(replica, digest)

    def close(self) -> None:
        """Stop looking, take our adapters from the servers that go on without us, stop those we started."""
        self._stopped.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if not self._processes.started:
            for digest in tuple(self._wanted):
                self.unload(digest)
        self._processes.stop()
        self._client.close()

    @property
    def complaints(self) -> str:
        """What is wrong with the replicas that are not up."""
        return "; ".join(f"{one.url}: {one.complaint}" for one in self._replicas if not one.alive)

    @property
    def ready(self) -> bool:
        """Whether all replicas are up."""
        return all(replica.alive for replica in self._replicas)

    def _watch(self) -> None:
        while not self._stopped.is_set():
            self._wake.wait(self._look_seconds)
            self._wake.clear()
            if self._stopped.is_set():
                return
            try:
                self._processes.restart_dead()
            except OSError:
                _log.exception("vLLM cannot be started again")
            self.refresh()

    def _look_at(self, replica: _Replica) -> None:
        was_alive = replica.alive
        try:
            card = card_of(self._client, replica.url)
            replica.base = card.base
            replica.adapters = card.names & self._wanted.keys()
            replica.alive = True  # until giving or taking finds that it is not
            for digest in self._wanted.keys() - card.names:
                self._give_back(replica, digest)
            for digest in self._unwanted & card.names:
                self._take(replica, digest)
        except (httpx.HTTPError, ValueError, TunesmithError) as error:
            replica.alive = False
            replica.complaint = f"{type(error).__name__}: {error}"
        if was_alive != replica.alive:
            _log.warning("vLLM at %s is %s", replica.url, "up" if replica.alive else f"away ({replica.complaint})")

    def _give_back(self, replica: _Replica, digest: str) -> None:
        """Load a wanted adapter that the replica lacks. When it is refused (its folder may be gone), it alone is away
        there: the base and the other adapters are asked as before.
        """
        if not replica.alive:
            return
        try:
            self._give(replica, digest, self._wanted[digest])
        except ModelError as error:
            if digest not in replica.refused:
                _log.warning("%s", error)
            replica.refused |= {digest}
        else:
            replica.refused -= {digest}

    def _give(self, replica: _Replica, digest: str, place: str) -> None:
        """Load an adapter; one that is there already under its digest is the same and is loaded over."""
        body = {"lora_name": digest, "lora_path": place, "load_inplace": True}
        try:
            response = self._client.post(f"{replica.url}/load_lora_adapter", json=body, timeout=_LOAD_SECONDS)
        except httpx.TransportError as error:
            replica.alive, replica.complaint = False, str(error)
            return
        known = response.status_code == 400 and b"already been loaded" in response.content
        if response.status_code != httpx.codes.OK and not known:
            hint = (
                "Start it with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True."
                if b'"detail":"Not Found"' in response.content
                else f"It reads the folder itself: {place} must be there for it (see the option paths)."
            )
            raise ModelError(
                f"vLLM at {replica.url} refuses the adapter {digest[:12]} with "
                f"{refusal(response.status_code, response.content)}",
                hint=hint,
            )
        replica.adapters |= {digest}

    def _take(self, replica: _Replica, digest: str) -> None:
        replica.adapters -= {digest}
        try:
            response = self._client.post(f"{replica.url}/unload_lora_adapter", json={"lora_name": digest})
        except httpx.TransportError as error:
            replica.alive, replica.complaint = False, str(error)
            return
        if response.status_code not in (200, 404):
            _log.warning("vLLM at %s keeps the adapter %s: %s", replica.url, digest[:12], response.text[:200])
