"""The optimizer, which touches only the rows of a table that were used, and the course of its learning rate."""

import copy
import math

import pytest
import torch
from torch.nn import functional as F

from jointembed.training import optim, schedules


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
    course = [torch.optim.lr_scheduler.LambdaLR(each, schedules.cosine(12, 0.25)) for each in (entry, two)]
    for step in range(12):
        ids = torch.arange(step, step + 6)
        for net, optimizer, schedule in ((ours, entry, course[0]), (theirs, two, course[1])):
            optimizer.zero_grad()
            net(ids).square().mean().backward()
            optimizer.step()
            schedule.step()
        for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            assert torch.equal(a, b), (step, name)


PEERS = {
    "adamw": lambda groups: torch.optim.AdamW(groups, 0.01, (0.9, 0.98), weight_decay=0.1, fused=True),
    "adam": lambda groups: torch.optim.Adam(groups, 0.01, (0.9, 0.98), weight_decay=0.1, fused=True),
    "sgd": lambda groups: torch.optim.SGD(groups, 0.01, 0.9, weight_decay=0.1, nesterov=True, fused=True),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, 0.01, weight_decay=0.1, fused=True),
}


@pytest.mark.parametrize("name", optim.OPTIMIZERS)
def test_dense_parameters_are_trained_as_by_torch_and_tables_by_rows(name):
    ours, theirs = Net(), Net()
    theirs.table.requires_grad_(False)
    optimizer = optim.OPTIMIZERS[name](optim.parameter_groups(ours), 0.01, 0.1, 0.05)
    peer = PEERS[name](optim.parameter_groups(theirs))
    for step in range(6):
        ids = torch.arange(step, step + 6)
        theirs.table.weight.copy_(ours.table.weight.detach())
        for net, rule in ((ours, optimizer), (theirs, peer)):
            rule.zero_grad()
            net(ids).square().mean().backward()
            rule.step()
        if step == 2:  # a resumed run goes on as if nothing had happened
            state = copy.deepcopy(optimizer.state_dict())
            optimizer = optim.OPTIMIZERS[name](optim.parameter_groups(ours), 0.01, 0.1, 0.05)
            optimizer.load_state_dict(state)
        for (key, value), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            assert key == "table.weight" or torch.equal(value, expected), (step, key)
    assert set(optimizer.state[ours.table.weight]) == {"squares", "step"}
    assert optimizer.state[ours.table.weight]["squares"].count_nonzero() == 11


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


def test_clipping_by_value_cuts_each_dense_gradient_off():
    net = Net()
    (net(torch.tensor([1, 2])) * 1000).square().sum().backward()
    table = net.table.weight.grad.to_dense().clone()
    expected = [entry.grad.clamp(-0.5, 0.5) for entry in net.parameters() if not entry.grad.is_sparse]
    optim.clip_dense_gradients(optim.AdamWWithSparseAdagrad(optim.parameter_groups(net)), 0.5, by_value=True)
    dense = [entry.grad for entry in net.parameters() if not entry.grad.is_sparse]
    assert all(torch.equal(clipped, cut) for clipped, cut in zip(dense, expected, strict=True))
    assert torch.equal(net.table.weight.grad.to_dense(), table)
