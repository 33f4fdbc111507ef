"""A pendulum that passes over the top, or falls back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .restitution import SOLIMP, contact_solref
from .simulated import SimulatedBody

if TYPE_CHECKING:
    import mujoco


class Pendulum(SimulatedBody):
    """A hanging pendulum, 1 m long, is kicked; where is it 2.5 s later?

    Beyond the top, on its way down, stands a rubber peg. A weak kick lets the pendulum fall back and swing out; a
    stronger one brings it over the top and to rest on the peg; one stronger still, and it is thrown back over the top.
    Where one turns into the next depends on what nobody sees: mass (0.5 to 2 kg), friction of the bearing (0.2 to 0.8
    N m s), restitution of the peg (0.3 to 0.9), and place of the peg (3.6 to 5.5 rad).

    The input is the kick in rad/s, the target the angle in rad, 0 hanging down, counted through turns.
    """

    name = "pendulum"
    hidden = {"mass": (0.5, 2.0), "friction": (0.2, 0.8), "restitution": (0.3, 0.9), "peg_angle": (3.6, 5.5)}
    speeds = (4.0, 11.0)
    duration_s = 2.5

    def model_xml(self) -> str:
        return f"""
            <mujoco>
              <default><geom type="sphere" size="0.15" pos="0 0 -1" condim="1" solimp="{SOLIMP}"/></default>
              <worldbody>
                <body name="bob"><joint type="hinge" axis="0 -1 0" damping="1"/>
                  <geom mass="1" contype="1" conaffinity="2"/></body>
                <body name="peg"><geom contype="2" conaffinity="1"/></body>
              </worldbody>
            </mujoco>"""

    def set_body(self, model: mujoco.MjModel, body: Mapping[str, float]) -> None:
        bob, peg = model.body("bob").id, model.body("peg").id
        model.body_mass[bob] *= body["mass"]
        model.body_inertia[bob] *= body["mass"]
        model.dof_damping[0] = body["friction"]
        model.geom_solref[:] = contact_solref(body["restitution"])
        model.body_quat[peg] = np.cos(body["peg_angle"] / 2), 0.0, -np.sin(body["peg_angle"] / 2), 0.0

    def launch(self, model: mujoco.MjModel, data: mujoco.MjData, body: Mapping[str, float], speed: float) -> None:
        data.qvel[0] = speed

    def coordinate(self, data: np.ndarray) -> np.ndarray:
        return data[..., 0]
