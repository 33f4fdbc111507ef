"""JSON Schema of `lifetime_cost.json`, for those who read it by program."""

from typing import Any

_NUMBER: dict[str, Any] = {"type": "number"}
_COUNT: dict[str, Any] = {"type": "number", "minimum": 0}
_OPTIONAL: dict[str, Any] = {"type": ["number", "null"], "minimum": 0}
_TEXT: dict[str, Any] = {"type": "string"}
_OPTIONAL_TEXT: dict[str, Any] = {"type": ["string", "null"]}
_FLAG: dict[str, Any] = {"type": "boolean"}


def _record(**properties: Any) -> dict[str, Any]:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_RUN = _record(
    parameters_total=_COUNT,
    parameters_active=_COUNT,
    units=_COUNT,
    train_flops=_COUNT,
    prefill_flops=_COUNT,
    decode_flops=_COUNT,
    device_hours=_COUNT,
    unit=_TEXT,
    unique_units=_OPTIONAL,
    final_loss={"type": ["number", "null"]},
    hardware=_OPTIONAL_TEXT,
    usd_per_hour=_OPTIONAL,
    precision=_TEXT,
    inference_units=_OPTIONAL,
    output_fraction=_COUNT,
    prefill_utilization=_COUNT,
    decode_utilization=_COUNT,
    law_use={"enum": ["applies", "indicative", "bracket", "none"]},
    law_note=_TEXT,
)
_DEMAND = _record(inference_units=_COUNT, flops=_COUNT, usd=_OPTIONAL, lifetime_flops=_COUNT, lifetime_usd=_OPTIONAL)
_ANSWER = _record(
    law=_TEXT,
    counted={"enum": ["total", "active"]},
    parameters=_COUNT,
    tokens=_COUNT,
    loss=_COUNT,
    chinchilla_parameters=_COUNT,
    chinchilla_tokens=_COUNT,
    repeated=_FLAG,
    under_trained=_FLAG,
    optimal_for_units=_OPTIONAL,
    in_range={"type": ["boolean", "null"]},
    optima=_list(_record(inference_units=_COUNT, parameters=_COUNT, tokens=_COUNT, saved_fraction=_NUMBER)),
)

LIFETIME_COST_SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Lifetime cost of a run",
    **_record(
        schema_version={"const": 1},
        run=_RUN,
        training=_record(flops=_COUNT, device_hours=_COUNT, usd=_OPTIONAL, utilization=_OPTIONAL),
        demands=_list(_DEMAND),
        flops_per_million_units=_COUNT,
        usd_per_million_units=_OPTIONAL,
        objective={"enum": ["FLOP", "USD"]},
        answers=_list(_ANSWER),
        notes=_list(_TEXT),
    ),
}
"""What `LifetimeReport.to_dict` answers to."""
