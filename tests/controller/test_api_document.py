"""The OpenAPI document: it is current, and the API does what it says whatever it is asked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
)

from controller.api.app import create_app
from controller.api.document import document
from controller.api.store import Store
from tests.controller.api_service import slot_messages
from tests.controller.scenarios import scenario

KEPT = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    negative_data_rejection,
    ignored_auth,
]


def test_the_document_is_current() -> None:
    assert KEPT.read_text() == document(), "renew it: python -m controller.api.document"


def _app() -> object:
    wanted = scenario(stations=2, devices=1)
    store = Store(wanted)
    for slot in (1, 2):
        for message in slot_messages(wanted, slot):
            store.fold(message)
    return create_app(store, "a-token")


schema = schemathesis.openapi.from_dict(json.loads(KEPT.read_text()))
schema.app = _app()
# The token is given below; wrong ones have a check of their own, ignored_auth.
schema.config.generation.update(with_security_parameters=False)


# The stream never ends; tests/controller/test_api_process.py reads it.
@schema.exclude(path="/stream").parametrize()
@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
def test_answers_are_as_documented(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(headers={"Authorization": "Bearer a-token"}, checks=CHECKS)
