"""The optimizer, which touches only the rows of a table that were used, and the course of its learning rate."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from jointembed.training import optim


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table = torch.nn.EmbeddingBag(50, 4, mode="mean", sparse=True)
        self.names = torch.nn.Embedding(5, 4)
        self.body = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.LayerNorm(8), torch.nn.GELU(), torch.nn.Linear(8, 2)
        )

    def forward(self, ids):
        return self.body(self.table(ids[:, None]) + self.names(ids % 5))


def test_parameters_are_grouped_by_what_suits_them():
    net = Net()
    named = {id(parameter): name for name, parameter in net.named_parameters()}
    result = [{named[id(entry)] for entry in group["params"]} for group in optim.parameter_groups(net)]
    assert result[0] == {"body.0.weight", "body.3.weight"}, "these decay"
    assert result[1] == {"body.0.bias", "body.1.weight", "body.1.bias", "body.3.bias", "names.weight"}
    assert result[2] == {"table.weight"}
    assert [group.get("weight_decay") for group in optim.parameter_groups(net)] == [None, 0.0, 0.0]


def test_the_dense_part_is_adamw_step_for_step():
    ours, theirs = Net(), Net()
    for net in (ours, theirs):
        net.table.requires_grad_(False)
    entry = optim.AdamWWithSparseAdagrad(optim.parameter_groups(ours), lr=0.01, weight_decay=0.1, betas=(0.9, 0.98))
    two = torch.optim.AdamW(optim.parameter_groups(theirs), lr=0.01, weight_decay=0.1, betas=(0.9, 0.98), fused=True)
    course = [torch.optim.lr_scheduler.LambdaLR(each, optim.warmup_cosine(12, 0.25)) for each in (entry, two)]
    for step in range(12):
        ids = torch.arange(step, step + 6)
        for net, optimizer, schedule in ((ours, entry, course[0]), (theirs, two, course[1])):
            optimizer.zero_grad()
            net(ids).square().mean().backward()
            optimizer.step()
            schedule.step()
        for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b), (step, name)


@pytest.mark.parametrize("restart", [False, True])
def test_sparse_tables_learn_and_untouched_rows_keep_their_bits(restart):
    net = Net()
    before = net.table.weight.detach().clone()
    optimizer = optim.AdamWWithSparseAdagrad(optim.parameter_groups(net), lr=0.01)
    ids = torch.tensor([3, 7, 7, 49])
    target_value = torch.tensor([[1.0, -1.0], [-1.0, 1.0], [-1.0, 1.0], [0.5, 0.5]])
    losses = []
    for step in range(60):
        optimizer.zero_grad()
        loss = F.mse_loss(net(ids), target_value)
        loss.backward()
        losses.append(float(loss.detach()))
        optim.clip_dense_gradients(optimizer, 1.0)
        optimizer.step()
        if restart and step == 20:
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = optim.AdamWWithSparseAdagrad(optim.parameter_groups(net), lr=0.01)
            optimizer.load_state_dict(state)
            assert torch.equal(optimizer.state[net.table.weight]["squares"], state["state"][7]["squares"])
    assert losses[-1] < 0.01 * losses[0]
    touched = torch.tensor([3, 7, 49])
    rest = torch.tensor([row for row in range(50) if row not in (3, 7, 49)])
    assert torch.equal(net.table.weight[rest], before[rest])
    assert (net.table.weight[touched] != before[touched]).any(1).all()


def test_a_row_of_a_table_is_adagrad_with_one_number():
    table = torch.nn.Embedding(9, 3, sparse=True)
    expected = table.weight.detach().clone().double()
    optimizer = optim.AdamWWithSparseAdagrad([{"params": [table.weight], "sparse": True}], sparse_lr=0.1)
    squares = torch.zeros(9).double()
    for ids in ([1, 2, 2], [2, 5], [1]):
        optimizer.zero_grad()
        table(torch.tensor(ids)).pow(2).sum().backward()
        gradient = torch.zeros(9, 3).double()
        for row in ids:
            gradient[row] += 2 * expected[row]
        squares += gradient.square().mean(1)
        expected -= 0.1 * gradient / (squares + 1e-10).sqrt()[:, None]
        optimizer.step()
    assert torch.allclose(table.weight.double(), expected, atol=1e-5)


def test_clipping_scales_the_dense_gradients_to_their_common_norm():
    net = Net()
    (net(torch.tensor([1, 2])) * 1000).square().sum().backward()
    table = net.table.weight.grad.to_dense().clone()
    optimizer = optim.AdamWWithSparseAdagrad(optim.parameter_groups(net))
    optim.clip_dense_gradients(optimizer, 0.5)
    dense = [entry.grad for entry in net.parameters() if not entry.grad.is_sparse]
    assert math.isclose(float(torch.cat([entry.ravel() for entry in dense]).norm()), 0.5, rel_tol=1e-4)
    assert torch.equal(net.table.weight.grad.to_dense(), table)


def test_the_learning_rate_rises_and_then_falls_along_a_cosine():
    factor = optim.warmup_cosine(100, 0.1)
    rates = [factor(step) for step in range(101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[10] == 1 and rates[55] == pytest.approx(0.5) and rates[100] == pytest.approx(0)
    assert all(a > b for a, b in zip(rates[10:], rates[11:], strict=False))
    assert factor(1000) == pytest.approx(0)
    for total, warmup in ((0, 0.0), (1, 0.5), (2, 1.0)):
        assert all(0 <= optim.warmup_cosine(total, warmup)(step) <= 1 for step in range(5))
