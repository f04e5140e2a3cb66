"""A training within a budget is a training like any other, and says what it tried."""

from __future__ import annotations

import pytest


def test_a_budget_that_is_no_time_is_refused_before_anything_is_done(cli, project):
    ran = cli("train", "label", "--budget", "soon", "-p", project)
    assert ran.code == 2
    assert "such as 90s, 5m or 1h" in ran.err


@pytest.mark.slow
def test_a_search_says_what_it_tried_and_its_model_tags_and_is_evaluated(cli, project, shop):
    result = cli("train", "label", "--budget", "10m", "-p", project, "--json").json
    tried = result["summary"]["search"]["tried"]
    assert tried[0]["space"] == "stored"
    assert {t["space"] for t in tried} == {"stored", "root", "larger", "larger-root", "crops",
                                           "crops-root"}  # fmt: skip
    assert any(line.startswith("Search: ") for line in result["summary"]["lines"])
    again = cli("train", "label", "--budget", "10m", "-p", project, "--json").json
    assert again["reused"]
    assert cli("tag", "-p", project).code == 0
    assert cli("evaluate", "label", "-p", project).code == 0
    report = (project / "reports" / "label" / "report.html").read_text()
    assert "What the search tried" in report


@pytest.mark.slow
def test_the_root_of_what_was_embedded_is_what_its_graph_gives(project, tmp_path):
    import numpy as np

    import listlens
    from listlens.learn.candidates import TrainOptions
    from listlens.pipeline import searching
    from listlens.pipeline.dataset import build_examples

    with listlens.open(project) as opened:
        examples = build_examples(
            opened.store, opened.store.labels.task("label"), opened.backbone.space
        )
        looks = searching._Looks(examples, opened.backbone, tmp_path, opened.limits)
        view = searching.VIEWS[-2]
        made = looks.maker(view)(600.0)
        exact = searching.embedded_within(
            examples.photos, looks.backbone(view), 600.0, opened.limits
        )
        assert np.allclose(made, exact, atol=4e-3)
        learnt = searching.learn(
            examples, opened.backbone, TrainOptions(), None, tmp_path, opened.limits
        )
        assert learnt.own_backbone is None
