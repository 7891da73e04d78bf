/** The part of the page about one layer: its matrices over training, what each became, closure, kernels. */

import { equalPermutations } from "../data/permutations.ts";
import type { ElementResult } from "../symmetry/elements.ts";
import { relativeRowEntropy, rowAgreement, splitStack } from "../symmetry/matrices.ts";
import { analysisView } from "./analysis.ts";
import { MAX_SERIES, renderPanel } from "./curves.ts";
import { encodeKernels, encodeSnapshots, signedRange, thin } from "./encode.ts";
import { cycleType, number, percent } from "./format.ts";
import { type Html, html } from "./html.ts";
import { elementLabel, elementLabels, isFixed } from "./labels.ts";
import type { Curve, LayerReport, Snapshot } from "./types.ts";

const MAX_KERNEL_ROWS = 12;

/** The verdict on the last snapshot; the page's script says "not yet" for earlier ones that disagree. */
const verdict = (layer: LayerReport, element: ElementResult): Html => {
  if (isFixed(layer, element.index)) return html`<span class="badge">fixed</span>`;
  if (element.planted === undefined) return html`<span class="badge">nothing planted</span>`;
  return element.correct ? html`<span class="badge good" data-verdict>✓ found</span>` : html`<span class="badge bad" data-verdict>✗ not found</span>`;
};

/** The nearest permutation in words: a planted element's label, or how it moves the positions. */
const nearestName = (layer: LayerReport, { nearest }: ElementResult): string => {
  const known = layer.planted?.elements.findIndex((element) => equalPermutations(element, nearest)) ?? -1;
  return known >= 0 && layer.planted !== undefined ? layer.planted.labels[known] : cycleType(nearest);
};

/** Per snapshot and element: agreement with the planted partner (else with the final nearest permutation) and certainty. */
const history = (layer: LayerReport, snapshots: readonly Snapshot[]): { readonly agreement: number[][]; readonly certainty: number[][] } => {
  const targets = layer.result.elements.map(({ planted, nearest }) =>
    planted === undefined ? nearest : (layer.planted?.elements[planted] ?? nearest),
  );
  const stacks = snapshots.map(({ matrices }) => splitStack("renderReport", "matrices", matrices, layer.d));
  return {
    agreement: stacks.map((stack) => stack.map((matrix, i) => rowAgreement(matrix, targets[i]))),
    // NaN where a matrix has no entropy.
    certainty: stacks.map((stack) => stack.map((matrix) => Math.min(1, Math.max(0, 1 - relativeRowEntropy(matrix, layer.d))))),
  };
};

/** Curves of a quantity per learned element; of many elements only the mean and the lowest. */
const elementCurves = (layer: LayerReport, panel: string, steps: readonly number[], values: readonly number[][]): Curve[] => {
  const learned = layer.result.elements.filter(({ index }) => !isFixed(layer, index));
  const curve = (name: string, pick: (row: readonly number[]) => number): Curve => ({
    panel,
    name,
    steps,
    values: values.map((row) => pick(learned.map(({ index }) => row[index]))),
    scale: "share",
  });
  if (learned.length > MAX_SERIES) {
    return [curve("mean", (row) => row.reduce((a, b) => a + b, 0) / row.length), curve("lowest", (row) => Math.min(...row))];
  }
  return learned.map((element, i) => curve(elementLabel(layer, element), (row) => row[i]));
};

/** Agreement and certainty over training, a panel each; none where nothing was learned. */
export const layerCurves = (layer: LayerReport): readonly (readonly Curve[])[] => {
  const snapshots = thin(layer.snapshots);
  if (snapshots.length < 2 || layer.result.elements.every(({ index }) => isFixed(layer, index))) return [];
  const steps = snapshots.map(({ step }) => step);
  const { agreement, certainty } = history(layer, snapshots);
  const title = layer.planted ? "Agreement with the planted permutation" : "Agreement with the final permutation";
  const curves = [elementCurves(layer, title, steps, agreement)];
  return signedRange(snapshots) === undefined ? [...curves, elementCurves(layer, "Certainty", steps, certainty)] : curves;
};

const bar = (name: string, key: string, hint: string): Html =>
  html`<div class="bar" data-bar="${key}" title="${hint}"><span>${name}</span><b><i></i></b><output></output></div>`;

const card = (layer: LayerReport, element: ElementResult): Html => {
  const shape = layer.layout !== undefined && Math.min(...layer.layout) === 1 ? "strip" : "probe";
  const probe = html`<canvas class="${shape}" data-probe="${element.index}" title="A test pattern pushed through this matrix"></canvas>`;
  const planted = html`<figure><canvas data-planted="${element.planted}" role="img" aria-label="planted permutation"></canvas><figcaption>planted</figcaption></figure>`;
  const [agreement, hint] =
    element.planted === undefined
      ? ["stability", "Share of rows whose largest entry is where the final nearest permutation has its 1"]
      : ["agreement", "Share of rows whose largest entry is where the planted permutation has its 1"];
  return html`<article class="card" data-element="${element.index}">
<header><div><h4>${elementLabel(layer, element)}</h4>${verdict(layer, element)}</div>${layer.layout && probe}</header>
<div class="pair"><figure><canvas data-learned="${element.index}" role="img" aria-label="learned matrix"></canvas><figcaption>learned</figcaption></figure>${element.planted === undefined ? undefined : planted}</div>
${bar(agreement, "agreement", hint)}
${bar("certainty", "certainty", "1 − row entropy / log d: 0 % is the uniform matrix, 100 % is a permutation")}
</article>`;
};

