"""Where vectors, losses and gradients are computed: all on the device of the model."""

import numpy as np
import pytest
import torch
from distributed_cases import CASES, CELLS, make_case
from other_device import other_device

from jointembed.errors import UsageError
from jointembed.space.device import resolve_device

EMBEDDED = ["softmax", "softmax, chunks", "fused", "next", "next, sigmoid", "images", "many", "next set"]


def losses_of(name, device):
    """The losses of a case on a device, and the gradient of each parameter."""
    model, batch = make_case(name)
    model.eval().to(device)
    batch = {column: x.to(device) for column, x in batch.items()}
    torch.manual_seed(1)
    losses = model.losses(batch)
    # Sparse gradients have no storage that could be elsewhere, and the one of a diagonal reads beyond what a Moved has.
    if not CASES[name].sparse and not name.startswith("next set"):
        torch.stack(list(losses.values())).sum().backward()
    gradients = [parameter.grad.cpu() for parameter in model.parameters() if parameter.grad is not None]
    return [loss.detach().cpu() for loss in losses.values()], gradients


@pytest.mark.parametrize("name", CASES)
def test_losses_and_gradients_are_the_same_on_another_device(name):
    expected = losses_of(name, "cpu")
    with other_device() as device:
        losses, gradients = losses_of(name, device)
    torch.testing.assert_close((losses, gradients), expected)


@pytest.mark.parametrize("name", EMBEDDED)
def test_vectors_are_the_same_on_another_device(name):
    model, _ = make_case(name)
    space = model.float().eval().space
    columns = [column for column in CELLS if column in space.columns]
    cells = {column: [cell for cell in CELLS[column] if cell is not None] for column in columns}
    cells |= {fusion: [{"song": "a", "facts": {"p": 1.0}}, {"song": "b"}] for fusion in space.fusions}
    expected = {column: space.embed(column, cells[column]) for column in cells}
    with other_device() as device:
        space.to(device)
        vectors = {column: space.embed(column, cells[column]) for column in cells}
    for column in cells:
        np.testing.assert_allclose(vectors[column], expected[column], rtol=1e-5, atol=1e-6)


def test_mixing_devices_is_refused_by_the_test_device():
    with other_device() as device, pytest.raises(RuntimeError, match="different devices"):
        torch.ones(3, device=device) + torch.ones(3)


def test_a_device_has_one_name_in_all_commands():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device().type in {"cpu", "cuda", "mps", "xpu"}
    for name in ("cuda:99", "tpu 7", "cpu:1", "meta"):
        with pytest.raises(UsageError, match="--device.*no device.*cpu"):
            resolve_device(name)
