/** The report of `birkhoff discover`: one HTML file that needs nothing else. */
import { expected } from "../errors.ts";
import { equivariancePicture } from "./analysis.ts";
import { CLIENT } from "./client.ts";
import { groupCurves, renderPanel } from "./curves.ts";
import { integer, number, percent } from "./format.ts";
import { type Html, html, jsonScript, trusted } from "./html.ts";
import { elementLabel, isFixed } from "./labels.ts";
import { renderLayer } from "./layer.ts";
import { figure } from "./pictures.ts";
import { STYLE } from "./style.ts";
import type { DiscoverReport, LayerReport, NetworkReport } from "./types.ts";
import { writePage } from "./write.ts";

/** The layer that the headline speaks of: the first with something planted. */
const leadLayer = (report: DiscoverReport): LayerReport | undefined => report.layers.find((layer) => layer.planted !== undefined) ?? report.layers[0];

/** Speaks of learned matrices only: a fixed identity is right and certain from the start. */
const headline = (layer: LayerReport | undefined): { readonly state: string; readonly text: string; readonly detail: string } => {
  const learned = layer?.result.elements.filter(({ index }) => !isFixed(layer, index)) ?? [];
  if (layer === undefined || learned.length === 0) return { state: "open", text: "No matrices were learned", detail: "" };
  const certainty = 1 - learned.reduce((sum, element) => sum + element.relativeEntropy, 0) / learned.length;
  const sure = Number.isNaN(certainty) ? "" : `On average a row is ${percent(Math.max(0, certainty))} certain.`;
  if (layer.planted === undefined) {
    return { state: "open", text: "What the matrices became", detail: `Nothing was planted that they could be compared with. ${sure}` };
  }
  const { name } = layer.planted;
  const right = learned.filter((element) => element.correct).length;
  if (layer.result.recovered) {
    const which = learned.length > 8 ? "" : `: ${learned.map((element) => elementLabel(layer, element)).join(", ")}`;
    return {
      state: "good",
      text: `${name} recovered`,
      detail: `All ${learned.length} learned matrices became the planted permutations${which}. ${sure}`,
    };
  }
  const text = right > 0 ? `${name} partly recovered` : `${name} not recovered`;
  return { state: "bad", text, detail: `${right} of ${learned.length} learned matrices became the planted permutations. ${sure}` };
};

const tile = (name: string, value: string, hint: string): Html => html`<div class="tile" title="${hint}"><b>${value}</b><span>${name}</span></div>`;

const hero = (report: DiscoverReport): Html => {
  const layer = leadLayer(report);
  const { state, text, detail } = headline(layer);
  const own = report.comparison.find((network) => network.own);
  const tiles = [
    layer?.planted &&
      tile(
        "row agreement",
        percent(layer.result.meanAgreement),
        "Share of rows whose largest entry is where the planted permutation has its 1, over the learned matrices",
      ),
    layer?.group &&
      (layer.closure.table
        ? tile("group", layer.group.name ?? `order ${number(Number(layer.group.order))}`, "That the nearest permutations of the matrices form")
        : tile("group", "none", "The nearest permutations of the matrices are not closed under multiplication")),
    layer &&
      tile("closure error", number(layer.closure.mean), "Mean relative distance of the product of two matrices to the nearest matrix of the set"),
    own?.heldOutAccuracy !== undefined ? tile("held-out accuracy", percent(own.heldOutAccuracy), "Of the network with learned matrices") : undefined,
    own?.equivarianceError !== undefined
      ? tile("equivariance error", number(own.equivarianceError), "Relative change of the output where it should not change")
      : undefined,
  ];
  return html`<header class="hero"><p class="eyebrow">${report.title}</p>
<h1 class="${state}">${text}</h1><p class="lead">${detail}</p>
<div class="tiles">${tiles.map((part) => part)}</div></header>`;
};

const setup = (
  report: DiscoverReport,
): Html => html`<section><h2>The task</h2><p class="lead"><b>${report.task.name}</b> · ${report.task.description}</p>
<pre><code>${report.command}</code></pre>
<p class="small">${report.device} · ${report.date}</p>
<details><summary>Settings</summary><dl>${Object.entries(report.settings).map(([name, value]) => html`<div><dt>${name}</dt><dd>${String(value)}</dd></div>`)}</dl></details></section>`;

const equivariance = ({ equivariance: rows = [], layers }: DiscoverReport): Html | undefined =>
  rows.length === 0
    ? undefined
    : html`<section><h2>Turning with the input</h2><p class="lead">‖f(ρx) − ρf(x)‖ / ‖f(x)‖ behind each layer and of the answers, for images turned by ρ. Angles off the grid have interpolation's own error in them.</p>
<div class="block">${figure(equivariancePicture(rows, layers))}</div></section>`;

