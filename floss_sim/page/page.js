// Draws the pictures, and connects the sliders to the formula.
"use strict";
const { charts, whatIf: page, words } = JSON.parse(document.getElementById("page-data").textContent);
const byId = (id) => document.getElementById(id), views = {};
const options = { renderer: "svg", actions: false, ast: true, defaultStyle: false };
async function drawAll() {
  for (const [name, spec] of Object.entries(charts)) views[name] = (await vegaEmbed(`#chart-${name}`, spec, options)).view;
}
const ready = drawAll();
