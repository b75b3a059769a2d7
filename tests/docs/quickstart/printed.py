# ruff: noqa: E501 - sentences
"""The blocks of the public quick start, and where each runs as it is printed. Called by `test_printed` beside it.

The quick start itself is not part of this repository. A block is known by its first line and by a digest of all its lines: blanks at both
ends gone, runs of blanks one, empty lines left out, as the page is known as text, without indents. `file` holds the same lines; `tests`
run them from there. Lists in its prose are no blocks; what they promise is tested in `FLOWS`.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

RUNTIME = "python/runtime/tests/process/test_quickstart_handlers.py"
FLOWS = "python/cli/tests/test_flow_quickstart.py"
COMMAND = "python/cli/tests/process/test_mcp.py"
HERE = "tests/docs/quickstart/test_quickstart.py"
MANIFESTS = "tests/contract/quickstart/"
TAKEN = "tests/e2e/test_definition.py::test_manifests_of_the_quick_start_are_taken_unchanged"
CLUSTER = "tests/e2e/test_quickstart.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Printed:
    """One block.

    Attributes:
        section: heading of the quick start below which it stands.
        first: its first line, or the begin of it.
        lines: how many it has.
        digest: of them, see `digest`.
        file: in which the same lines stand, one behind the other; empty if `instead` says why they are not run.
        tests: ``file::test`` that run them, or what `instead` tells of.
        instead: why it is not run as printed, and what is.
    """

    section: str
    first: str
    lines: int
    digest: str
    file: str = ""
    tests: tuple[str, ...]
    instead: str = ""


def normal(text: str) -> list[str]:
    """The lines of a text as they are compared."""
    return [re.sub(r"\s+", " ", line).strip() for line in text.splitlines() if line.strip()]


def digest(lines: Iterable[str]) -> str:
    """Of lines as `normal` gives them."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


