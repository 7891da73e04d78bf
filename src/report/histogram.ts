/** Distributions as outlines, several in one panel. */
import { scaleLinear } from "d3-scale";
import { area, curveMonotoneX } from "d3-shape";
import { MAX_SERIES } from "./curves.ts";
import { type Html, html } from "./html.ts";

const WIDTH = 460;
const HEIGHT = 220;
const MARGIN = { top: 10, right: 16, bottom: 30, left: 16 };
const BINS = 48;

export interface Distribution {
  readonly name: string;
  readonly values: ArrayLike<number>;
}

/** Shares of the values in bins from 0 to `most`. */
const binned = ({ values }: Distribution, most: number): readonly (readonly [middle: number, density: number])[] => {
  const counts = new Float64Array(BINS);
  for (let i = 0; i < values.length; i++) if (values[i] < most) counts[Math.floor((BINS * values[i]) / most)]++;
  return Array.from(counts, (count, bin) => [((bin + 0.5) * most) / BINS, (count * BINS) / (Math.max(1, values.length) * most)]);
};

/** One panel: where the values of each distribution lie, and (dashes) their means. */
export const renderHistogram = (title: string, distributions: readonly Distribution[]): Html => {
  const shown = distributions.slice(0, MAX_SERIES);
  const all = shown.flatMap(({ values }) => Array.from(values)).sort((a, b) => a - b);
  // A few far-off ones would leave no room for the rest.
  const most = Math.max(1e-9, all[Math.floor(0.995 * (all.length - 1))] ?? 1) * 1.05;
  const outlines = shown.map((distribution) => binned(distribution, most));
  const x = scaleLinear([0, most], [MARGIN.left, WIDTH - MARGIN.right]);
  const y = scaleLinear([0, Math.max(...outlines.flat().map(([, density]) => density), 1e-9)], [HEIGHT - MARGIN.bottom, MARGIN.top]);
  const shape = area<readonly [number, number]>()
    .x(([middle]) => x(middle))
    .y0(y(0))
    .y1(([, density]) => y(density))
    .curve(curveMonotoneX);
  const mean = ({ values }: Distribution): number => Array.from(values).reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
  return html`<figure class="panel"><figcaption><h3>${title}</h3><ul class="legend">${shown.map(
    (distribution, i) => html`<li><i class="s${i}"></i>${distribution.name} <output>${mean(distribution).toPrecision(3)}</output></li>`,
  )}</ul></figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title}"><g class="grid">${x
    .ticks(6)
    .map(
      (tick) =>
        html`<path d="M${x(tick)} ${MARGIN.top}V${HEIGHT - MARGIN.bottom}"/><text class="mid" x="${x(tick)}" y="${HEIGHT - 10}">${tick}</text>`,
    )}</g>
${outlines.map((outline, i) => html`<path class="s${i} outline" d="${shape(outline) ?? ""}"/>`)}
${shown.map((distribution, i) => html`<path class="s${i} mean" d="M${x(Math.min(most, mean(distribution)))} ${MARGIN.top}V${HEIGHT - MARGIN.bottom}"/>`)}</svg></figure>`;
};
