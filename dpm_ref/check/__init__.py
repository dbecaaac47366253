"""x"""
from dpm_ref.check.report import STATUSES, Report, Row
from dpm_ref.check.runner import run
__all__ = ["run", "Report", "Row", "STATUSES"]
