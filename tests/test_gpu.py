"""Checks that need CUDA: same accuracies as the CPU, and an attack that never waits for the device between steps."""

from __future__ import annotations

import pytest
import torch

from engine import api

pytestmark = pytest.mark.gpu
NAME = "shapes-dual-bn"


@pytest.mark.parametrize("branch", list(api.Branch))
def test_same_accuracies_as_the_cpu(branch: api.Branch) -> None:
    n, attack, setting = 200, api.pgd(10, api.MAIN_EPS), api.branch_setting(branch)
    cpu, gpu = (api.open_bench(NAME, torch.device(device), n=n)[0] for device in ("cpu", "cuda"))
    for kind in (None, attack):
        expected = cpu.evaluate(setting, kind, n, seed=0).interval
        assert expected.low <= gpu.evaluate(setting, kind, n, seed=0).interval.value <= expected.high


def test_no_host_synchronisation_between_steps() -> None:
    bench, _ = api.open_bench(NAME, torch.device("cuda"), n=64)
    images, labels = (t.cuda() for t in bench.test.tensors(0, 64))
    craft = api.crafting_network(bench.view(api.branch_setting(api.Branch.ADV)))
    attack = api.PGD(api.ThreatModel("Linf", 8 / 255), steps=5, step_size=2 / 255)
    steps = attack.trace(craft, images, labels, generator=torch.Generator())
    next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert len(list(steps)) == attack.steps
    finally:
        torch.cuda.set_sync_debug_mode("default")
