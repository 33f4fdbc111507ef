"""A ball that bounces over a wall, or is thrown back by it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .restitution import SOLIMP, contact_solref
from .simulated import SimulatedBody

if TYPE_CHECKING:
    import mujoco


class BouncingBody(SimulatedBody):
    """A ball is thrown level from a height of 1 m, spinning; how far has it come 1.2 s later?

    It bounces on the floor, and meets a wall half a metre high: rising it clears the wall, falling it is thrown back,
    and on the rounded top it may go anywhere. Nobody sees its mass (0.3 to 2 kg: air slows a light ball more), its
    friction (0 to 0.6), its restitution (0.5 to 0.9), its spin (-30 to 30 rad/s), and the way to the wall (1 to 2 m).

    The input is the speed of the throw in m/s, the target the distance in m.
    """

    name = "bouncing_body"
    hidden = {
        "mass": (0.3, 2.0),
        "friction": (0.0, 0.6),
        "restitution": (0.5, 0.9),
        "spin": (-30.0, 30.0),
        "wall": (1.0, 2.0),
    }
    speeds = (0.5, 4.0)
    duration_s = 1.2

    def model_xml(self) -> str:
        return f"""
            <mujoco>
              <default><geom condim="3" contype="2" conaffinity="1" solimp="{SOLIMP}"/></default>
              <worldbody>
                <geom type="plane" size="9 9 1"/>
                <body name="wall"><geom type="capsule" fromto="0 0 0 0 0 0.5" size="0.05"/></body>
                <body name="ball" pos="0 0 1">
                  <joint type="slide" axis="1 0 0" damping="0.1"/>
                  <joint type="slide" axis="0 0 1" damping="0.1"/>
                  <joint type="hinge" axis="0 1 0"/>
                  <geom type="sphere" size="0.12" mass="1" contype="1" conaffinity="2"/>
                </body>
              </worldbody>
            </mujoco>"""

    def set_body(self, model: mujoco.MjModel, body: Mapping[str, float]) -> None:
        ball, wall = model.body("ball").id, model.body("wall").id
        model.body_mass[ball] *= body["mass"]
        model.body_inertia[ball] *= body["mass"]
        model.geom_friction[:, 0] = body["friction"]
        model.geom_solref[:] = contact_solref(body["restitution"])
        model.body_pos[wall, 0] = body["wall"]

    def launch(self, model: mujoco.MjModel, data: mujoco.MjData, body: Mapping[str, float], speed: float) -> None:
        data.qvel[:] = speed, 0.0, body["spin"]

    def coordinate(self, data: np.ndarray) -> np.ndarray:
        return data[..., 0]
