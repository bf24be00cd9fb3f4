"""What tests of the report share: a page in parts, by the standard library's parser, and a run made up."""

import base64
import io
from dataclasses import dataclass, field
from html.parser import HTMLParser

import numpy as np
from PIL import Image

from fcnxs.report.evaluation import Evaluation, Scored
from fcnxs.report.run import Log, RunRecord
from fcnxs.vis import voc_palette


@dataclass
class Table:
    label: str  # of the region around it
    rows: list = field(default_factory=list)


class Parts(HTMLParser):
    """Elements as (tag, attributes); tables as texts; the text of each element by tag."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.tables, self.texts = [], [], {}
        self._label, self._open = "", []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert len(attributes) == len(attrs), f"an attribute twice: {attrs}"
        self.elements.append((tag, attributes))
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")
        if attributes.get("role") == "region":
            self._label = attributes["aria-label"]
        if tag == "table":
            self.tables.append(Table(self._label))
        if tag == "tr":
            self.tables[-1].rows.append([])
        if tag in ("td", "th"):
            self.tables[-1].rows[-1].append("")

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass
        if tag == "table":
            self._label = ""

    def handle_data(self, data):
        if not self._open:
            return
        self.texts[self._open[-1]][-1] += data
        if any(tag in ("td", "th") for tag in self._open):
            self.tables[-1].rows[-1][-1] += data.strip()

    def table(self, label):
        """Rows of the table in the region of that label, its head first."""
        (found,) = [table.rows for table in self.tables if table.label == label]
        return found

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.elements if name in attributes]

    def images(self):
        """Pixels by alt text: the indices of a palette image, else RGB."""
        return {
            attributes["alt"]: pixels(attributes["src"]) for tag, attributes in self.elements if tag == "img"
        }


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def made_up(classes, matrix, examples=(), folder="run"):
    """A run of one epoch, and an evaluation of it."""
    names = ("learning_rate", "train_loss", "val_loss", "pixel_accuracy", "mean_accuracy", "mean_iu")
    record = {"stage": "fcn8s", "epoch": 1, **dict.fromkeys((*names, "frequency_weighted_iu", "seconds"), 0.5)}
    run = RunRecord(folder, {"finished": True}, {"fcn8s": [record]}, Log(), classes, voc_palette())
    iu = np.zeros(max(len(examples), 1))
    return run, Evaluation(len(iu), [Scored("fcn8s", 1, matrix, iu)], list(examples), [], [])
