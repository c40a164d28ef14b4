"""A real Chromium on the console's pages: what it complains of, what it asks of other hosts, and what axe-core finds."""
import pathlib
from urllib.parse import urlsplit

import axe_playwright_python
from playwright.sync_api import sync_playwright

AXE = (pathlib.Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text()
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
COLOURS = {"runOnly": ["color-contrast"]}


class Browser:
    """One Chromium; its windows are separate, with cookies of their own."""

    def __init__(self):
        self.playwright = sync_playwright().start()
        self.chromium = self.playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])

    def window(self, url, theme="light", width=1440, height=900, token=None):
        context = self.chromium.new_context(color_scheme=theme, viewport={"width": width, "height": height}, bypass_csp=False)
        window = Window(context.new_page(), url)
        if token:
            window.sign_in(token)
        return window

    def close(self):
        self.chromium.close()
        self.playwright.stop()


class Window:
    """A window on one server; `complaints` are what its pages did wrong since it was opened."""

    def __init__(self, page, url):
        self.page = page
        self.url = url
        self.complaints = []
        self.expected = ()
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.complaints.append(f"error on {page.url}: {error}"))
        page.on("request", self._asked)
        page.on("requestfailed", self._refused)

    def _said(self, message):
        # Which status a page has is asserted by those who open it.
        if message.type == "error" and not (self.expected and message.text.startswith("Failed to load resource") and any(f"status of {code}" in message.text for code in self.expected)):
            self.complaints.append(f"console on {self.page.url}: {message.text} ({message.location.get('url')})")

    def _asked(self, request):
        address = urlsplit(request.url)
        if address.scheme not in ("data", "blob", "about") and f"{address.scheme}://{address.netloc}" != self.url:
            self.complaints.append(f"request from {self.page.url} to another host: {request.url}")

    def _refused(self, request):
        # Chromium tells of a request that the page's policy forbids, and does not send it.
        if request.failure == "csp":
            self.complaints = [complaint for complaint in self.complaints if not complaint.endswith(f"to another host: {request.url}")]

    def harm(self):
        """The complaints that do not just say that harm was refused."""
        return [complaint for complaint in self.complaints if not any(word in complaint for word in ("Blocked script execution", "Content Security Policy"))]

    def open(self, path, status=200, drawn=True):
        """Opens a page, waits until it is drawn, and returns it."""
        self.expected = () if status < 400 else (status,)
        answer = self.page.goto(self.url + path, wait_until="load")
        assert answer.status == status, f"{path}: {answer.status} {answer.text()[:600]}"
        if drawn:
            self.drawn()
        return self.page

    def drawn(self):
        """Waits until every chart in view has its drawing, or says why it has none."""
        self.page.wait_for_function("""() => [...document.querySelectorAll("figure.chart")].every(figure => {
            const box = figure.getBoundingClientRect();
            if (box.top > innerHeight || box.bottom < 0) return true;
            const plot = figure.querySelector(".plot");
            return plot && (plot.querySelector("canvas, svg") || plot.matches(".nothing, .failed"));
        })""", timeout=10_000)

    def failed_charts(self):
        return self.page.eval_on_selector_all("figure.chart .plot.failed", "all => all.map(plot => plot.closest('figure').dataset.source + ': ' + plot.textContent)")

    def violations(self, rules=RULES):
        """What axe-core finds serious or critical: the rule, and where."""
        # Through the debugger's protocol, which the page's policy does not concern.
        self.page.evaluate(AXE)
        found = self.page.evaluate("rules => axe.run(document, rules)", rules)["violations"]
        return [f"{each['id']} ({each['impact']}): {node['target']} {(node.get('any') or node.get('all') or [{}])[0].get('message', '')}" for each in found
                if each["impact"] in ("serious", "critical") for node in each["nodes"][:4]]

    def sign_in(self, token):
        self.page.goto(self.url + "/console/sign-in")
        self.page.fill("#token", token)
        self.page.click("button[type=submit]")
        self.page.wait_for_url(self.url + "/console*")

    def close(self):
        self.page.context.close()
