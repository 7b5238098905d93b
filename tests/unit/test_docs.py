"""What the pages say is what the code does: their tables, names, commands and links."""

import ast
import re
import xml.etree.ElementTree as ET
from http import HTTPStatus
from pathlib import Path

import pytest

from chatcore.adapters import measures
from chatcore.adapters.dynamo.items import CHECKPOINT_RETENTION_S
from chatcore.adapters.measures import OF_FUNCTIONS
from chatcore.domain.errors import Code
from chatcore.domain.run import MAX_ATTEMPTS, TRANSITIONS
from chatcore.domain.run import Event as RunEvent
from chatcore.domain.tiers import DEFAULTS, USER_TIERS
from chatcore.domain.usage import RETENTION_S as USAGE_RETENTION_S
from chatcore.protocol import websocket as ws
from deploy.template import RESOURCES, TEMPLATE, of_type
from gpu_service.worker import measures as worker_measures
from gpu_service.worker.measures import OF_THE_WORKER
from local.accounts import ACCOUNTS
from local.preflight import PORTS
from tests.unit.functions.loading import load_function

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = (
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "web" / "README.md",
    ROOT / "gpu_service" / "triton" / "README.md",
    *sorted(DOCS.rglob("*.md")),
)
CODE = [
    path
    for folder in ("functions", "gpu_service/worker", "layers/chatcore/chatcore")
    for path in sorted((ROOT / folder).rglob("*.py"))
]


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def rows(text: str, columns: int) -> list[list[str]]:
    """The cells of every table row with so many columns, heads included."""
    found = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("| ")
    ]
    return [cells for cells in found if len(cells) == columns]


def named(text: str) -> set[str]:
    """Whatever stands in backquotes."""
    return set(re.findall(r"`([^`\n]+)`", text))


class TestErrorCodes:
    def table(self) -> dict[str, list[str]]:
        return {
            cells[0].strip("`"): cells
            for cells in rows(page("errors.md"), 5)
            if cells[0].startswith("`")
        }

    def test_every_code_is_explained_once(self) -> None:
        assert list(self.table()) == [str(code) for code in Code]

    @pytest.mark.parametrize("code", Code)
    def test_its_http_status_is_the_one_of_the_api(self, code: Code) -> None:
        _, where, status, *_ = self.table()[code]
        told = load_function("http_api").STATUS.get(code, HTTPStatus.BAD_REQUEST)
        assert status == ("–" if where in ("WebSocket", "run") else str(int(told)))

    def test_a_runs_own_codes_are_those_that_a_run_fails_with(self) -> None:
        of_runs = {code for code, cells in self.table().items() if cells[1] == "run"}
        assert of_runs == {str(code) for code in ws.FAILURE_WORDS}


