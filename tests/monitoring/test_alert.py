import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from nightshift.config.settings import Monitoring
from nightshift.monitoring.alert import raise_alert
from nightshift.monitoring.drift import Finding

DRIFTED = Finding("events", "price", "alert", "PSI 0.400 is over 0.25", "numeric")
STALE = Finding("events", "freshness", "alert", "the newest event is 60 h old", "freshness")
STEADY = Finding("events", "quantity", "ok", "PSI 0.010 is under 0.1", "numeric")


class Webhook(HTTPServer):
    """A server on loopback that keeps what is posted to it and answers with `status`; 0 hangs up without a word."""

    def __init__(self, status: int) -> None:
        self.status, self.received = status, []
        super().__init__(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server_port}/services/s3cret"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        if self.server.status:
            self.send_response(self.server.status)
            self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def webhook(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def serve(status: int) -> Webhook:
        servers.append(Webhook(status))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_alert_is_logged_and_posted(webhook, caplog):
    server = webhook(200)
    raised = raise_alert([DRIFTED, STEADY], Monitoring(webhook=server.address, retrain=True), "2011-11-30", "/r.html")
    assert raised.alerts == ("events.price: PSI 0.400 is over 0.25",)
    assert raised.webhook == "sent"
    assert raised.retrain
    (message,) = server.received
    assert message["text"] == "Drift alert for 2011-11-30\n- events.price: PSI 0.400 is over 0.25\n/r.html"
    assert message["alerts"] == list(raised.alerts)
    assert message["retrain"] is True
    assert "drift alert for 2011-11-30: events.price" in caplog.text


@pytest.mark.parametrize(
    ("status", "problem"), [(500, "answered 500"), (404, "answered 404"), (0, "could not be reached")]
)
def test_a_webhook_that_fails_is_told_and_hides_nothing(webhook, caplog, status, problem):
    server = webhook(status)
    raised = raise_alert([DRIFTED], Monitoring(webhook=server.address), "2011-11-30", "/r.html")
    assert raised.alerts
    assert raised.webhook.startswith("failed: ")
    assert problem in raised.webhook
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert problem in errors[0]
    assert "s3cret" not in caplog.text + raised.webhook


def test_nobody_listening_is_told(webhook):
    server = webhook(200)
    server.server_close()
    raised = raise_alert([DRIFTED], Monitoring(webhook=server.address), "2011-11-30", "/r.html", timeout=2)
    assert "could not be reached" in raised.webhook


def test_a_webhook_that_does_not_answer_is_given_up(webhook):
    server = Webhook(200)  # accepts, and never serves
    try:
        raised = raise_alert([DRIFTED], Monitoring(webhook=server.address), "2011-11-30", "/r.html", timeout=0.1)
    finally:
        server.server_close()
    assert "timed out" in raised.webhook


@pytest.mark.parametrize("address", ["file:///etc/passwd", "hooks.example.com/x", "http://[bad"])
def test_only_the_web_is_posted_to(address):
    raised = raise_alert([DRIFTED], Monitoring(webhook=address), "2011-11-30", "/r.html")
    assert raised.webhook.startswith("failed: ")


def test_without_an_alert_nothing_is_said(webhook, caplog):
    server = webhook(200)
    raised = raise_alert([STEADY], Monitoring(webhook=server.address, retrain=True), "2011-11-30", "/r.html")
    assert (raised.alerts, raised.webhook, raised.retrain) == ((), None, False)
    assert not server.received
    assert not caplog.records


def test_retraining_is_asked_for_only_if_configured_and_never_on_events_that_stopped_coming():
    assert not raise_alert([DRIFTED], Monitoring(retrain=False), "2011-11-30", "/r.html").retrain
    assert not raise_alert([STALE], Monitoring(retrain=True), "2011-11-30", "/r.html").retrain
    assert raise_alert([STALE, DRIFTED], Monitoring(retrain=True), "2011-11-30", "/r.html").retrain
