from asya_core.ops.metrics import Label, Registry

CODE = Label(name="code")


def test_the_text_is_what_prometheus_reads() -> None:
    registry = Registry("asya_x_", {"actor": "a"})
    counter = registry.counter("done_total", "What was done.", (Label(name="outcome"),))
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
    registry.counter("x_total", "X.", (CODE,)).add('a"b\\c\nd')

    assert 'x_total{code="a\\"b\\\\c\\nd"} 1\n' in registry.text()


def test_values_can_be_read_back() -> None:
    registry = Registry("", {})
    counter = registry.counter("x_total", "X.", (CODE,))
    histogram = registry.histogram("s", "S.", (1,))
    counter.add("a")
    histogram.observe(2)

    assert (counter.value("a"), counter.value("b"), histogram.count) == (1, 0, 1)


def test_the_table_has_a_row_per_metric() -> None:
    registry = Registry("asya_", {})
    registry.counter("x_total", "X.", (CODE,))

    registry.histogram("wait_seconds", "W.", (1,))
    registry.gauge("up", "U.", (Label(name="link", values=("in", "out")), Label(name="of", meaning="whom")))

    assert registry.markdown_table().splitlines()[2:] == [
        "| `asya_x_total` | counter | – | `code` | X. |",
        "| `asya_wait_seconds` | histogram | seconds | – | W. |",
        "| `asya_up` | gauge | – | `link`: `in` `out`; `of`: whom | U. |",
    ]


def test_label_values_that_are_known_beforehand_are_there_from_the_start_as_zero() -> None:
    registry = Registry("", {})
    registry.counter("x_total", "X.", (Label(name="a", values=("1", "2")), Label(name="b", values=("3",))))
    registry.counter("y_total", "Y.", (Label(name="a", values=("1", "2")), CODE))

    samples = [line for line in registry.text().splitlines() if not line.startswith("#")]
    assert samples == [
        'x_total{a="1",b="3"} 0',
        'x_total{a="2",b="3"} 0',
    ]


def test_the_unit_is_in_the_name() -> None:
    registry = Registry("", {})
    made = [registry.counter("sent_bytes_total", ""), registry.gauge("oldest_seconds", ""), registry.gauge("open", "")]

    assert [metric.unit for metric in made] == ["bytes", "seconds", ""]
    assert registry.metrics == tuple(made)


def test_what_is_not_among_replaced_values_is_no_series_any_more() -> None:
    registry = Registry("", {})
    gauge = registry.gauge("waiting", "W.", (Label(name="actor"),))
    gauge.set(3, "a")
    gauge.replace({("b",): 2})

    assert [line for line in registry.text().splitlines() if not line.startswith("#")] == ['waiting{actor="b"} 2']
