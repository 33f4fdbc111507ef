"""A ball that bounces over a trench, or falls into it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .restitution import SOLIMP, contact_solref
from .simulated import SimulatedBody

if TYPE_CHECKING:
    import mujoco


class BouncingBody(SimulatedBody):
    """A ball is thrown level from a height of 1 m, spinning; how far has it come 1.6 s later?

    It bounces along a floor in which there is a trench, 0.6 m wide and 1 m deep: a bounce before the edge carries it
    over, else it falls in and stays. Nobody sees its mass (0.5 to 2 kg: air slows a light ball more), its friction (0.1
    to 0.4), its restitution (0.4 to 0.75), its spin (-10 to 10 rad/s), and the way to the trench (0.6 to 2.2 m).

    The input is the speed of the throw in m/s, the target the distance in m.
    """

    name = "bouncing_body"
    hidden = {
        "mass": (0.5, 2.0),
        "friction": (0.1, 0.4),
        "restitution": (0.4, 0.75),
        "spin": (-10.0, 10.0),
        "edge": (0.6, 2.2),
    }
    speeds = (0.5, 4.0)
    duration_s = 1.6

    def model_xml(self) -> str:
        return f"""
            <mujoco>
              <default><geom condim="3" contype="2" conaffinity="1" solimp="{SOLIMP}"/></default>
              <worldbody>
                <geom type="plane" pos="0 0 -1" size="20 20 1"/>
                <body name="near"><geom type="box" pos="-10 0 -0.5" size="10 1 0.5"/></body>
                <body name="far"><geom type="box" pos="10.6 0 -0.5" size="10 1 0.5"/></body>
                <body name="ball" pos="0 0 1">
                  <joint type="slide" axis="1 0 0" damping="0.1"/>
                  <joint type="slide" axis="0 0 1" damping="0.1"/>
                  <joint type="hinge" axis="0 1 0"/>
                  <geom type="sphere" size="0.12" mass="1" contype="1" conaffinity="2"/>
                </body>
              </worldbody>
            </mujoco>"""

    def set_body(self, model: mujoco.MjModel, body: Mapping[str, float]) -> None:
        ball = model.body("ball").id
        model.body_mass[ball] *= body["mass"]
        model.body_inertia[ball] *= body["mass"]
        model.geom_friction[:, 0] = body["friction"]
        model.geom_solref[:] = contact_solref(body["restitution"])
        for side in ("near", "far"):
            model.body_pos[model.body(side).id, 0] = body["edge"]

    def launch(self, model: mujoco.MjModel, data: mujoco.MjData, body: Mapping[str, float], speed: float) -> None:
        data.qvel[:] = speed, 0.0, body["spin"]

    def coordinate(self, data: np.ndarray) -> np.ndarray:
        return data[..., 0]
