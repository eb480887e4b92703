"""A flame graph as SVG: width is the share of samples, callers below what they call."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from html import escape

_WIDTH, _ROW, _LETTER, _TOP = 1600, 17, 6.6, 30
# Narrower frames could not be seen.
_LEAST_PX = 0.4
_COLOURS = {"kernel": "#f97316", "python": "#60a5fa", "else": "#facc15"}
_PYTHON = ("_Py", "Py", "method_", "call_", "gen_", "dict_", "tuple_", "list_", "object_")


@dataclass
class _Frame:
    samples: int = 0
    children: dict[str, "_Frame"] = field(default_factory=dict)

    @property
    def depth(self) -> int:
        return 1 + max((child.depth for child in self.children.values()), default=0)


def flame_svg(stacks: Mapping[tuple[str, ...], int], title: str) -> str:
    """``stacks`` counts samples by stack, outermost frame first. Names show when pointed at."""
    root = _Frame()
    for stack, samples in stacks.items():
        frame = root
        frame.samples += samples
        for name in stack:
            frame = frame.children.setdefault(name, _Frame())
            frame.samples += samples
    height = _TOP + root.depth * _ROW
    drawn = "\n".join(_drawn(root, "all", 0.0, height - _ROW, _WIDTH / root.samples, root.samples))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}"'
        f' viewBox="0 0 {_WIDTH} {height}" font-family="monospace" font-size="11">\n'
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>\n'
        f'<text x="8" y="18">{escape(title)}: {root.samples} samples</text>\n{drawn}\n</svg>\n'
    )


def _drawn(
    frame: _Frame, name: str, x: float, y: int, px_per_sample: float, total: int
) -> Iterator[str]:
    width = frame.samples * px_per_sample
    if width < _LEAST_PX:
        return
    shown = name[: int((width - 4) / _LETTER)] if width > 3 * _LETTER else ""
    yield (
        f'<g><title>{escape(name)}: {frame.samples / total:.2%}</title><rect x="{x:.1f}" y="{y}"'
        f' width="{width:.1f}" height="{_ROW - 1}" fill="{_colour(name)}" stroke="white"'
        f' stroke-width="0.3"/><text x="{x + 2:.1f}" y="{y + 12}">{escape(shown)}</text></g>'
    )
    for child_name, child in sorted(frame.children.items()):
        yield from _drawn(child, child_name, x, y - _ROW, px_per_sample, total)
        x += child.samples * px_per_sample


def _colour(name: str) -> str:
    if name.endswith("[k]"):
        return _COLOURS["kernel"]
    return _COLOURS["python" if name.startswith(_PYTHON) else "else"]
