"""The formulas of one channel with the numbers of the moment, so that the slider can be followed on paper.

Usage::

    st.markdown(formulas(shown, api.NormSetting(0.7, api.Stored(1.0)), "layer2.0.bn1"))
"""

from __future__ import annotations

from app.shown import Shown
from engine import api


def formulas(shown: Shown, setting: api.NormSetting, name: str) -> str:
    """Markdown: γ, β and, with stored NS, the whole layer, in the channel whose two γ differ most."""
    layer = dict(api.dual_layers(shown.model))[name]
    (weight_c, bias_c), (weight_a, bias_a) = (layer.affine_entry(branch) for branch in api.Branch)
    channel = int((weight_c - weight_a).abs().argmax())
    lam, held = setting.affine, setting.statistics

    def mixed(symbol: str, clean: float, adv: float, at: float) -> str:
        value = (1 - at) * clean + at * adv
        return rf"{symbol} = (1 - {at:.2f}) \cdot {_signed(clean)} + {at:.2f} \cdot {_signed(adv)} = {value:.3f}"

    lines = [
        mixed(r"\gamma", float(weight_c[channel]), float(weight_a[channel]), lam),
        mixed(r"\beta", float(bias_c[channel]), float(bias_a[channel]), lam),
    ]
    text = f"**Layer {name}, channel {channel}** at λ = {lam:.2f}: clean number first, adversarial second.\n\n"
    if not isinstance(held, api.Stored):
        return text + _block(lines) + "\n\nμ and σ are measured anew at this λ, on calibration images."
    (mean_c, var_c), (mean_a, var_a) = (layer.statistics_row(branch) for branch in api.Branch)
    lines += [
        mixed(r"\mu", float(mean_c[channel]), float(mean_a[channel]), held.lam),
        mixed(r"\sigma^2", float(var_c[channel]), float(var_a[channel]), held.lam),
    ]
    at = layer.frozen(lam, held.lam)
    assert at.running_mean is not None
    assert at.running_var is not None
    slope = float(at.weight[channel]) / (float(at.running_var[channel]) + at.eps) ** 0.5
    offset = float(at.bias[channel]) - slope * float(at.running_mean[channel])
    lines.append(rf"y = \gamma\,\frac{{x-\mu}}{{\sqrt{{\sigma^2+10^{{-5}}}}}}+\beta = {slope:.3f}\,x {offset:+.3f}")
    return text + _block(lines) + "\n\nThe network only ever sees the last line: one slope and one offset a channel."


def _signed(value: float) -> str:
    return f"{value:.3f}" if value >= 0 else f"({value:.3f})"


def _block(lines: list[str]) -> str:
    return "\n\n".join(f"$${line}$$" for line in lines)
