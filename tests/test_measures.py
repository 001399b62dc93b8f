"""`mianpu eval` and `mianpu bench` with everything real, on very little."""

import json
from pathlib import Path

import pytest

from assistant.measures import benchmark, precision
from web import measures
from web.cli import main

ROOT = Path(__file__).parent.parent
SHARED = ROOT.parent / "shared"
NOTES = ROOT / "ingest" / "samples"
LABELS = ROOT / "tests" / "bench" / "questions.jsonl"

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two notes, and the labels that speak of nothing else."""
    folder = tmp_path_factory.mktemp("small")
    notes = folder / "notes"
    notes.mkdir()
    for name in ("05-kv-cache.md", "06-mqa-gqa-mla.md"):
        (notes / name).write_bytes((NOTES / name).read_bytes())
    names = {path.name for path in notes.iterdir()}
    rows = [json.loads(line) for line in LABELS.read_text(encoding="utf-8").splitlines()]
    kept = [r for r in rows if r["gold"] and {g["document"] for g in [*r["gold"], *r.get("also_ok", [])]} <= names][:6]
    kept += [r for r in rows if not r["answerable"]][-4:]
    labels = folder / "labels.jsonl"
    labels.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in kept), encoding="utf-8")
    return notes, labels


def test_eval_reports_retrieval_and_answers(small: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    notes, labels = small
    assert main(["eval", str(labels), "--documents", str(notes), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["retrieval"]) == {"fused", "bm25", "dense"}
    assert report["retrieval"]["fused"]["recall@10"] > 0.8
    assert report["gold_not_found"] == []
    assert {"auroc", "refused_unanswerable", "lost_answerable", "ece"} <= set(report["answerable"])
    assert main(["eval", str(labels), "--documents", str(notes), "--limit", "1", "--answers", "--json"]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert answers["generated_answers"] == 1 and set(answers["by_lang"]) == {"zh"}
    assert {"key_points", "citation_precision", "supported_sentences"} <= set(answers["naive"])
    assert 0 < answers["first_token_s"]["p50"] < answers["naive"]["first_token_s"]["p50"]
    assert answers["times_faster"] > 1


def test_the_cost_of_the_fast_precision(
    small: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "ROUNDS", 1)
    notes, labels = small
    assert main(["eval", str(labels), "--documents", str(notes), "--precision", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["float32"]["passages_per_s"] > 0 and report["float32"]["recall@5"] > 0.5
    if report["precision"] != "float32":
        assert report["cosine"]["min"] > 0.99
        assert report["loss"]["recall@5"] == round(report["float32"]["recall@5"] - report[report["precision"]]["recall@5"], 4)
    assert main(["eval", str(labels), "--precision"]) == 2
    assert "--documents" in capsys.readouterr().err


def test_labels_without_their_documents_are_wrong_use(
    small: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.md").write_text("# 别的\n\n与标注无关的一段文字。\n", encoding="utf-8")
    assert main(["eval", str(small[1]), "--documents", str(tmp_path)]) == 2
    assert "name its folder with --documents" in capsys.readouterr().err


@pytest.mark.skipif(not SHARED.exists(), reason="the shared labels are not on this machine")
def test_recall_on_the_shared_questions(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", str(SHARED / "eval" / "seed_questions.jsonl"), "--documents", str(SHARED / "seeds"), "--json"]
    assert main(arguments) == 0
    retrieval = json.loads(capsys.readouterr().out)["retrieval"]
    assert retrieval["fused"]["recall@5"] >= 0.90
    assert retrieval["fused"]["recall@5"] > max(retrieval["bm25"]["recall@5"], retrieval["dense"]["recall@5"])


def test_bench_measures_every_stage(
    small: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measures, "STARTS", 1)
    monkeypatch.setattr(benchmark, "ANSWERS", 2)
    assert main(["bench", "--documents", str(small[0]), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ingest"]["documents"] == 2 and report["ingest"]["embedded_per_s"] > 0
    assert report["again"]["seconds"] < 2
    assert report["search"]["n"] > 5
    assert report["answer"]["tokens_per_s"] > 0
    for start in (report["start"]["first"], report["start"]["second"]):
        assert start["n"] == 1
        assert 0 < start["page_s"] < start["quote_s"] <= start["first_token_s"] <= start["answered_s"]
