"""What a process does once before it serves pages, whichever of `main.py` and `server.py` it was started with."""

from __future__ import annotations

import os


def once() -> None:
    """Sets torch's threads and opens the journal; calling it again does nothing. Comes before torch is imported.

    Half the cores are left to other visitors and, on one's own machine, the browser: with all of them an attack stops
    the page from painting. Torch's threads also wait by spinning, which starves both.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 2) // 2)))
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from app import journal  # which imports more than the two lines above may wait for

    journal.start()
