from __future__ import annotations

import re
from collections.abc import Mapping

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.server.policy.tables import table
from unhitch.registry import Registry
from unhitch_server.policy.document import FREEDOMS, Document, Part
from unhitch_server.policy.errors import Fault, InvalidPolicy
from unhitch_server.policy.reading import read
from unhitch_server.policy.table import PolicyTable

PLAIN = "policies:\n  finance-safe:\n    mitigation: bare\ndefault: finance-safe\n"


def faults(text: str, environ: Mapping[str, str] | None = None, upstream: str | None = None) -> list[str]:
    """What is wrong; at least one thing."""
    found = any_faults(text.encode(), environ, upstream)
    assert found
    return [str(fault) for fault in found]


def any_faults(
    raw: bytes, environ: Mapping[str, str] | None = None, upstream: str | None = None
) -> tuple[Fault, ...] | None:
    """What is wrong, or None."""
    try:
        reading = read(raw, "p.yaml", environ=environ, upstream=upstream)
        PolicyTable(reading.document, Registry(), reading.places)
    except InvalidPolicy as error:
        return error.faults
    return None


def test_a_policy_of_a_file_lets_clients_choose_seed_and_session_only() -> None:
    policy = table(PLAIN).document.policies["finance-safe"]
    assert (policy.clients_may, policy.clients_may_name, policy.on_failure) == (("seed",), (), "closed")
    assert policy.unrecognised_prompts == "refuse"


def test_the_words_no_and_off_need_no_quotes() -> None:
    text = "policies: {a: {mitigation: off, require_validated: no, clients_may: [off]}}\ndefault: a"
    assert table(text).default.off


def test_several_faults_come_at_once_each_with_its_line_the_value_and_what_is_allowed() -> None:
    text = """policies:
  strict:
    mitigation: bare
    on_failure: ajar
    shadw: {percent: 1}
    clients_may: [seed, everything]
    shadow: {percent: 200, mitigation: off}
rules:
  - policy: 7
"""
    found = faults(text)
    assert found[0] == "p.yaml:4: policies.strict.on_failure: 'ajar' is not one of 'closed' or 'open'"
    assert found[1].startswith("p.yaml:6: policies.strict.clients_may[1]: 'everything' is not one of 'choose', ")
    assert found[2].startswith("p.yaml:7: policies.strict.shadow.percent: 200 was given: input should be less than")
    assert found[3].startswith("p.yaml:5: policies.strict.shadw: there is no such field. Did you mean `shadow`?")
    assert found[4] == "p.yaml:1: default: is needed, and is not there"
    assert found[5].startswith("p.yaml:9: rules[0].policy: 7 was given: text is due")
    assert len(found) == 6


def test_mitigations_are_bound_when_the_file_is_read() -> None:
    text = "policies:\n  a:\n    mitigation: pertrub\n  b: {mitigation: 'perturb;edits=0',\n   shadow: {percent: 1,\n"
    found = faults(f"{text}    mitigation: 'a=(b'}}}}\ndefault: a")
    assert found[0].startswith("p.yaml:3: policies.a.mitigation: There is no strategy `pertrub`. Did you mean")
    assert found[1] == "p.yaml:4: policies.b.mitigation: `perturb;edits=0`: `edits` is an integer from 1 to 1000."
    assert faults("policies: {b: {mitigation: off,\n shadow: {percent: 1,\n mitigation: lax}}}\ndefault: b")[
        0
    ].startswith("p.yaml:3: policies.b.shadow.mitigation: There is no strategy `lax`")


def test_references_that_lead_nowhere_are_refused() -> None:
    text = """upstreams: {one: {urls: [http://a]}, two: {urls: [http://b]}}
models:
  safe: {model: m, policy: strct}
  safer: {model: safe, upstream: three}
policies:
  strict: {mitigation: bare, clients_may_name: [gone], rollout: {percent: 1, otherwise: half}}
  half: {mitigation: bare, rollout: {percent: 1, otherwise: nobody}}
default: lax
rules:
  - {policy: none}
"""
    said = [(fault.split(": ")[0], fault.split(": ")[1]) for fault in faults(text)]
    assert said == [
        ("p.yaml:8", "default"),
        ("p.yaml:1", "upstreams"),
        ("p.yaml:3", "models.safe.policy"),
        ("p.yaml:4", "models.safer.upstream"),
        ("p.yaml:4", "models.safer.model"),
        ("p.yaml:6", "policies.strict.clients_may_name[0]"),
        ("p.yaml:6", "policies.strict.rollout.otherwise"),
        ("p.yaml:7", "policies.half.rollout.otherwise"),
        ("p.yaml:10", "rules[0].policy"),
    ]


def test_a_star_stands_at_the_end_of_a_pattern_only() -> None:
    assert "mini-*-7b" in faults(f"{PLAIN}rules: [{{models: [mini-*-7b], policy: finance-safe}}]")[0]


def test_a_url_with_a_password_is_refused_and_not_repeated() -> None:
    found = faults(f"{PLAIN}upstreams: {{main: {{urls: ['http://u:hunter2@h']}}}}")
    assert "user or a password" in found[0]
    assert "hunter2" not in "".join(found)