const comparison = (networks: readonly NetworkReport[]): Html | undefined => {
  if (networks.length === 0) return undefined;
  const accuracy = networks.some((network) => network.heldOutAccuracy !== undefined);
  const loss = networks.some((network) => network.heldOutLoss !== undefined);
  return html`<section><h2>Beside other networks</h2><div class="scroll"><table class="comparison">
<thead><tr><th>Network</th><th class="n">Parameters</th>${accuracy ? html`<th>Held-out accuracy</th>` : undefined}${loss ? html`<th class="n">Held-out loss</th>` : undefined}<th class="n">Equivariance error</th></tr></thead>
<tbody>${networks.map(
    (
      network,
    ) => html`<tr${network.own ? trusted(' class="own"') : undefined}><th>${network.name}</th><td class="n">${integer(network.parameters)}</td>
${accuracy ? html`<td>${network.heldOutAccuracy === undefined ? "–" : html`<span class="meter"><b><i style="width:${(100 * network.heldOutAccuracy).toFixed(1)}%"></i></b>${percent(network.heldOutAccuracy)}</span>`}</td>` : undefined}
${loss ? html`<td class="n">${number(network.heldOutLoss)}</td>` : undefined}<td class="n">${number(network.equivarianceError)}</td></tr>`,
  )}</tbody></table></div></section>`;
};

const notes = (lines: readonly string[]): Html | undefined =>
  lines.length === 0 ? undefined : html`<section><h2>Notes</h2><ul class="notes">${lines.map((line) => html`<li>${line}</li>`)}</ul></section>`;

/**
 * The whole page as text: no network, no other files, light and dark by the reader's preference.
 *
 * @throws ArgumentError for a layer without snapshots, and snapshots or kernels whose sizes do not match
 */
export const renderReport = (report: DiscoverReport): string => {
  for (const layer of report.layers) checkLayer(layer);
  const layers = report.layers.map(renderLayer);
  const curves = [...groupCurves(report.curves)].map(([title, members], i) => ({ id: `curve${i}`, ...renderPanel(`curve${i}`, title, members) }));
  const panels = Object.assign({}, Object.fromEntries(curves.map(({ id, data }) => [id, data])), ...layers.map((layer) => layer.panels));
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark"><title>${report.title}</title>
<style>${trusted(STYLE)}</style></head>
<body><main>
${hero(report)}
<noscript><p class="lead">The matrices are drawn by a script in this page; the tables and curves need none.</p></noscript>
${layers.map((layer) => layer.view)}
${curves.length > 0 ? html`<section><h2>Training</h2><div class="panels">${curves.map((panel) => panel.view)}</div></section>` : undefined}
${equivariance(report)}
${comparison(report.comparison)}
${setup(report)}
${notes(report.notes)}
</main>
<div class="player" hidden><button type="button" aria-label="Play training"></button><input type="range" min="0" step="1" aria-label="Training step"><output></output></div>
<div class="tip" hidden></div>
${jsonScript("report-data", { layers: layers.map((layer) => layer.data), panels })}
<script>${trusted(CLIENT)}</script>
</body></html>
`;
  return page.html;
};

const checkLayer = (layer: LayerReport): void => {
  const size = layer.result.elements.length * layer.d ** 2;
  if (layer.snapshots.length === 0) throw expected("renderReport", "at least one snapshot", "layer.snapshots", layer.snapshots);
  const wrong = layer.snapshots.find(({ matrices }) => matrices.length !== size);
  if (wrong) throw expected("renderReport", `${size} values per snapshot`, "layer.snapshots", wrong.matrices.length);
  if (layer.layout && layer.layout[0] * layer.layout[1] !== layer.d)
    throw expected("renderReport", `a layout of ${layer.d} positions`, "layer.layout", layer.layout);
  if (layer.closure.g !== layer.result.elements.length)
    throw expected("renderReport", `a closure of ${layer.result.elements.length} elements`, "layer.closure", layer.closure.g);
  const kernels = layer.kernels;
  if (kernels && (kernels.values.length !== kernels.shape.reduce((a, b) => a * b, 1) || kernels.shape[1] !== layer.result.elements.length)) {
    throw expected("renderReport", `kernels [o, ${layer.result.elements.length}, h, w] with as many values`, "layer.kernels", kernels.shape);
  }
};

/**
 * Renders the page into a file: see `writePage`.
 *
 * @throws FileError when the file cannot be written
 */
export const writeReport = (path: string, report: DiscoverReport): void => writePage(path, renderReport(report));
