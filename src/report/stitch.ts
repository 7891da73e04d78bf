/** The report of `birkhoff stitch`: one HTML file that needs nothing else, no script either. */
import type { SampleSummary } from "../relative/statistics.ts";
import { MEASURES, type Measure, meanOf, type RungResult, type StitchResult } from "../stitch/index.ts";
import { percent } from "./format.ts";
import { renderHistogram } from "./histogram.ts";
import { type Html, html, trusted } from "./html.ts";
import { STYLE } from "./style.ts";

export interface StitchReport {
  readonly title: string;
  readonly description: string;
  readonly command: string;
  readonly device: string;
  readonly date: string;
  readonly settings: Readonly<Record<string, string | number | boolean>>;
  readonly result: StitchResult;
  readonly classes: number;
}

const OWN_STYLE = `
.outline{fill-opacity:.14;stroke-width:1.6}.mean{fill:none;stroke-width:1.4;stroke-dasharray:4 4}
${Array.from({ length: 8 }, (_, i) => `path.s${i}.outline{fill:var(--s${i})}`).join("")}
.joined td,.joined thead th{text-align:center;padding:6px 8px}.joined td{font-variant-numeric:tabular-nums;border-top:2px solid var(--card);border-left:2px solid var(--card)}
.joined tbody td{background:color-mix(in srgb,var(--heat2) calc(var(--share)*1%),var(--heat0))}
.joined td.dark{color:var(--paper)}.joined td.own{outline:2px solid var(--accent);outline-offset:-2px}
`;

const spread = ({ mean, deviation, count }: SampleSummary, show: (value: number) => string): string =>
  count > 1 ? `${show(mean)} ± ${show(deviation).replace(" %", "")}` : show(mean);
export const points = (difference: number): string => `${difference < 0 ? "−" : "+"}${Math.abs(100 * difference).toFixed(1)}`;
export const probability = (p: number): string => (p < 0.001 ? "< 0.001" : p.toFixed(3));

const TITLES: Readonly<Record<Measure, string>> = {
  accuracy: "accuracy, %",
  f1: "F1, %",
  mae: "mean absolute error",
  ratio: "accuracy over that of the encoder's own pair",
};
export const shown = (measure: Measure, value: number): string =>
  measure === "mae" || measure === "ratio" ? value.toFixed(2) : (100 * value).toFixed(1);

const table = (rung: RungResult, encoders: readonly string[], measure: Measure, most: number): Html => {
  const cell = (e: number, d: number): Html => {
    const value = meanOf(rung, e, d, measure);
    const share = Math.min(1, value / most);
    return html`<td class="${e === d ? "own" : ""}${share > 0.6 ? " dark" : ""}" style="--share:${(100 * share).toFixed(1)}">${shown(measure, value)}</td>`;
  };
  return html`<div class="scroll"><table class="joined"><thead><tr><td></td>${encoders.map((name) => html`<th>${name}</th>`)}</tr></thead>
<tbody>${encoders.map((name, e) => html`<tr><th>${name}</th>${encoders.map((_, d) => cell(e, d))}</tr>`)}</tbody></table></div>`;
};

/** Errors have no largest value: that of all cells is the darkest. */
const mostOf = (rung: RungResult, encoders: readonly string[], measure: Measure): number =>
  measure === "mae" ? Math.max(1e-9, ...encoders.flatMap((_, e) => encoders.map((__, d) => meanOf(rung, e, d, measure)))) : 1;

const heatMaps = (rung: RungResult, encoders: readonly string[]): Html =>
  html`<article class="card"><header><div><h4>${rung.rung.name}</h4><span class="badge">${rung.rung.help}</span></div></header>
${table(rung, encoders, "accuracy", 1)}<details><summary>F1, error, ratio</summary>${MEASURES.slice(1).map(
    (measure) => html`<p class="small">${TITLES[measure]}</p>${table(rung, encoders, measure, mostOf(rung, encoders, measure))}`,
  )}</details></article>`;

