# SPDX-License-Identifier: Apache-2.0
"""Drawing SVG text that can be read on a light page and on a dark one."""

from html import escape

__all__ = ["Drawing"]

FONT = "Helvetica, Arial, sans-serif"
# Colors by class: (light page, dark page). `ink` and `soft` are texts, `a`..`d` fills that differ.
COLORS = {
    "page": ("#ffffff", "#0d1117"),
    "ink": ("#1f2328", "#e6edf3"),
    "soft": ("#57606a", "#9198a1"),
    "box": ("#f6f8fa", "#161b22"),
    "room": ("#ddf4ff", "#0c2d4d"),
    "a": ("#54aeff", "#388bfd"),
    "b": ("#fb8f44", "#db6d28"),
    "c": ("#4ac26b", "#2ea043"),
    "d": ("#c297ff", "#8957e5"),
    "none": ("#d0d7de", "#30363d"),
}
LINE = ("#8c959f", "#6e7681")


def _style():
    """Rules of both pages; a shape is filled with its class's color, a line has one of its own."""
    rules = []
    for page in (0, 1):
        fills = " ".join(f".{name}{{fill:{colors[page]}}}" for name, colors in COLORS.items())
        lines = f".line{{stroke:{LINE[page]};fill:none}} .edge{{stroke:{LINE[page]}}}"
        lines += f" .arrow{{fill:{LINE[page]}}}"
        rules.append(f"{fills} {lines}")
    light, dark = rules
    return f"<style>{light} @media (prefers-color-scheme: dark){{{dark}}}</style>"


class Drawing:
    """Shapes in the order in which they are added, on a page of `width` x `height` points.

    about : a comment at the beginning of the file: where the picture comes from
    """

    def __init__(self, width, height, about):
        self.width = width
        self.height = height
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'font-family="{FONT}" font-size="13">',
            f"<!-- {about} -->",
            _style(),
            '<defs><marker id="m" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
            'markerHeight="7" orient="auto-start-reverse"><path class="arrow" '
            'd="M0 0 L8 4 L0 8 z"/></marker></defs>',
            f'<rect class="page" width="{width}" height="{height}"/>',
        ]

    def rect(self, x, y, width, height, kind, edge=False, radius=0):
        """A box filled with the color of class `kind`."""
        classes = f"{kind} edge" if edge else kind
        corner = f' rx="{radius}"' if radius else ""
        self._parts.append(
            f'<rect class="{classes}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" '
            f'height="{_n(height)}"{corner}/>'
        )

    def text(self, x, y, text, kind="ink", anchor="start", size=None, bold=False):
        """A line of text whose baseline begins (or ends, or is centered) at x, y."""
        style = f' font-size="{size}"' if size else ""
        style += ' font-weight="bold"' if bold else ""
        style += f' text-anchor="{anchor}"' if anchor != "start" else ""
        self._parts.append(
            f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}"{style}>{escape(str(text))}</text>'
        )

    def line(self, *points, arrow=False, both=False, dashed=False, width=1.2):
        """A line through the points, with an arrow at its end or at both ends."""
        path = " L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        style = ' marker-end="url(#m)"' if arrow or both else ""
        style += ' marker-start="url(#m)"' if both else ""
        style += ' stroke-dasharray="4 3"' if dashed else ""
        self._parts.append(f'<path class="line" stroke-width="{width}" d="M{path}"{style}/>')

    def __str__(self):
        return "\n".join([*self._parts, "</svg>", ""])


def _n(value):
    """A coordinate with at most two decimals."""
    return f"{value:.2f}".rstrip("0").rstrip(".")
