"""Closed forms of ∂u/∂α against autograd and against real optimizers."""

import copy

import pytest
import torch

from mmdhp.programs import LayerwiseScaling
from mmdhp.programs.layerwise_scaling import adam_derivative, sum_in_groups

GROUPS = torch.tensor([0, 0, 0, 1, 1, 2])
COLUMNS = (1, 5)
STEPS = (1, 2, 10, 60)


def optimizer(kind, parameters):
    if kind == 'LARS':
        module = pytest.importorskip('mmpretrain.engine.optimizers')
        return module.LARS(
            parameters, lr=0.1, momentum=0.8, weight_decay=1e-2, eta=0.02
        )
    return {
        'Adam': lambda p: torch.optim.Adam(p, lr=2e-3, betas=(0.8, 0.99)),
        'AdamW': lambda p: torch.optim.AdamW(p, lr=2e-3, weight_decay=0.1),
        'SGD': lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.8),
        'Nesterov': lambda p: torch.optim.SGD(
            p, lr=0.1, momentum=0.8, nesterov=True, weight_decay=1e-2
        ),
    }[kind](parameters)


def gradients(generator):
    return [
        torch.randn(len(GROUPS), k, generator=generator, dtype=torch.double)
        for k in COLUMNS
    ]


def run(kind, steps, alpha, shift=0.0, group=0):
    """Parameters behind some steps, the last with one α shifted."""
    draw = torch.Generator().manual_seed(1)
    heads = [torch.nn.Parameter(value) for value in gradients(draw)]
    stepper = optimizer(kind, heads)
    scaling = LayerwiseScaling(GROUPS)
    scaling.alpha = alpha.clone()
    scaling._mean, scaling._square = torch.zeros(2, 3).double()
    for step in range(1, steps + 1):
        task, cost = gradients(draw), gradients(draw)
        if step == steps:
            scaling.alpha[group] += shift
        for head, grad in zip(heads, scaling.combine(task, cost)):
            head.grad = grad
        scaling.before_step(heads, type(stepper).__name__)
        stepper.step()
    scaling.after_step(heads, task, stepper)
    return [head.detach() for head in heads], scaling


@pytest.mark.parametrize('kind', ['Adam', 'AdamW', 'SGD', 'Nesterov', 'LARS'])
@pytest.mark.parametrize('steps', STEPS)
def test_derivative_of_a_real_step(kind, steps):
    alpha = torch.tensor([0.7, 1.4, 1.0]).double()
    _, scaling = run(kind, steps, alpha)
    for group in range(3):
        shift = 1e-5
        above, _ = run(kind, steps, alpha, shift, group)
        below, _ = run(kind, steps, alpha, -shift, group)
        rows = (GROUPS == group)[:, None]
        for step, high, low in zip(scaling._derivatives, above, below):
            expected = (high - low) / (2 * shift)
            found = torch.where(rows, step.own, 0.0)
            if step.shared is not None:
                found = found + step.coupling[group] * step.shared
            # differences are exact to about 1e-16 / shift
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
    if steps > 1 or 'Adam' not in kind:
        assert all(s.own.abs().min() > 1e-7 for s in scaling._derivatives)


def functional_adam(alpha, task, cost, state, group):
    """The update of Adam as a function of α; appendix E, line by line."""
    (b1, b2), step = group['betas'], state['step']
    grad = alpha * task + cost
    m = b1 * state['m0'] + (1 - b1) * grad
    n = b2 * state['n0'] + (1 - b2) * grad**2
    m_hat, n_hat = m / (1 - b1**step), n / (1 - b2**step)
    update = -group['lr'] * m_hat / (n_hat.sqrt() + group['eps'])
    return update, {'step': step, 'exp_avg': m, 'exp_avg_sq': n}


