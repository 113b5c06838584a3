"""Schedules of a stage."""

import pytest
from mmengine.runner import Runner
from toy import config

from mmdhp.stages.schedule import rehearse

STEP = {'type': 'MultiStepLR', 'milestones': [2], 'gamma': 0.1}
WARM = {'type': 'LinearLR', 'start_factor': 0.5, 'end': 2}


@pytest.mark.parametrize(
    ('by_epoch', 'schedulers', 'expected'),
    [
        (False, None, [3.0] * 12),
        (False, [dict(STEP, by_epoch=False)], [3.0] * 2 + [0.3] * 10),
        (False, dict(WARM, by_epoch=False), [1.5] + [3.0] * 11),
        (True, [dict(STEP, by_epoch=True)], [3.0] * 8 + [0.3] * 4),
    ],
)
def test_rates_of_a_rehearsal(tmp_path, by_epoch, schedulers, expected):
    runner = Runner.from_cfg(config(tmp_path, by_epoch))
    wrapper = runner.optim_wrapper
    rates = rehearse(runner, schedulers, 3.0, len(expected))
    assert rates == pytest.approx(expected)
    assert runner.optim_wrapper is wrapper
