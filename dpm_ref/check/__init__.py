"""Compare another implementation's functions with the reference: which equation, how far off, and
what mistake it looks like.

    report = check.run({"posterior_mean": mine.q_mean, "gaussian_kl": mine.kl}, beta=mine.beta,
    first_t=0) print(report) report.assert_ok()

What can be asked, with which arguments and conventions: `python -m dpm_ref.check --list`.
"""

from .report import STATUSES, Report, Row, run

__all__ = ["run", "Report", "Row", "STATUSES"]
