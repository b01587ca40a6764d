"""SGD with momentum on a synthetic dataset: on its images, and on the learning rate of the student.

The gradients come from `samples`; `guards` checks whether the result can be used.
"""

from dataclasses import replace

from mct.distillation.state import State
from mct.inner.unroll import Gradients
from mct.settings.config import DistillConfig


def update(state: State, gradients: Gradients, config: DistillConfig) -> State:
    """Return the state after an update, with the same random generator and the same best images.

    The update is that of `torch.optim.SGD`, from zero velocity: v <- mu v + g, x <- x - lr v.

    Args:
        state: Images and velocity `(N, C, H, W)` float32; the learning rate and its velocity.
        gradients: d loss / d images, of their shape, and d loss / d alpha.
        config: `momentum`, and `lr_img` and `lr_lr`, the step sizes.
    """
    now = state.synthetic
    velocity = config.momentum * state.image_velocity + gradients.images
    rate_velocity = config.momentum * state.rate_velocity + gradients.learning_rate
    rate = now.learning_rate - config.lr_lr * rate_velocity
    images = now.images - config.lr_img * velocity
    origin = replace(now.run, outer_step=state.step + 1)
    return replace(
        state,
        synthetic=replace(now, images=images, learning_rate=rate, origin=origin),
        image_velocity=velocity,
        rate_velocity=rate_velocity,
    )
