"""What the server tells its owner about jobs: Prometheus metrics, and one JSON line a job on standard error.

Usage::

    DUAL_BN_METRICS=9464 streamlit run app/main.py       # http://127.0.0.1:9464/metrics
    DUAL_BN_METRICS=0.0.0.0:9464 ...                     # from other machines too: keep it behind a firewall

Neither holds an image, a word that a visitor typed, or an address. A demo logs its jobs; a local server does not.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from app import mode

VARIABLE = "DUAL_BN_METRICS"
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
LOG = logging.getLogger("dual_bn")

# A registry of its own: Streamlit may import a changed file anew, and the global one refuses a name that it has.
REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)
JOBS = Counter("dual_bn_jobs", "Jobs that ended", ["kind", "outcome"], registry=REGISTRY)
COMPUTED = Histogram("dual_bn_job_seconds", "Computing time of a job", ["kind"], buckets=SECONDS, registry=REGISTRY)
WAITED = Histogram("dual_bn_job_wait_seconds", "Time a job waited", buckets=SECONDS, registry=REGISTRY)
SHARED = Counter("dual_bn_jobs_shared", "Requests served by another visitor's computation", registry=REGISTRY)
PAGES = Histogram("dual_bn_page_seconds", "A page's run on the server", ["page"], buckets=SECONDS, registry=REGISTRY)

_gauges: dict[tuple[str, str], Callable[[], float]] = {}
_started = threading.Lock()
_state: dict[str, bool] = {}


class _Gauges(Collector):
    """What is read only when somebody asks: lengths of queues and caches."""

    def collect(self) -> Iterator[Metric]:
        families: dict[str, GaugeMetricFamily] = {}
        for (name, of), read in list(_gauges.items()):
            family = families.setdefault(name, GaugeMetricFamily(name, name.replace("_", " "), labels=["of"]))
            family.add_metric([of], read())
        yield from families.values()


REGISTRY.register(_Gauges())


def gauge(name: str, of: str, read: Callable[[], float]) -> None:
    """A number to be read on request; the last one of a name counts."""
    _gauges[f"dual_bn_{name}", of] = read


@dataclass(frozen=True, slots=True)
class Job:
    """How one job ended. kind: which part of the app it belongs to; seconds of computing and of waiting."""

    kind: str
    outcome: str
    seconds: float
    waited: float


def ended(job: Job) -> None:
    """Counts a job and logs it."""
    JOBS.labels(job.kind, job.outcome).inc()
    COMPUTED.labels(job.kind).observe(job.seconds)
    WAITED.observe(job.waited)
    fields = {"kind": job.kind, "outcome": job.outcome}
    told("job", **fields, seconds=round(job.seconds, 3), waited=round(job.waited, 3))


def told(event: str, **fields: str | float) -> None:
    """One JSON line, where this server logs at all."""
    LOG.info(event, extra={"fields": fields})


@contextmanager
def page_run(page: str) -> Generator[None]:
    """Times the run of a page, however it ends."""
    began = time.monotonic()
    try:
        yield
    finally:
        PAGES.labels(page).observe(time.monotonic() - began)


class _Line(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = getattr(record, "fields", {})
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="seconds")
        return json.dumps({"time": when, "level": record.levelname.lower(), "event": record.getMessage(), **fields})


def start() -> None:
    """Opens the log and, if asked for, the metrics' port; the first call of a process does it, all others nothing.

    Every run of every visitor's page may call it, from any thread.
    """
    with _started:
        if _state.setdefault("started", False):
            return
        _state["started"] = True
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Line())
        LOG.handlers[:] = [handler]  # not a second one where this file was imported anew
        LOG.propagate = False
        LOG.setLevel(logging.INFO if mode.current().name == "demo" else logging.WARNING)
        _serve(os.environ.get(VARIABLE, ""))


def _serve(where: str) -> None:
    if not where:
        return
    host, _, port = where.rpartition(":")
    try:
        start_http_server(int(port), host or "127.0.0.1", REGISTRY)
    except (OSError, ValueError, OverflowError) as error:  # the pages matter more than their metrics
        reason = {"reason": str(error)}
        LOG.warning("metrics are off: %s must be PORT or ADDRESS:PORT", VARIABLE, extra={"fields": reason})
