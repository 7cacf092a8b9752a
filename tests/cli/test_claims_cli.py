"""`claims` on the command line: what it prints, at any width and as JSON, and what it refuses."""

from __future__ import annotations

import json

import pytest
from command_line import refused

from p2mperf.analysis.claims.base import VERDICTS
from p2mperf.analysis.claims.decided import CLAIMS, COLUMNS, DOCUMENTS
from p2mperf.cli import main

# Decided without building or measuring anything.
QUICK = ("example-frames", "simplified", "leaf-reach", "strd")
NAMED = [word for name in QUICK for word in ("--claim", name)]


def printed(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[str, str]:
    assert main(["claims", *options]) == 0
    out, err = capsys.readouterr()
    return out, err


def test_json_has_all_that_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, *NAMED, "--json")
    rows = json.loads(out)
    # in the order of the documents, not in that of the options
    assert [row["claim"] for row in rows] == ["simplified", "example-frames", "leaf-reach", "strd"]
    assert all(tuple(row) == COLUMNS for row in rows)
    assert rows[0]["published"] == CLAIMS["simplified"].published
    assert err == ""


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_it_fits_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for options in (["--document", "thread", "--claim", "simplified"], ["--claim", "strd"]):
        out, _ = printed(capsys, *options)
        assert max(map(len, out.splitlines())) <= width


def test_the_list_says_what_was_found(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("p2mperf.analysis.claims.decided.CLAIMS", {name: CLAIMS[name] for name in QUICK})
    out, err = printed(capsys)
    title, first, *_ = out.splitlines()
    assert title == DOCUMENTS["review"].title
    assert first.split()[:2] == ["example-frames", "reproduced"]
    assert "4 claims: 2 reproduced, 1 not resolved, 1 cannot be tested here" in err
    assert "from the sweeps that come with p2mperf" in err


def test_one_claim_is_told_in_full(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    out, _ = printed(capsys, "--claim", "leaf-reach")
    claim = CLAIMS["leaf-reach"]
    assert out.splitlines()[0] == "leaf-reach"
    whole = " ".join(out.split())
    for part in (f'"{claim.published}"', claim.document.title, claim.section, claim.command, "reproduced: "):
        assert part in whole


def test_verdicts_are_filtered(capsys: pytest.CaptureFixture[str]) -> None:
    out, err = printed(capsys, *NAMED, "--verdict", "not resolved")
    assert out.splitlines()[0] == "simplified"
    assert err.startswith("1 claim: 1 not resolved\n")
    out, err = printed(capsys, *NAMED, "--verdict", "contradicted")
    assert out == ""
    assert err.startswith("0 claims: none\n")


def test_own_results_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = printed(capsys, "--claim", "strd", "--results", "shipped")
    assert "what is measured is from shipped\n" in err


def test_help_explains_documents_and_verdicts(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["claims", "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert all(name in out for name in (*DOCUMENTS, *VERDICTS))


def test_bad_input_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean 'commit'?" in refused(capsys, "claims", "--document", "comit")
    assert "did you mean 'reproduced'?" in refused(capsys, "claims", "--verdict", "reproduce")
    assert "did you mean 'hot-path' or 'hot-path-in-holes'?" in refused(
        capsys, "claims", "--claim", "hotpath"
    )
    assert "unrecognized arguments" in refused(capsys, "claims", "--figure")
