"""x"""
from dpm_ref.check.report import Report, Row
from dpm_ref.check.runner import run
__all__ = ["run", "Report", "Row"]
