from asya_core.ops.metrics import Registry


def test_the_text_is_what_prometheus_reads() -> None:
    registry = Registry("asya_x_", {"actor": "a"})
    counter = registry.counter("done_total", "What was done.", ("outcome",))
    gauge = registry.gauge("open", "What is open.")
    histogram = registry.histogram("run_seconds", "How long.", (0.1, 1))

    counter.add("ok")
    counter.add("ok", by=2)
    counter.add("error")
    gauge.set(1.5)
    for value in (0.1, 0.5, 7):
        histogram.observe(value)

    assert registry.text() == (
        "# HELP asya_x_done_total What was done.\n"
        "# TYPE asya_x_done_total counter\n"
        'asya_x_done_total{actor="a",outcome="ok"} 3\n'
        'asya_x_done_total{actor="a",outcome="error"} 1\n'
        "# HELP asya_x_open What is open.\n"
        "# TYPE asya_x_open gauge\n"
        'asya_x_open{actor="a"} 1.5\n'
        "# HELP asya_x_run_seconds How long.\n"
        "# TYPE asya_x_run_seconds histogram\n"
        'asya_x_run_seconds_bucket{actor="a",le="0.1"} 1\n'
        'asya_x_run_seconds_bucket{actor="a",le="1"} 2\n'
        'asya_x_run_seconds_bucket{actor="a",le="+Inf"} 3\n'
        'asya_x_run_seconds_sum{actor="a"} 7.6\n'
        'asya_x_run_seconds_count{actor="a"} 3\n'
    )


def test_a_counter_without_labels_is_there_from_the_start() -> None:
    registry = Registry("", {})
    registry.counter("lost_total", "Lost.")

    assert "lost_total 0\n" in registry.text()


def test_label_values_are_escaped() -> None:
    registry = Registry("", {})
    registry.counter("x_total", "X.", ("code",)).add('a"b\\c\nd')

    assert 'x_total{code="a\\"b\\\\c\\nd"} 1\n' in registry.text()


def test_values_can_be_read_back() -> None:
    registry = Registry("", {})
    counter = registry.counter("x_total", "X.", ("code",))
    histogram = registry.histogram("s", "S.", (1,))
    counter.add("a")
    histogram.observe(2)

    assert (counter.value("a"), counter.value("b"), histogram.count) == (1, 0, 1)


def test_the_table_has_a_row_per_metric() -> None:
    registry = Registry("asya_", {})
    registry.counter("x_total", "X.", ("code",))

    assert "| `asya_x_total` | counter | `code` | X. |" in registry.markdown_table()
