"""The console's template: alarms wait for what is told, lead to a page, and reach somebody."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from chatcore.adapters.measures import OF_FUNCTIONS
from deploy.console.metrics import AWS_METRICS, FUNCTIONS, aws, ours
from deploy.template import ROOT, TEMPLATE, properties, read
from gpu_service.worker.measures import OF_THE_WORKER

CONSOLE = read("operations/template.yaml")
RESOURCES: dict[str, Any] = CONSOLE["Resources"]
RUNBOOKS = (ROOT / "docs" / "runbooks.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")


def of_type(kind: str) -> dict[str, Any]:
    found = {name: body["Properties"] for name, body in RESOURCES.items() if body["Type"] == kind}
    assert found
    return found


ALARMS = of_type("AWS::CloudWatch::Alarm")
alarms = pytest.mark.parametrize("alarm", ALARMS)


def emitted() -> dict[str, set[str]]:
    """Our metrics and their dimensions, as docs/operations.md has them; a test there holds it to the code."""
    rows = re.findall(r"^\| `(\w+)` \| [\w/]+ \| ([^|]+) \|", OPERATIONS, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", dimensions)) for name, dimensions in rows}


def assert_known(namespace: str, name: str, dimensions: dict[str, Any]) -> None:
    if namespace == "chatcore":
        assert emitted()[name] == set(dimensions), name
        services = {"worker", "ws_authorizer", *FUNCTIONS}
        assert dimensions["service"] in services
        assert dimensions.get("tier", "free") in ("free", "plus", "pro", "background", "none")
    else:
        assert AWS_METRICS[namespace, name] == set(dimensions), name


class TestAlarms:
    @alarms
    def test_wait_for_a_metric_that_somebody_tells(self, alarm: str) -> None:
        told = ALARMS[alarm]
        dimensions = {each["Name"]: each["Value"] for each in told["Dimensions"]}
        assert_known(told["Namespace"], told["MetricName"], dimensions)

    @alarms
    def test_have_a_runbook(self, alarm: str) -> None:
        description = ALARMS[alarm]["AlarmDescription"]["Fn::Sub"]
        _, _, heading = description.partition("${RunbookUrl}#")
        heads = re.findall(r"^## (.+)$", RUNBOOKS, re.MULTILINE)
        assert heading in {
            re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads
        }

    @alarms
    def test_tell_the_topic_when_they_begin_and_when_they_end(self, alarm: str) -> None:
        assert ALARMS[alarm]["AlarmActions"] == [{"Ref": "AlarmTopic"}]
        assert ALARMS[alarm]["OKActions"] == [{"Ref": "AlarmTopic"}]

    @alarms
    def test_can_be_reached_within_what_they_look_at(self, alarm: str) -> None:
        assert ALARMS[alarm]["DatapointsToAlarm"] <= ALARMS[alarm]["EvaluationPeriods"]

    def test_every_runbook_tells_what_to_do_and_how_it_was_tried(self) -> None:
        sections = re.split(r"^## ", RUNBOOKS, flags=re.MULTILINE)[1:]
        for section in sections:
            for part in ("**Symptom.**", "**Look at**", "**Do**", "**Tried.**"):
                assert part in section, section.splitlines()[0]

    def test_the_topic_is_encrypted_with_a_key_that_alarms_may_use(self) -> None:
        (topic,) = of_type("AWS::SNS::Topic").values()
        assert topic["KmsMasterKeyId"] == {"Ref": "AlarmKey"}
        statements = RESOURCES["AlarmKey"]["Properties"]["KeyPolicy"]["Statement"]
        (mine,) = [each for each in statements if each["Sid"] == "Alarms"]
        assert mine["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        assert set(mine["Action"]) == {"kms:Decrypt", "kms:GenerateDataKey*"}
        assert "aws:SourceAccount" in json.dumps(mine["Condition"])


class TestTheDashboard:
    def widgets(self) -> list[dict[str, Any]]:
        (dashboard,) = of_type("AWS::CloudWatch::Dashboard").values()
        text = dashboard["DashboardBody"]["Fn::Sub"]
        names = set(re.findall(r"\$\{([^}]+)\}", text))
        assert names - {"AWS::Region"} <= set(CONSOLE["Parameters"])
        return [widget["properties"] for widget in json.loads(text)["widgets"]]

    def rows(self) -> list[list[Any]]:
        return [row for widget in self.widgets() for row in widget["metrics"]]

    def test_shows_metrics_that_somebody_tells(self) -> None:
        shown = [row for row in self.rows() if isinstance(row[0], str)]
        assert shown
        for namespace, name, *rest, _ in shown:
            assert_known(namespace, name, dict(zip(rest[::2], rest[1::2], strict=True)))

    def test_shows_all_of_ours(self) -> None:
        shown = {row[1] for row in self.rows() if row[0] == "chatcore"}
        unseen = {"slot_s", "offers", "stalled"}
        known = {name for each in (*OF_FUNCTIONS, *OF_THE_WORKER) for name in each.units}
        assert shown == known - unseen

    def test_formulas_speak_of_rows_of_their_own_graph(self) -> None:
        formulas = 0
        for widget in self.widgets():
            options = [row[-1] for row in widget["metrics"]]
            ids = {each["id"] for each in options if "id" in each}
            for expression in (each["expression"] for each in options if "expression" in each):
                formulas += 1
                text = re.sub(r"\$\{\w+\}", "", expression)
                assert set(re.findall(r"\b[a-z]\w*", text)) <= ids
        assert formulas

    def test_graphs_do_not_lie_on_each_other(self) -> None:
        (dashboard,) = of_type("AWS::CloudWatch::Dashboard").values()
        widgets = json.loads(dashboard["DashboardBody"]["Fn::Sub"])["widgets"]
        places = {(widget["x"], widget["y"]) for widget in widgets}
        assert len(places) == len(widgets)
        assert all(widget["x"] + widget["width"] <= 24 for widget in widgets)


class TestQueries:
    @pytest.mark.parametrize("query", of_type("AWS::Logs::QueryDefinition"))
    def test_ask_for_lines_and_fields_that_there_are(self, query: str) -> None:
        text = of_type("AWS::Logs::QueryDefinition")[query]["QueryString"]
        code = "\n".join(
            path.read_text(encoding="utf-8")
            for folder in ("functions", "gpu_service/worker", "layers/chatcore/chatcore")
            for path in (ROOT / folder).rglob("*.py")
        )
        for line in re.findall(r'"([a-z_]+\.[a-z_.]+)"', text):
            assert f'"{line}"' in code
        fields = re.findall(r"\b[a-z]+_(?:id|ms|s|slots|tokens|share)\b|\bat_favourite\b", text)
        for field in fields:
            assert re.search(rf"\b{field}\b", code), field

    def test_look_into_all_functions_and_the_workers(self) -> None:
        for query in of_type("AWS::Logs::QueryDefinition").values():
            *functions, workers = query["LogGroupNames"]
            named = {group["Fn::Sub"].rpartition("/")[2] for group in functions}
            assert named == {path.parent.name for path in (ROOT / "functions").glob("*/app.py")}
            assert workers["Fn::If"][1] == {"Ref": "WorkerLogGroup"}


class TestTheTemplate:
    def test_is_in_step_with_what_makes_it(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "deploy.console", "--check"],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'layers' / 'chatcore'}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def test_is_given_by_the_stack_whatever_has_no_default(self) -> None:
        nested = properties("ConsoleStack")
        assert nested["TemplateURL"] == "operations/template.yaml"
        assert TEMPLATE["Resources"]["ConsoleStack"]["Condition"] == "HasConsole"
        needed = {name for name, body in CONSOLE["Parameters"].items() if "Default" not in body}
        assert needed <= set(nested["Parameters"]) <= set(CONSOLE["Parameters"])

    def test_defaults_are_those_of_the_stack(self) -> None:
        for name, body in CONSOLE["Parameters"].items():
            if name in TEMPLATE["Parameters"] and "Default" in body:
                assert body["Default"] == TEMPLATE["Parameters"][name]["Default"]


def test_what_nobody_tells_cannot_be_named() -> None:
    with pytest.raises(KeyError):
        ours("no_such_metric")
    with pytest.raises(ValueError, match="told apart"):
        ours("ttft_ms")
    with pytest.raises(ValueError, match="not told apart"):
        ours("slots", tier="free")
    with pytest.raises(ValueError, match="not known"):
        aws("AWS/SQS", "ApproximateAgeOfOldestMessage", TopicName="x")
