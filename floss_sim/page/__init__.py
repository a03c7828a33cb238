"""Pages: one HTML file for a plan or for recorded runs, with pictures and sliders.

A page is one file. It asks no network for anything: a Content-Security-Policy forbids it, and
scripts, styles and data stand in the file.

**Drawing library.** Vega-Lite draws the pictures (``library.py`` is the only module that knows
it); ``vl-convert-python``, of the same project, brings its scripts as one bundle. It was chosen
over Bokeh, the other library with resources to inline on the index, for four reasons:

- Size: 0.9 MB in the page, where Bokeh takes 1.27 MB, and 0.38 MB more for its widgets.
- Text: pictures are SVG. Their words are text, print sharply, follow the colours of the page on a
  dark screen, and have ARIA roles. Bokeh draws on a canvas, which a screen reader sees as one box.
- Policy: Vega's interpreter of expressions needs no ``unsafe-eval``, which Bokeh's callbacks need.
- Time: a specification is a dictionary. Nothing is imported to write it, while Bokeh's models take
  half a second to import.

Its price is the installation: 30 MB to download, as the package has a JavaScript engine, which
makes the bundle in about a second.

**Sliders** are the browser's own (``<input type="range">``): arrow keys, page keys, touch and
screen readers work without a script. The library's widgets would need more bytes for less.

**JavaScript of ours** is the formula of ``analysis.round_times`` (``formula.js``) and what connects
it to the sliders (``page.js``), without a build step. All texts are in ``texts.py``.
"""
