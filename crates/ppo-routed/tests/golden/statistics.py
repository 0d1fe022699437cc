"""Golden values of crates/ppo-routed/src/sweep/statistics.rs. Needs numpy and scipy."""

import numpy as np
from scipy import stats

a = np.array([0.521, 0.711, 0.681, 0.622])
b = np.array([0.12, 0.54, 0.33])
print("mean", a.mean(), "interval", stats.t.interval(0.95, len(a) - 1, a.mean(), stats.sem(a)))
print("quantiles", np.quantile(a, [0.05, 0.95]))
welch = stats.ttest_ind(a, b, equal_var=False)
print("difference", a.mean() - b.mean(), "interval", tuple(welch.confidence_interval(0.95)))
