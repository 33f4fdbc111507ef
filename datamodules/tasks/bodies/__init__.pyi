from .bouncing_body import BouncingBody as BouncingBody
from .pendulum import Pendulum as Pendulum
