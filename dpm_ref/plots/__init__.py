"""The paper's figures, and those of its other sections, drawn from arrays; nothing but histograms is computed here.

    roll, beats    Figures 1 and 2
    work           section 2.3
    rates          section 2.4.1
    posteriors     section 2.5

References: Sohl-Dickstein et al. 2015, arXiv:1503.03585, Figures 1 and 2.
"""

from dpm_ref.plots._style import training_curve
from dpm_ref.plots.beats import heartbeat_figure
from dpm_ref.plots.posteriors import posterior_figure
from dpm_ref.plots.rates import schedules_figure
from dpm_ref.plots.roll import swiss_roll_figure
from dpm_ref.plots.work import work_figure

__all__ = ["swiss_roll_figure", "heartbeat_figure", "training_curve", "work_figure", "schedules_figure", "posterior_figure"]