const rows = (results: readonly RungResult[]): readonly Html[] =>
  results.map(({ rung, own, stitched, ratio, against }) => {
    const compared = against
      ? html`<td>${points(against.test.mean)} <small>[${points(against.test.interval[0])}, ${points(against.test.interval[1])}] beside ${against.base}</small></td><td class="n">${probability(against.test.p)}</td><td class="n">${(100 * against.detectable).toFixed(1)}</td>`
      : html`<td>–</td><td class="n">–</td><td class="n">–</td>`;
    return html`<tr><th>${rung.name}</th><td class="n">${spread(own.accuracy, percent)}</td><td class="n">${spread(stitched.accuracy, percent)}</td><td class="n">${(100 * stitched.f1.mean).toFixed(1)}</td><td class="n">${stitched.mae.mean.toFixed(2)}</td><td class="n">${ratio.mean.toFixed(3)}</td>${compared}</tr>`;
  });

const best = (results: readonly RungResult[]): RungResult | undefined =>
  [...results].filter(({ rung }) => rung.projection !== undefined).sort((a, b) => b.stitched.accuracy.mean - a.stitched.accuracy.mean)[0];

/** The whole page as text. */
export const renderStitchReport = (report: StitchReport): string => {
  const { result, classes } = report;
  const { rungs, encoders, seeds } = result;
  const top = best(rungs);
  const headline = top
    ? html`<h1 class="good">${percent(top.stitched.accuracy.mean)} without training</h1><p class="lead">Encoders joined with decoders that were trained with other encoders, by ${top.rung.name} relative representations: ${(100 * top.ratio.mean).toFixed(1)} % of what the encoders reach with their own decoders. Chance is ${percent(1 / classes)}.</p>`
    : html`<h1>Nothing was measured</h1><p class="lead">The run was interrupted before its first seed was done.</p>`;
  const tiles = rungs.map(
    ({ rung, stitched }) => html`<div class="tile" title="${rung.help}"><b>${percent(stitched.accuracy.mean)}</b><span>${rung.name}</span></div>`,
  );
  const histograms = rungs.filter(({ rung, deaths }) => rung.projection !== undefined && deaths.pre.length > 0);
  const page = html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark"><title>${report.title}</title>
<style>${trusted(STYLE)}${trusted(OWN_STYLE)}</style></head>
<body><main>
<header class="hero"><p class="eyebrow">${report.title}</p>${headline}<div class="tiles">${tiles}</div></header>
<section><h2>The ladder</h2><p class="lead">Accuracy of encoders with their own decoders, and of all others joined, over ${seeds} seed${seeds === 1 ? "" : "s"} (mean ± deviation); F1 weighted by class, mean absolute error of the class number, and stitched over own accuracy. Each rung stands beside the one that it differs from by one thing: difference of stitched accuracy in points with its 95 % interval, a paired t-test over seeds, and the least difference that so many seeds find four times out of five.</p>
<div class="block scroll"><table><thead><tr><td></td><th class="n">Own</th><th class="n">Stitched</th><th class="n">F1</th><th class="n">MAE</th><th class="n">Ratio</th><th>Difference</th><th class="n">p</th><th class="n">Detectable</th></tr></thead><tbody>${rows(rungs)}</tbody></table></div></section>
<section><h2>Every encoder with every decoder</h2><p class="lead">Held-out accuracy in per cent: encoders in rows, decoders in columns; framed are pairs that were trained together.</p>
<div class="cards large">${rungs.map((rung) => heatMaps(rung, encoders))}</div></section>
${
  histograms.length > 0
    ? html`<section><h2>Death times</h2><p class="lead">Lengths of the edges of the minimum spanning trees of held-out points, class by class: at which distance the parts of a class become one. Dashes are means.</p><div class="panels">${renderHistogram(
        "Before the projection",
        histograms.map(({ rung, deaths }) => ({ name: rung.name, values: deaths.pre })),
      )}${renderHistogram(
        "After the projection",
        histograms.map(({ rung, deaths }) => ({ name: rung.name, values: deaths.post })),
      )}</div></section>`
    : undefined
}
<section><h2>The task</h2><p class="lead">${report.description}; ${result.trainRows} to train on, ${result.heldOutRows} held out.</p>
<pre><code>${report.command}</code></pre><p class="small">${report.device} · ${report.date}${result.interrupted ? " · interrupted" : ""}</p>
<details><summary>Settings</summary><dl>${Object.entries(report.settings).map(([name, value]) => html`<div><dt>${name}</dt><dd>${String(value)}</dd></div>`)}</dl></details></section>
</main></body></html>
`;
  return page.html;
};