@pytest.mark.parametrize('step', [1, 3, 50, 500])
@pytest.mark.parametrize('size', [1e-5, 1.0, 10.0])
def test_adam_against_autograd(step, size):
    group = {'lr': 1e-3, 'betas': (0.9, 0.999), 'eps': 1e-8}
    task, cost, m0, n0 = (torch.randn(40).double() * size for _ in range(4))
    if step == 1:
        m0, n0 = m0 * 0, n0 * 0
    past = {'step': step, 'm0': m0, 'n0': n0**2}
    alpha = torch.tensor(0.8).double()

    _, expected = torch.func.jvp(
        lambda a: functional_adam(a, task, cost, past, group)[0],
        (alpha,),
        (torch.ones_like(alpha),),
    )
    _, state = functional_adam(alpha, task, cost, past, group)
    found = adam_derivative(alpha * task + cost, task, state, group)

    # Both terms nearly cancel in early steps: errors relative to one of them.
    natural = group['lr'] * task.abs() * 0.1 / (1 - 0.9**step)
    natural = natural / (state['exp_avg_sq'] / (1 - 0.999**step)).sqrt()
    assert ((found - expected).abs() <= 1e-13 * natural).all()
    assert expected.abs().max() > 0


def test_a_head_without_gradients_has_no_derivative():
    group = {'lr': 1e-3, 'betas': (0.9, 0.999), 'eps': 1e-8}
    zero = torch.zeros(3)
    state = {'step': 4, 'exp_avg': zero, 'exp_avg_sq': zero}
    assert torch.equal(adam_derivative(zero, zero, state, group), zero)


def updated(rule, totals, **options):
    alpha = torch.ones(3).double()
    _, scaling = run('Adam', 5, alpha)
    scaling.rule = rule
    for key, value in options.items():
        setattr(scaling, key, value)
    h = sum(
        sum_in_groups(total * step.own, GROUPS)
        for total, step in zip(totals, scaling._derivatives)
    )
    scaling.update(totals)
    return scaling, h


def test_rules():
    totals = gradients(torch.Generator().manual_seed(7))
    scaling, h = updated('paper', totals)
    torch.testing.assert_close(scaling.alpha, 1 - 0.01 * h)
    scaling, h = updated('normalised', totals)
    torch.testing.assert_close(scaling.alpha, 1 - 0.01 * h / 2e-3)
    scaling, h = updated('adam', totals)
    torch.testing.assert_close(scaling.alpha, 1 - 0.01 * h.sign())
    scaling, _ = updated('off', totals)
    assert torch.equal(scaling.alpha, torch.ones(3).double())
    scaling, _ = updated('adam', totals, lr=5.0, bounds=(0.1, 2.0))
    assert set(scaling.alpha.tolist()) == {0.1, 2.0}


def test_the_rule_of_the_paper_hardly_moves():
    """β·η·0.1·‖g‖₁ bounds a step, of some 1e-6 at these sizes."""
    totals = gradients(torch.Generator().manual_seed(7))
    scaling, _ = updated('paper', totals)
    assert 0 < (scaling.alpha - 1).abs().max() < 1e-4


def test_a_step_that_overflows_leaves_the_scales():
    totals = gradients(torch.Generator().manual_seed(7))
    totals[1][4, 2] = float('inf')
    scaling, _ = updated('adam', totals)
    assert torch.equal(scaling.alpha, torch.ones(3).double())


@pytest.mark.parametrize('kind', ['Adam', 'LARS'])
def test_state_goes_on(kind):
    _, first = run(kind, 3, torch.ones(3).double())
    totals = gradients(torch.Generator().manual_seed(5))
    first.update(totals)
    second = LayerwiseScaling(GROUPS)
    second.alpha, second._mean, second._square = torch.zeros(3, 3).double()
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for scaling in (first, second):
        scaling.update(totals)
    assert torch.equal(first.alpha, second.alpha)
    assert not torch.equal(first.alpha, torch.ones(3).double())


@pytest.mark.parametrize(
    ('make', 'found'),
    [
        (lambda p: torch.optim.RMSprop(p, lr=0.1), 'RMSprop;'),
        (lambda p: torch.optim.Adam(p, amsgrad=True), 'Adam with amsgrad'),
        (lambda p: torch.optim.Adam(p, weight_decay=1.0), 'weight_decay'),
        (
            lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, dampening=0.1),
            'SGD with dampening',
        ),
    ],
)
def test_other_optimizers_are_refused(make, found):
    stepper = make([torch.nn.Parameter(torch.zeros(2))])
    with pytest.raises(ValueError, match=found):
        LayerwiseScaling(GROUPS).check(stepper)
    LayerwiseScaling(GROUPS, 'off').check(stepper)
