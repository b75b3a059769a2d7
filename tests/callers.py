"""What is promised to callers, line by line, and what proves each: tests by file and name, workloads by file.

tests/docs/test_callers.py wants each of them to be there. Long variants are chosen by variables, which stand beside. What the cluster shows
is in tests/e2e, the page in python/gateway/tests/process/web.
"""

from dataclasses import dataclass

_GATEWAY = "python/gateway/tests/process"
_CONTRACT = "tests/contract"


@dataclass(frozen=True, slots=True, kw_only=True)
class Promise:
    """One line.

    Attributes:
        sentence: what callers, or those who run the gateway, may rely on.
        tests: ``file::test``, or the file of a workload of benchmarks/.
        variables: of the environment, that choose the long variant.
    """

    sentence: str
    tests: tuple[str, ...]
    variables: tuple[str, ...] = ()


PROMISES: tuple[Promise, ...] = (
    Promise(
        sentence="Every applicable scenario of the official MCP conformance suite passes; the exceptions have a reason each.",
        tests=(
            f"{_CONTRACT}/test_mcp_conformance.py::test_every_applicable_scenario_passes",
            f"{_CONTRACT}/test_mcp_conformance.py::test_every_exception_has_a_reason",
        ),
    ),
    Promise(
        sentence="The official Python and TypeScript clients and MCP Inspector list and call tools.",
        tests=(
            f"{_CONTRACT}/test_mcp_clients.py::test_official_client_lists_and_calls_and_hears_of_failures",
            f"{_CONTRACT}/test_mcp_clients.py::test_inspector_lists_and_calls_and_hears_of_failures",
        ),
    ),
    Promise(
        sentence="A handler's exception is a failed call with code and message; its traceback is in error-end's record alone.",
        tests=(
            f"{_CONTRACT}/test_gateway_and_crew.py::test_exception_is_told_without_its_traceback_which_the_record_has",
            "python/crew/tests/process/test_with_gateway.py::test_a_call_that_fails_ends_with_the_error_and_its_traceback_is_stored_only",
            f"{_GATEWAY}/test_mcp.py::test_failure_names_type_actor_and_envelope_and_no_traceback",
        ),
    ),
    Promise(
        sentence="Two replicas on PostgreSQL: a stream on one hears what the other is told, the end within 2 s of a kill and return.",
        tests=(
            f"{_GATEWAY}/test_replicas.py::test_stream_on_one_replica_hears_reports_to_the_other",
            f"{_GATEWAY}/test_replicas.py::test_client_of_a_killed_replica_goes_on_at_the_other_without_a_gap",
            f"{_GATEWAY}/test_replicas.py::test_client_that_came_back_hears_the_end_that_is_told_to_another_replica",
        ),
        variables=("ASYA_TEST_GATEWAY_RECONNECTED_SECONDS=2",),
    ),
    Promise(
        sentence="Killed between row and publish, 50 times on each store: every accepted id ends exactly once.",
        tests=(f"{_GATEWAY}/test_kills.py::test_every_answered_call_of_a_killed_gateway_is_published_and_ends_once",),
        variables=("ASYA_TEST_GATEWAY_KILLS=50",),
    ),
    Promise(
        sentence="Database stopped for 30 s: 503 with Retry-After, nothing lost, finals recorded afterwards.",
        tests=(
            f"{_GATEWAY}/test_replicas.py::test_while_the_database_is_away_calls_are_503_and_afterwards_nothing_is_lost",
            f"{_GATEWAY}/test_replicas.py::test_cut_connections_are_replaced_unseen",
        ),
        variables=("ASYA_TEST_GATEWAY_AWAY_SECONDS=30",),
    ),
    Promise(
        sentence="A gateway that is absent for a minute, late or silent leaves a sidecar 90 % of its rate; what it was to tell is late.",
        tests=(
            "benchmarks/workloads/b02_progress.py",
            "python/sidecar/tests/process/test_gateway_away.py::test_messages_flow_whatever_the_gateway_does",
            "python/sidecar/tests/edges/test_reporter.py::test_reports_that_a_gateway_did_not_take_go_again_as_the_oldest",
            "python/crew/tests/process/test_with_gateway.py::test_a_gateway_that_was_killed_learns_how_it_ended_once_it_is_back",
        ),
    ),
    Promise(
        sentence="The gateway beside others: durable calls, creates, streams, reports.",
        tests=("benchmarks/workloads/b08_gateway.py",),
    ),
    Promise(
        sentence="More than twenty forged tokens are refused; good ones pass with their scopes; 403 names all scopes.",
        tests=(
            f"{_GATEWAY}/test_access.py::test_forged_tokens_are_401_and_tell_where_to_sign_in",
            f"{_GATEWAY}/test_access.py::test_good_tokens_pass_with_their_scopes",
            f"{_GATEWAY}/test_access.py::test_token_without_our_scopes_is_403_that_names_them",
        ),
    ),
    Promise(
        sentence="Each principal reaches exactly its cells, by REST and by MCP; what is somebody else's is as absent as what is not there.",
        tests=(
            f"{_GATEWAY}/test_access.py::test_each_principal_reaches_exactly_its_cells",
            f"{_GATEWAY}/test_access.py::test_every_path_to_an_envelope_has_its_cells",
            f"{_GATEWAY}/test_access.py::test_task_of_somebody_else_is_as_absent_as_none",
            f"{_GATEWAY}/test_access.py::test_mcp_sees_with_the_same_eyes",
            f"{_GATEWAY}/test_access.py::test_children_and_counts_of_somebody_else_are_not_shown",
            f"{_GATEWAY}/test_access.py::test_idempotency_key_of_one_caller_tells_another_nothing",
        ),
    ),
    Promise(
        sentence="No log holds a token, an argument, a result or a traceback, at level debug too; what was done by whom is told.",
        tests=(
            f"{_GATEWAY}/test_access.py::test_log_holds_no_token_and_no_payload_and_tells_who_did_what",
            f"{_CONTRACT}/test_gateway_and_crew.py::test_no_process_logs_the_internal_credential",
        ),
    ),
    Promise(
        sentence="The internal paths are on the internal socket alone, and want its credential.",
        tests=(
            f"{_GATEWAY}/test_access.py::test_internal_socket_wants_its_own_credential",
            f"{_GATEWAY}/test_rest.py::test_health_and_metrics_are_on_the_internal_socket_only",
        ),
    ),
    Promise(
        sentence="100 MB, endless chunks, gzip bombs, slow and endless heads, deep JSON: 413, 415, 408, 431, 400, within 20 MB.",
        tests=(
            f"{_GATEWAY}/test_limits.py::test_what_is_far_too_much_is_refused_and_its_memory_stays_within_20_mb",
            f"{_GATEWAY}/test_limits.py::test_body_that_does_not_come_in_time_is_408",
            f"{_GATEWAY}/test_limits.py::test_body_that_is_no_strict_json_is_400",
            f"{_GATEWAY}/test_limits.py::test_header_that_is_not_taken_has_its_code",
            f"{_GATEWAY}/test_limits.py::test_too_many_requests_are_429_with_retry_after",
            f"{_GATEWAY}/test_limits.py::test_third_stream_of_a_caller_is_429_and_others_go_on",
        ),
    ),
    Promise(
        sentence="MCP messages of a wrong version, header, id or method, batches, 10 MB arguments: their codes, and no envelope.",
        tests=(
            f"{_GATEWAY}/test_mcp.py::test_what_is_no_good_message_has_its_code_and_makes_no_envelope",
            f"{_GATEWAY}/test_mcp.py::test_proto_is_a_key_like_any_other",
        ),
    ),
    Promise(
        sentence="Unknown tool and wrong argument types have their codes and hints, by REST, by MCP and at the command line.",
        tests=(
            f"{_GATEWAY}/test_limits.py::test_wrong_arguments_are_422_with_pointers",
            f"{_GATEWAY}/test_mcp.py::test_bad_arguments_are_told_as_pointers_and_make_no_envelope",
            f"{_GATEWAY}/test_mcp.py::test_unknown_tool_is_invalid_params",
            f"{_GATEWAY}/test_access.py::test_tools_are_seen_and_called_by_those_who_may",
            "python/cli/tests/process/test_mcp.py::test_mistake_is_two_lines_and_a_code",
        ),
    ),
    Promise(
        sentence="A gateway that cannot be reached is exit code 3 and two lines.",
        tests=("python/cli/tests/process/test_mcp.py::test_gateway_that_is_down_is_exit_3",),
    ),
    Promise(
        sentence="An id that is kept no longer is told like one that never was, with the hint that envelopes are kept for a limited time.",
        tests=(
            f"{_GATEWAY}/test_rest.py::test_id_that_is_kept_no_longer_is_404_with_a_hint",
            f"{_GATEWAY}/test_rest.py::test_past_deadline_expires_by_itself",
            "python/cli/tests/process/test_mcp.py::test_mistake_is_two_lines_and_a_code",
        ),
    ),
)
