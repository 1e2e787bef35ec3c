"""Every attribution method by its name in the configuration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from cxrlab.config.schema import AttributionConfig, MethodName
from cxrlab.explanation.attribution import AttributionMethod
from cxrlab.explanation.methods.gradcam import GradCAM, GradCAMPlusPlus
from cxrlab.explanation.methods.gradient import InputXGradient
from cxrlab.explanation.methods.integrated_gradients import AVERAGE, IntegratedGradients
from cxrlab.explanation.methods.perturbation import Occlusion, Rise
from cxrlab.explanation.methods.smoothgrad import SmoothGradIG


def build(name: MethodName, config: AttributionConfig) -> AttributionMethod:
    """The method of a name, as configured."""
    return METHODS[name](config)


def _integrated_gradients(config: AttributionConfig, baseline: str) -> AttributionMethod:
    return IntegratedGradients(
        steps=config.steps,
        max_steps=config.max_steps,
        tolerance=config.tolerance,
        batch_size=config.batch_size,
        baseline=baseline,
    )


def _smoothgrad(config: AttributionConfig) -> AttributionMethod:
    return SmoothGradIG(
        samples=config.noisy_copies,
        noise=config.noise,
        steps=config.steps,
        batch_size=config.batch_size,
    )


METHODS: dict[MethodName, Callable[[AttributionConfig], AttributionMethod]] = {
    "integrated_gradients": partial(_integrated_gradients, baseline="black"),
    "integrated_gradients_blur": partial(_integrated_gradients, baseline="blur"),
    "integrated_gradients_mean": partial(_integrated_gradients, baseline="mean"),
    "integrated_gradients_average": partial(_integrated_gradients, baseline=AVERAGE),
    "smoothgrad_ig": _smoothgrad,
    "input_x_gradient": lambda config: InputXGradient(config.batch_size),
    "gradcam": lambda config: GradCAM(config.batch_size),
    "gradcam++": lambda config: GradCAMPlusPlus(config.batch_size),
    "occlusion": lambda config: Occlusion(config.window, config.stride, config.batch_size),
    "rise": lambda config: Rise(config.masks, config.grid, batch_size=config.batch_size),
}