def _anchors(path: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def _links() -> list[tuple[Path, str]]:
    return [
        (path, target)
        for path in PAGES
        for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
        if not target.startswith(("http:", "https:"))
    ]


class TestPages:
    @pytest.mark.parametrize(
        ("path", "target"), _links(), ids=lambda part: getattr(part, "name", part)
    )
    def test_links_lead_somewhere(self, path: Path, target: str) -> None:
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists()
        assert not anchor or anchor in _anchors(found)

    def test_every_page_can_be_reached_from_the_readme(self) -> None:
        reached, ahead = set(), [ROOT / "README.md"]
        links = _links()
        while ahead:
            path = ahead.pop()
            reached.add(path)
            targets = {
                (path.parent / to.partition("#")[0]).resolve() for at, to in links if at == path
            }
            ahead.extend(target for target in targets & set(PAGES) if target not in reached)
        assert {path for path in PAGES if path.is_relative_to(DOCS)} <= reached

    @pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
    def test_commands_are_targets_of_the_makefile(self, path: Path) -> None:
        lines = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
        targets = set(" ".join(lines).split())
        code = re.findall(r"```.*?```|`[^`\n]+`", path.read_text(encoding="utf-8"), re.DOTALL)
        assert set(re.findall(r"\bmake ([a-z][a-z-]*)", "\n".join(code))) <= targets

    @pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
    def test_tests_that_are_named_exist(self, path: Path) -> None:
        known = "\n".join(
            file.read_text(encoding="utf-8") + file.stem
            for folder in ("tests", "web/tests")
            for file in (ROOT / folder).rglob("*.*")
            if file.suffix in (".py", ".ts")
        )
        text = path.read_text(encoding="utf-8")
        for name in re.findall(r"\b(test_\w+)|-k (\w+)", text):
            assert "".join(name).lower() in known.lower()

    def test_pictures_are_well_formed(self) -> None:
        for picture in (DOCS / "images").glob("*.svg"):
            assert ET.fromstring(picture.read_text(encoding="utf-8")).tag.endswith("svg")

    def test_readme_tells_how_to_check_and_whom_to_sign_in_as(self) -> None:
        text = (ROOT / "README.md").read_text(encoding="utf-8")
        for needed in ("make run", "make test", "make check", *(a.email for a in ACCOUNTS)):
            assert needed in text


def _strings_read_by_settings() -> set[str]:
    """Names of the environment that settings.py asks for."""
    source = (ROOT / "layers" / "chatcore" / "chatcore" / "settings.py").read_text()
    literals = {
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    direct = {text for text in literals if re.fullmatch(r"[A-Z][A-Z0-9_]+", text)}
    tables = {f"{text.upper()}_TABLE" for text in literals if text in TABLE_NAMES}
    return direct | tables


TABLE_NAMES = {name.removesuffix("Table").lower() for name in of_type("AWS::DynamoDB::Table")}


class TestSettings:
    def test_every_variable_is_documented(self) -> None:
        documented = named(page("local.md") + page("deploy.md"))
        read = _strings_read_by_settings()
        assert {"CHATS_TABLE", "TICKETS_TABLE", "TRITON_URL", "DRAIN_S", "WORKER_ID"} <= read
        assert read <= documented

    def test_what_the_template_gives_its_functions_is_documented(self) -> None:
        given = {
            name
            for body in of_type("AWS::Serverless::Function").values()
            for name in body["Properties"]["Environment"]["Variables"]
        } | set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
        assert given <= named(page("local.md") + page("deploy.md"))

    def test_ports_are_those_of_the_local_cloud(self) -> None:
        told = {cells[0].strip("`"): cells[1] for cells in rows(page("local.md"), 3)}
        assert {spec.variable: str(spec.default) for spec in PORTS}.items() <= told.items()

    def test_parameters_are_those_of_the_template(self) -> None:
        told = {name for cells in rows(page("deploy.md"), 3) for name in named(cells[0])}
        assert set(TEMPLATE["Parameters"]) <= told


class TestArchitecture:
    def test_tiers_are_as_told(self) -> None:
        told = {cells[0]: cells[1:] for cells in rows(page("architecture.md"), 8)}
        for tier in USER_TIERS:
            limits = DEFAULTS[tier]
            assert told[tier] == [
                str(limits.weight),
                str(limits.max_active_runs),
                *(f"{budget.tokens:,}" for budget in limits.budgets),
                f"{limits.max_text_chars:,}",
                f"{limits.context_tokens:,}",
                f"{limits.max_output_tokens:,}",
            ]

    def test_tables_have_the_keys_that_are_told(self) -> None:
        told = {cells[0]: cells[1:3] for cells in rows(page("architecture.md"), 5)}
        for name, body in of_type("AWS::DynamoDB::Table").items():
            keys = [f"`{key['AttributeName']}`" for key in body["Properties"]["KeySchema"]]
            partition, sort = told[name.removesuffix("Table").lower()]
            assert partition == keys[0]
            assert sort.split(" ")[0] == (keys[1] if len(keys) > 1 else "")
        assert CHECKPOINT_RETENTION_S == 24 * 3600
        assert USAGE_RETENTION_S == 400 * 24 * 3600

    def test_every_transition_is_explained(self) -> None:
        text = page("architecture.md")
        table = " ".join(cells[0] for cells in rows(text, 4))
        assert {event for _, event in TRANSITIONS} == set(RunEvent)
        for event in RunEvent:
            assert event in table
        assert MAX_ATTEMPTS == 4
        assert "four faults" in text

    def test_every_resource_that_is_a_function_is_told(self) -> None:
        functions = {
            body["Properties"]["CodeUri"].removeprefix("functions/")
            for body in RESOURCES.values()
            if body["Type"] == "AWS::Serverless::Function"
        }
        assert functions <= named((ROOT / "README.md").read_text(encoding="utf-8"))


class TestLogLines:
    def in_code(self) -> set[str]:
        found: set[str] = set()
        for path in CODE:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(func=ast.Attribute(attr=level), args=[words, *_]) if level in (
                        "info",
                        "warning",
                        "error",
                        "exception",
                    ):
                        found |= {
                            part.value
                            for part in ast.walk(words)
                            if isinstance(part, ast.Constant) and isinstance(part.value, str)
                        }
        return found

    def test_every_one_is_explained_and_no_other(self) -> None:
        table = [cells[0] for cells in rows(page("operations.md"), 3)]
        told = {name for name in named("\n".join(table)) if "." in name}
        assert self.in_code() == told


class TestMetrics:
    """Of the table in operations.md: metric, unit, dimensions, lines, what it is."""

    def told(self) -> dict[str, tuple[str, frozenset[str], frozenset[str]]]:
        return {
            cells[0].strip("`"): (cells[1], frozenset(named(cells[2])), frozenset(named(cells[3])))
            for cells in rows(page("operations.md"), 5)
            if cells[0].startswith("`")
        }

    def test_are_those_of_the_code_and_no_others(self) -> None:
        in_code: dict[str, tuple[str, frozenset[str], frozenset[str]]] = {}
        for each in (*OF_FUNCTIONS, *OF_THE_WORKER):
            dimensions = frozenset({"service", "tier"} if each.by_tier else {"service"})
            for name, unit in each.units.items():
                *_, known = in_code.get(name, ("", dimensions, frozenset()))
                in_code[name] = (unit.value, dimensions, known | set(each.lines))
        assert self.told() == in_code

    def test_come_with_lines_that_are_logged(self) -> None:
        lines = {line for *_, lines in self.told().values() for line in lines}
        assert lines <= TestLogLines().in_code()

    def test_all_of_a_modules_are_in_its_list(self) -> None:
        for module, listed in ((measures, OF_FUNCTIONS), (worker_measures, OF_THE_WORKER)):
            known = [each for each in vars(module).values() if isinstance(each, measures.Measures)]
            assert known == list(listed)
