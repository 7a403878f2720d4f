"""JUnit XML, which systems of continuous integration show as tests."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple
from xml.etree import ElementTree

from robustlab.core.text import one_line

_LONGEST = 2000


class JUnitCase(NamedTuple):
    """One test: its name, what it belongs to, its outcome, and what was found."""

    name: str
    group: str
    outcome: Literal["passed", "failed", "skipped"]
    found: str


def junit_xml(
    title: str, cases: Sequence[JUnitCase], *, created: str, seconds: float, properties: Mapping[str, object]
) -> str:
    """Return a JUnit file of one suite.

    Args:
        title: the suite's name.
        cases: its tests.
        created: when it ran, as an ISO time.
        seconds: how long it took.
        properties: further facts of the suite, by name.
    """
    outcomes = [case.outcome for case in cases]
    numbers = {"tests": len(cases), "failures": outcomes.count("failed"), "errors": 0}
    root = _add(None, "testsuites", name="robustlab", **numbers)
    counts = numbers | {"skipped": outcomes.count("skipped")}
    suite = _add(
        root, "testsuite", name=title, **counts, time=f"{seconds:.3f}", timestamp=created.partition("+")[0]
    )
    facts = _add(suite, "properties")
    for name, value in properties.items():
        _add(facts, "property", name=name, value=value)
    for case in cases:
        test = _add(suite, "testcase", classname=case.group, name=case.name, time="0")
        if case.outcome == "failed":
            _add(test, "failure", message=case.found, type="failed")
        elif case.outcome == "skipped":
            _add(test, "skipped", message=case.found)
        else:
            _add(test, "system-out").text = one_line(case.found, _LONGEST)
    ElementTree.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ElementTree.tostring(root, encoding="unicode")}\n'


def _add(parent: ElementTree.Element | None, tag: str, **attributes: object) -> ElementTree.Element:
    """Add an element; XML holds no control characters, so they are escaped."""
    texts = {name: one_line(str(value), _LONGEST) for name, value in attributes.items()}
    if parent is None:
        return ElementTree.Element(tag, texts)
    return ElementTree.SubElement(parent, tag, texts)