const resultsTable = (layer: LayerReport): Html => html`<div class="scroll"><table>
<caption>What each matrix became</caption>
<thead><tr><th>Matrix</th><th>Nearest permutation</th><th>Planted?</th><th class="n">Agreement</th><th class="n">Entropy</th><th class="n">of log d</th><th class="n">Distance</th></tr></thead>
<tbody>${layer.result.elements.map(
  (element) => html`<tr><th>${element.index}${isFixed(layer, element.index) ? html` <small>fixed</small>` : undefined}</th>
<td>${nearestName(layer, element)}</td>
<td>${element.planted === undefined ? "–" : element.correct ? html`<span class="good">✓</span> ${elementLabel(layer, element)}` : html`<span class="bad">✗</span> ${elementLabel(layer, element)}`}</td>
<td class="n">${percent(element.agreement)}</td><td class="n">${number(element.entropy)}</td><td class="n">${percent(element.relativeEntropy)}</td><td class="n">${number(element.distance)}</td></tr>`,
)}</tbody></table></div>`;

const kernelsView = (layer: LayerReport): Html | undefined => {
  if (layer.kernels === undefined) return undefined;
  const [o, g, h, w] = layer.kernels.shape;
  const shown = Math.min(o, MAX_KERNEL_ROWS);
  const labels = elementLabels(layer);
  return html`<div class="block"><h3>Learned kernels, as each matrix turns them</h3>
<div class="kernels" style="--g:${g};--cell:${Math.max(64, Math.min(72, 8 * Math.max(h, w)))}px"><div class="heads">${labels.map((label) => html`<span>${label}</span>`)}</div>
<canvas data-kernels role="img" aria-label="${shown} kernels by ${g} elements"></canvas></div>
<p class="small">${shown < o ? `The first ${shown} of ${o} kernels` : `${o} kernels`}, one per row; each row has its own colour range. <span class="scale diverging"></span> negative to positive.</p></div>`;
};

/** What the page's script needs to know of a layer. */
const layerData = (layer: LayerReport, snapshots: readonly Snapshot[], shares: ReturnType<typeof history>): unknown => ({
  d: layer.d,
  g: layer.result.elements.length,
  layout: layer.layout,
  steps: snapshots.map(({ step }) => step),
  range: signedRange(snapshots),
  bytes: encodeSnapshots(snapshots, signedRange(snapshots)),
  planted: layer.planted?.elements.map((element) => Array.from(element)),
  agreement: shares.agreement.map((row) => row.map((value) => Number(value.toFixed(4)))),
  certainty: shares.certainty.map((row) => row.map((value) => Number(value.toFixed(4)))),
  kernels: layer.kernels && {
    bytes: encodeKernels(layer.kernels, MAX_KERNEL_ROWS),
    shape: [Math.min(layer.kernels.shape[0], MAX_KERNEL_ROWS), ...layer.kernels.shape.slice(1)],
  },
});

/** One layer's section, and the data that the page's script draws it from. */
export const renderLayer = (
  layer: LayerReport,
  position: number,
): { readonly view: Html; readonly data: unknown; readonly panels: Readonly<Record<string, unknown>> } => {
  const snapshots = thin(layer.snapshots);
  const shares = history(layer, snapshots);
  const range = signedRange(snapshots);
  const panels = layerCurves(layer).map((curves, i) => ({
    id: `layer${position}.${i}`,
    ...renderPanel(`layer${position}.${i}`, curves[0].panel, curves),
  }));
  const view = html`<section class="layer" data-layer="${position}">
<h2>${layer.name}</h2>
<p class="lead">${layer.description ?? `${layer.result.elements.length} matrices of ${layer.d} × ${layer.d}.`}</p>
<div class="cards${layer.d > 40 ? " large" : ""}">${layer.result.elements.map((element) => card(layer, element))}</div>
<p class="small">Row n shows from which input position output position n takes its value. ${
    range === undefined
      ? html`<span class="scale"></span> 0 to 1, on a square-root scale.`
      : html`<span class="scale diverging"></span> ${number(-range)} to ${number(range)}: these matrices are not stochastic, so that rows have no entropy.`
  }</p>
<div class="panels">${panels.map((panel) => panel.view)}</div>
<div class="block">${resultsTable(layer)}</div>
${analysisView(layer)}
${kernelsView(layer)}
</section>`;
  return { view, data: layerData(layer, snapshots, shares), panels: Object.fromEntries(panels.map(({ id, data }) => [id, data])) };
};
