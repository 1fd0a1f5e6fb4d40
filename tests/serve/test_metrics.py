"""What a server says about itself to Prometheus."""

import re
import threading

import pytest
from web_server import Embedder, ask, filled, get_json, serving, unit, until

from jointembed.index.index import Index
from jointembed.serve.metrics import RequestMetrics, render

SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? ([0-9.e+-]+)')

LABEL = 'index="songs"'


def parse(text):
    """The samples of an exposition by name and labels; every line must be a sample of a metric that has a type."""
    types, samples = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            types[line.split()[2]] = line.split()[3]
        elif not line.startswith("# HELP "):
            name, labels, value = SAMPLE.fullmatch(line).groups()
            assert name in types or types[re.sub("_(bucket|sum|count)$", "", name)] == "histogram", line
            assert (name, labels) not in samples
            samples[name, labels] = float(value)
    assert text.endswith("\n")
    return samples


def scrape(port):
    status, headers, body = ask(port, "/metrics")
    assert status == 200 and headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return parse(body.decode().replace("+Inf", "inf"))


@pytest.fixture
def songs(tmp_path):
    return filled(tmp_path / "songs.index", 30)


def test_requests_are_counted_by_route_and_status(songs):
    with serving(songs) as port:
        for target in ("s1", "s2", "nobody"):
            ask(port, f"/api/similar?id={target}")
        for target in ("/main.js", "/nothing", "/api/a", "/api/b"):
            ask(port, target)
        ask(port, "/api/info", "PUT")
        samples = scrape(port)
    requests = {labels: count for (name, labels), count in samples.items() if name == "jointembed_requests_total"}
    assert requests['route="/api/similar",status="200"'] == 2
    assert requests['route="/api/similar",status="404"'] == 1
    assert requests['route="other",status="404"'] == 3  # no address of a client becomes a label
    assert requests['route="other",status="405"'] == 1
    assert {labels.split('"')[1] for labels in requests} == {"/api/similar", "/healthz", "other"}


def test_seconds_are_a_histogram_by_route():
    metrics = RequestMetrics()
    for seconds in (0.0005, 0.001, 0.02, 100.0):
        metrics.observe("/a", 200, seconds)
    samples = parse(metrics.render().replace("+Inf", "inf"))
    buckets = {
        labels.split('le="')[1][:-1]: count for (name, labels), count in samples.items() if name.endswith("_bucket")
    }
    assert (buckets["0.001"], buckets["0.01"], buckets["0.025"], buckets["30.0"], buckets["inf"]) == (2, 2, 3, 3, 4)
    assert list(buckets.values()) == sorted(buckets.values())
    assert samples["jointembed_request_seconds_count", 'route="/a"'] == 4
    assert samples["jointembed_request_seconds_sum", 'route="/a"'] == pytest.approx(100.0215)


def test_rows_and_version_are_those_of_the_index_now(songs):
    with serving(songs) as port:
        before = scrape(port)
        assert before["jointembed_index_rows", LABEL] == 30 and before["jointembed_index_up", LABEL] == 1
        assert before["jointembed_index_info", f'{LABEL},version="{get_json(port, "/api/info")["version"]}"'] == 1
        with Index.open(songs) as index:
            index.add([{"id": "new"}], unit(1), "audio")
            version = index.version
        after = scrape(port)
        assert after["jointembed_index_rows", LABEL] == 31
        assert after["jointembed_index_info", f'{LABEL},version="{version}"'] == 1
        songs.rename(songs.with_suffix(".away"))
        missing = scrape(port)
        assert missing["jointembed_index_up", LABEL] == 0 and ("jointembed_index_rows", LABEL) not in missing


def test_queue_length_is_that_of_the_requests_that_wait(songs):
    class Slow(Embedder):
        go = threading.Event()

        def text(self, words):
            self.go.wait(20)
            return super().text(words)

    with serving(songs, load=lambda path, field: Slow()) as port:
        until(lambda: get_json(port, "/api/info")["text"] == "ready")
        threads = [threading.Thread(target=ask, args=(port, f"/api/search?q=word{at}")) for at in range(4)]
        for thread in threads:
            thread.start()
        until(lambda: scrape(port)["jointembed_queue_length", 'queue="embed-text"'] == 3)
        Slow.go.set()
        for thread in threads:
            thread.join()
        until(lambda: scrape(port)["jointembed_queue_length", 'queue="embed-text"'] == 0)


def test_metrics_need_the_token(songs):
    token = "a-token-of-16-characters"
    with serving(songs, token=token) as port:
        assert ask(port, "/metrics")[0] == 401
        assert ask(port, "/metrics", headers=[f"Authorization: Bearer {token}"])[0] == 200


def test_labels_are_escaped():
    text = render("a_metric", "gauge", "Help.", [({"name": 'a "b"\\c\nd'}, 1)])
    assert text.splitlines()[2] == r'a_metric{name="a \"b\"\\c\nd"} 1'