PRINTED: tuple[Printed, ...] = (
    Printed(
        section="Overview",
        first="def process(payload: dict) -> dict:",
        lines=8,
        digest="126a6510474a5f10",
        file=HERE,
        tests=(HERE + "::test_overviews_handler_adds_its_prediction",),
        instead="",
    ),
    Printed(
        section="Function Handler",
        first="def process(payload: dict) -> dict:",
        lines=7,
        digest="ec4241bc6c0fe808",
        file=RUNTIME,
        tests=(RUNTIME + "::test_function_handler",),
        instead="",
    ),
    Printed(
        section="Class Handler",
        first="class TextClassifier:",
        lines=14,
        digest="b6f0d80f4f1dbfc9",
        file=RUNTIME,
        tests=(RUNTIME + "::test_class_handler_with_its_environment",),
        instead="",
    ),
    Printed(
        section="Class Handler",
        first='def __init__(self, model_path: str = "/models/de',
        lines=2,
        digest="ab5f9afd773ac6d6",
        file=HERE,
        tests=(HERE + "::test_init_with_defaults_is_loaded",),
        instead="",
    ),
    Printed(
        section="Class Handler",
        first="def __init__(self, model_path: str):",
        lines=2,
        digest="216ecad63bf9f7fb",
        file=HERE,
        tests=(HERE + "::test_init_without_a_default_is_refused_by_name",),
        instead="",
    ),
    Printed(
        section="Abort Execution",
        first="def process(payload: dict) -> dict | None:",
        lines=6,
        digest="65fc0b4eb8ee2290",
        file=RUNTIME,
        tests=(RUNTIME + "::test_none_aborts",),
        instead="",
    ),
    Printed(
        section="1. Write Handler",
        first="def process(payload: dict) -> dict:",
        lines=7,
        digest="0da54d5002b7d55d",
        file=RUNTIME,
        tests=(RUNTIME + "::test_text_processor_in_the_documented_layout",),
        instead="",
    ),
    Printed(
        section="2. Test Locally",
        first="from src.text_processor import process",
        lines=9,
        digest="6b53884b42262ade",
        file=HERE,
        tests=(HERE + "::test_printed_test_of_the_handler_passes",),
        instead="",
    ),
    Printed(
        section="3. Package in Docker",
        first="FROM python:3.13-slim",
        lines=6,
        digest="321ce342da4cb612",
        file=HERE,
        tests=(
            HERE + "::test_image_of_the_text_processor_needs_one_line_more",
            RUNTIME + "::test_text_processor_copied_flat_is_refused_with_the_right_path",
        ),
        instead="the file is copied flat and imported from src, which does not fit; with the line of docs/reference/runtime.md both hold",
    ),
    Printed(
        section="3. Package in Docker",
        first="docker build -t my-processor:v1 .",
        lines=1,
        digest="87cbdaa5afd47b1c",
        file="",
        tests=("tests/e2e/test_first_actor.py::test_three_values_wake_an_actor_from_zero_and_its_result_is_stored",),
        instead="there is no Docker here; ci/cluster builds the image my-processor:v1 from a Dockerfile without it, and the actor runs",
    ),
    Printed(
        section="Deployment",
        first="apiVersion: asya.sh/v1alpha1",
        lines=22,
        digest="cbfcd7857b659907",
        file=MANIFESTS + "text-processor.yaml",
        tests=(
            TAKEN,
            "tests/e2e/test_sqs.py::test_quick_starts_manifest_works_on_sqs_and_an_actor_follows_its_queue_there",
        ),
        instead="",
    ),
    Printed(
        section="Deployment",
        first="kubectl apply -f text-processor.yaml",
        lines=1,
        digest="a40a8513375134d1",
        file=CLUSTER,
        tests=(CLUSTER + "::test_printed_apply_makes_the_actor",),
        instead="",
    ),
    Printed(
        section="Using MCP Tools",
        first="pip install git+https://github.com/deliveryhero/",
        lines=1,
        digest="030cf0676e09fe1e",
        file="",
        tests=(HERE + "::test_our_pages_print_the_address_of_our_own_package",),
        instead="the address is another repository's; our pages print pip install asya, which gives the same command",
    ),
    Printed(
        section="Using MCP Tools",
        first="export ASYA_CLI_MCP_URL=http://gateway-url/",
        lines=1,
        digest="3bb71c13b6fe4978",
        file="",
        tests=("tests/e2e/test_gateway.py::test_using_mcp_tools_as_in_the_quick_start_prints_the_result_and_stores_it",),
        instead="gateway-url stands for an installation's; the story sets the variable to its own",
    ),
    Printed(
        section="Using MCP Tools",
        first="asya mcp list",
        lines=1,
        digest="550b00a70b959810",
        file=COMMAND,
        tests=(
            "tests/e2e/test_gateway.py::test_using_mcp_tools_as_in_the_quick_start_prints_the_result_and_stores_it",
            COMMAND + "::test_tool_is_listed_by_the_printed_command",
        ),
        instead="",
    ),
    Printed(
        section="Using MCP Tools",
        first='asya mcp call text-processor --text="hello world',
        lines=1,
        digest="ec7792aabac79655",
        file=COMMAND,
        tests=(
            "tests/e2e/test_gateway.py::test_using_mcp_tools_as_in_the_quick_start_prints_the_result_and_stores_it",
            COMMAND + "::test_call_prints_what_the_quick_start_prints",
        ),
        instead="",
    ),
    Printed(
        section="Using MCP Tools",
        first="[.] Envelope ID: abc-123",
        lines=9,
        digest="1a57442fac001c37",
        file=COMMAND,
        tests=(COMMAND + "::test_call_prints_what_the_quick_start_prints",),
        instead="",
    ),
    Printed(
        section="LLM Inference",
        first="class LLMInference:",
        lines=13,
        digest="db0eb815b9bcde2e",
        file=RUNTIME,
        tests=(RUNTIME + "::test_llm_inference",),
        instead="",
    ),
    Printed(
        section="LLM Inference",
        first="env:",
        lines=5,
        digest="80ef9d39f3999ddf",
        file=MANIFESTS + "llm-inference.yaml",
        tests=(TAKEN,),
        instead="",
    ),
    Printed(
        section="Image Classification",
        first="class ImageClassifier:",
        lines=14,
        digest="220882c23c644111",
        file=RUNTIME,
        tests=(RUNTIME + "::test_image_classification",),
        instead="",
    ),
    Printed(
        section="Image Classification",
        first="resources:",
        lines=8,
        digest="b1c7ff79c49b523a",
        file=MANIFESTS + "image-classifier.yaml",
        tests=(TAKEN,),
        instead="",
    ),
    Printed(
        section="Writing a Flow",
        first="def text_analysis_flow(p: dict) -> dict:",
        lines=32,
        digest="be202caa8e116c73",
        file=FLOWS,
        tests=(
            FLOWS + "::test_printed_command_gives_the_printed_lines_and_files",
            FLOWS + "::test_printed_deployment_resolves_every_name_of_the_flow",
        ),
        instead="",
    ),
    Printed(
        section="Writing a Flow",
        first="def my_flow(p: dict) -> dict:",
        lines=6,
        digest="ea30158b1d427eee",
        file=HERE,
        tests=(HERE + "::test_flow_with_a_class_is_valid",),
        instead="",
    ),
    Printed(
        section="Compiling Flows",
        first="pip install git+https://github.com/deliveryhero/",
        lines=1,
        digest="030cf0676e09fe1e",
        file="",
        tests=(HERE + "::test_our_pages_print_the_address_of_our_own_package",),
        instead="as above",
    ),
    Printed(
        section="Compiling Flows",
        first="asya flow compile text_analysis_flow.py --output",
        lines=1,
        digest="20c8f487f0422208",
        file=HERE,
        tests=(HERE + "::test_printed_compilations_give_the_printed_files",),
        instead="",
    ),
    Printed(
        section="Compiling Flows",
        first="asya flow compile text_analysis_flow.py --output",
        lines=1,
        digest="6e46d0fe31b82938",
        file=HERE,
        tests=(HERE + "::test_printed_compilations_give_the_printed_files",),
        instead="",
    ),
    Printed(
        section="Compiling Flows",
        first="# --verbose, -v Show verbose output",
        lines=5,
        digest="1b5d119af11b0382",
        file=HERE,
        tests=(
            HERE + "::test_printed_options_are_in_the_help_with_their_defaults",
            FLOWS + "::test_every_printed_option_is_taken",
        ),
        instead="",
    ),
    Printed(
        section="Compiling Flows",
        first="compiled/",
        lines=4,
        digest="7a99b29f1a760456",
        file=HERE,
        tests=(HERE + "::test_printed_compilations_give_the_printed_files",),
        instead="",
    ),
    Printed(
        section="Compiling Flows",
        first="$ asya flow compile text_analysis_flow.py --outp",
        lines=4,
        digest="e8f2044e58f6c151",
        file=HERE,
        tests=(HERE + "::test_printed_compilations_give_the_printed_files",),
        instead="",
    ),
    Printed(
        section="Understanding Generated Routers",
        first="def sample_flow(p: dict) -> dict:",
        lines=10,
        digest="d9ed5320b8c9325a",
        file=FLOWS,
        tests=(FLOWS + "::test_printed_source_gives_exactly_the_printed_routers",),
        instead="",
    ),
    Printed(
        section="Understanding Generated Routers",
        first="# Entrypoint - starts the flow",
        lines=27,
        digest="f4eecf0e10de36d1",
        file=FLOWS,
        tests=(FLOWS + "::test_routers_do_what_the_printed_ones_do",),
        instead="",
    ),
    Printed(
        section="Handler Resolution System",
        first='resolve("handler_setup") # Maps to actor name vi',
        lines=1,
        digest="abd2958fc1008f14",
        file=HERE,
        tests=(HERE + "::test_names_resolve_as_printed",),
        instead="",
    ),
    Printed(
        section="Handler Resolution System",
        first='ASYA_HANDLER_MY_ACTOR="full.module.path.ClassNam',
        lines=6,
        digest="66b601d25a158e87",
        file=HERE,
        tests=(
            HERE + "::test_names_resolve_as_printed",
            HERE + "::test_path_with_a_part_left_out_is_no_suffix",
        ),
        instead="the third line leaves a part out of the middle and is no suffix of the path, as the sentence before it wants; it is refused, the other three resolve",
    ),
    Printed(
        section="Handler Resolution System",
        first='ASYA_HANDLER_SENTIMENT_EN="sentiment.EnglishSent',
        lines=8,
        digest="8f8b20b08a6c6c59",
        file=HERE,
        tests=(HERE + "::test_two_actors_resolve_as_printed",),
        instead="",
    ),
    Printed(
        section="Step 1: Build Router Image",
        first="FROM python:3.13-slim",
        lines=4,
        digest="1e2944d372ed05a3",
        file="docs/how-to/compile-a-flow.md",
        tests=("tests/docs/test_compile_a_flow.py::test_image_of_the_page_copies_the_file_that_its_command_imports",),
        instead="",
    ),
    Printed(
        section="Step 1: Build Router Image",
        first="docker build -t my-flow-routers:v1 .",
        lines=1,
        digest="fef7697676197a0c",
        file="",
        tests=("tests/e2e/test_flow.py::test_flow_takes_each_branch_and_an_exception_reaches_error_end_with_its_traceback",),
        instead="there is no Docker here; the flow runs on the cluster from the values that the command writes",
    ),
    Printed(
        section="Step 2: Deploy Router Actors",
        first="apiVersion: asya.sh/v1alpha1",
        lines=66,
        digest="40b916cf59aa02f5",
        file=MANIFESTS + "routers.yaml",
        tests=(
            TAKEN,
            FLOWS + "::test_printed_deployment_resolves_every_name_of_the_flow",
        ),
        instead="",
    ),
    Printed(
        section="Step 3: Deploy Handler Actors",
        first="apiVersion: asya.sh/v1alpha1",
        lines=23,
        digest="93d0778e88175ce0",
        file=MANIFESTS + "english-sentiment.yaml",
        tests=(TAKEN,),
        instead="",
    ),
    Printed(
        section="Class Handler Example in Flows",
        first="def my_flow(p: dict) -> dict:",
        lines=6,
        digest="1ae2ce6480ea3bb2",
        file=FLOWS,
        tests=(FLOWS + "::test_class_handler_of_the_printed_flow_is_its_actor",),
        instead="",
    ),
    Printed(
        section="Complete Example: ML Pipeline",
        first="def ml_pipeline_flow(p: dict) -> dict:",
        lines=22,
        digest="95b7152f854e6167",
        file=FLOWS,
        tests=(FLOWS + "::test_printed_command_gives_the_printed_lines_and_files",),
        instead="",
    ),
    Printed(
        section="Complete Example: ML Pipeline",
        first="asya flow compile ml_pipeline_flow.py --output-d",
        lines=1,
        digest="cba3c03cf88e739b",
        file=HERE,
        tests=(HERE + "::test_printed_compilations_give_the_printed_files",),
        instead="",
    ),
    Printed(
        section="Advanced: Envelope Mode",
        first="env:",
        lines=3,
        digest="feb5aaa1e2499c53",
        file=HERE,
        tests=(HERE + "::test_envelope_mode_is_set_as_printed",),
        instead="",
    ),
    Printed(
        section="Advanced: Envelope Mode",
        first="class LLMJudge:",
        lines=29,
        digest="4b73918c08bb58b8",
        file=RUNTIME,
        tests=(RUNTIME + "::test_llm_judge_inserts_a_refiner",),
        instead="",
    ),
    Printed(
        section="Error Handling",
        first="def process(payload: dict) -> dict:",
        lines=6,
        digest="f570f9ace913f810",
        file=RUNTIME,
        tests=(RUNTIME + "::test_error_handling",),
        instead="",
    ),
    Printed(
        section="Monitoring",
        first="# View actor status",
        lines=8,
        digest="2a8cd202f36580d9",
        file=CLUSTER,
        tests=(CLUSTER + "::test_printed_looks_at_an_actor_show_it",),
        instead="",
    ),
)