def test_the_environment_sets_single_values_over_the_file() -> None:
    environ = {
        "UNHITCH_POLICY__policies__finance_safe__on_failure": "open",
        "UNHITCH_POLICY__policies__finance-safe__clients_may": "[off, seed]",
        "UNHITCH_POLICY__policies__finance_safe__shadow__percent": "2.5",
        "UNHITCH_POLICY__policies__finance_safe__shadow__mitigation": "off",
        "UNHITCH_POLICY_FILE": "elsewhere.yaml",
    }
    policy = table(PLAIN, environ=environ).document.policies["finance-safe"]
    assert policy.on_failure == "open"
    assert policy.clients_may == ("off", "seed")
    assert policy.shadow is not None
    assert policy.shadow.percent == 2.5


def test_a_member_of_a_list_is_set_by_its_number() -> None:
    text = f"{PLAIN}rules: [{{policy: finance-safe}}, {{routes: [/a], policy: finance-safe}}]"
    environ = {"UNHITCH_POLICY__rules__1__routes": "[/b]"}
    assert table(text, environ=environ).document.rules[1].routes == ("/b",)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("policies__finance_safe__on_failure", "ajar", "'ajar' is not one of"),
        ("policies__finance_safe__mitigation", "lax", "no strategy `lax`"),
        ("default__x", "y", "single value"),
        ("rules__0__policy", "y", "'0' is no member of a list of 0"),
        ("policies____x", "y", "a part of the path is empty"),
        ("default", "[1", "no YAML"),
        ("__".join("a" * 99), "y", "99 parts"),
    ],
)
def test_a_fault_of_the_environment_names_the_variable(path: str, value: str, said: str) -> None:
    found = faults(f"{PLAIN}rules: []", {f"UNHITCH_POLICY__{path}": value})
    assert found[0].startswith(f"UNHITCH_POLICY__{path}: ")
    assert said in found[0]


def test_an_underscore_that_could_stand_for_two_names_is_refused() -> None:
    text = "policies: {a-b: {mitigation: bare}, a.b: {mitigation: bare}}\ndefault: a-b"
    assert "each of 'a-b', 'a.b'" in faults(text, {"UNHITCH_POLICY__policies__a_b__mitigation": "off"})[0]


def test_upstreams_stand_in_the_file_or_on_the_command_line_but_not_in_both() -> None:
    assert read(PLAIN.encode(), "p", upstream="http://e/").document.upstreams["main"].urls == ("http://e",)
    assert "--upstream came too" in faults(f"{PLAIN}upstreams: {{a: {{urls: [http://a]}}}}", upstream="http://e")[0]


def test_options_make_the_same_document_and_lock_nothing() -> None:
    document = Document.of_settings(
        upstream="http://e", mitigation="bare", policies={"lax": "off"}, require_validated="mark"
    )
    assert document.policies[document.default].mitigation == "bare"
    for policy in document.policies.values():
        assert (policy.clients_may, policy.clients_may_name) == (FREEDOMS, ("lax",))
        assert policy.require_validated == "mark"


def test_an_option_cannot_take_the_name_of_the_default() -> None:
    with pytest.raises(InvalidPolicy, match="'default' is that of --mitigation"):
        Document.of_settings(
            upstream="http://e", mitigation="bare", policies={"default": "off"}, require_validated="no"
        )


def test_every_field_is_described() -> None:
    parts = Part.__subclasses__()
    assert Document in parts
    assert not [f"{part.__name__}.{key}" for part in parts for key, field in part.model_fields.items()
                if not field.description]  # fmt: skip


def test_the_key_of_engines_comes_from_the_environment() -> None:
    engines = table(f"{PLAIN}upstreams: {{a: {{urls: [http://a], api_key_env: VLLM_KEY}}}}").document.upstreams["a"]
    assert engines.api_key({"VLLM_KEY": "secret"}) == "secret"
    with pytest.raises(InvalidPolicy, match="VLLM_KEY"):
        engines.api_key({})


WORDS = st.sampled_from(
    ["upstreams", "main", "urls", "models", "model", "policies", "policy", "mitigation", "default", "rules", "keys",
     "on_failure", "open", "off", "bare", "perturb;edits=5", "clients_may", "seed", "rollout", "percent", "otherwise",
     "shadow", "strict", "http://e", "*", "a*", ""]
)  # fmt: skip
VALUES = st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.text(max_size=8)
DOCUMENTS = st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=5), max_leaves=25
)
PARTS = st.fixed_dictionaries(
    {
        "policies": st.dictionaries(WORDS, st.fixed_dictionaries({"mitigation": WORDS}) | DOCUMENTS, max_size=3),
        "default": WORDS,
    },
    optional={"rules": DOCUMENTS, "models": DOCUMENTS, "upstreams": DOCUMENTS},
)


@given(PARTS | DOCUMENTS)
def test_any_document_is_taken_or_refused_with_places(document: object) -> None:
    check_any(yaml.safe_dump(document, allow_unicode=True).encode("utf-8", "replace"))


@given(st.binary(max_size=100))
def test_any_bytes_are_taken_or_refused_with_places(raw: bytes) -> None:
    check_any(raw)


@given(st.text(max_size=40).filter(lambda name: "\0" not in name and "=" not in name), st.text(max_size=40))
def test_any_variable_is_taken_or_refused_with_its_name(name: str, value: str) -> None:
    variable = f"UNHITCH_POLICY__{name}"
    found = any_faults(PLAIN.encode(), {variable: value.encode("utf-8", "replace").decode()})
    assert found is None or {fault.where for fault in found} == {variable}


def check_any(raw: bytes) -> None:
    found = any_faults(raw)
    if found is not None:
        assert found
        assert all(re.fullmatch("p.yaml:[1-9][0-9]*", fault.where) and fault.message for fault in found)
