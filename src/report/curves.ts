/** Curves as SVG, drawn ahead of time; `client.ts` moves the cursor and fills in the values beside the names. */
import { scaleLinear, scaleLog } from "d3-scale";
import { line } from "d3-shape";
import { integer } from "./format.ts";
import { type Html, html } from "./html.ts";
import type { Picture } from "./pictures.ts";
import type { Curve } from "./types.ts";

const WIDTH = 460;
const HEIGHT = 236;
const MARGIN = { top: 10, right: 24, bottom: 30, left: 46 };
const MAX_POINTS = 600;
/** Beyond this many colours nobody tells them apart. */
export const MAX_SERIES = 8;

type Point = readonly [step: number, value: number];

/** What the page's script needs to know of a panel. */
export interface PanelData {
  readonly domain: readonly [number, number];
  readonly range: readonly [number, number];
  readonly share: boolean;
  readonly series: readonly (readonly (readonly [step: number, value: number | null])[])[];
}

/** Long curves keep the smallest and the largest value of each stretch, so that spikes stay visible. */
const thinPoints = (points: readonly Point[]): readonly Point[] => {
  if (points.length <= MAX_POINTS) return points;
  const stretch = Math.ceil((2 * points.length) / MAX_POINTS);
  const kept: Point[] = [];
  for (let start = 0; start < points.length; start += stretch) {
    const part = points.slice(start, start + stretch);
    const low = part.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = part.reduce((a, b) => (b[1] > a[1] ? b : a));
    if (low === high) kept.push(low);
    else kept.push(...(low[0] < high[0] ? [low, high] : [high, low]));
  }
  const last = points[points.length - 1];
  if (kept[kept.length - 1] !== last) kept.push(last);
  return kept;
};

const extent = (values: readonly number[]): [number, number] | undefined =>
  values.length === 0 ? undefined : [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))];

/** The range of the vertical axis: never empty, and positive on a log scale. */
const verticalDomain = (kind: "linear" | "log" | "share", values: readonly number[]): [number, number] => {
  const [low, high] = extent(values) ?? (kind === "log" ? [0.1, 1] : [0, 1]);
  if (kind === "share") return [Math.min(0, low), Math.max(1, high)];
  if (low < high) return [low, high];
  if (kind === "log") return [low / 2, high * 2];
  const room = Math.abs(low) / 2 || 1;
  return [low - room, high + room];
};

/** Curves as a file has them: with the names that the page writes above. */
const legended = (title: string, curves: readonly Curve[], body: Html): Picture => {
  // Two names to a line.
  const lines = Math.ceil(curves.length / 2);
  const top = 8 + 18 * lines;
  const names = curves.map(({ name }, i) => {
    const [left, y] = [MARGIN.left + (i % 2) * 200, 10 + 18 * Math.floor(i / 2)];
    return html`<path class="line s${i % MAX_SERIES}" d="M${left} ${y - 4}h14"/><text x="${left + 20}" y="${y}">${name}</text>`;
  });
  return { title, width: WIDTH, height: HEIGHT + top, body: html`${names}<g transform="translate(0 ${top})">${body}</g>` };
};

/** One panel with all its curves; `id` ties it to its data in the page's script. */
export const renderPanel = (
  id: string,
  title: string,
  curves: readonly Curve[],
): { readonly view: Html; readonly data: PanelData; readonly picture: Picture } => {
  const kind = curves[0].scale ?? "linear";
  const visible = (value: number): boolean => Number.isFinite(value) && (kind !== "log" || value > 0);
  const series = curves.map(({ steps, values }) => thinPoints(Array.from(steps, (step, i): Point => [step, values[i]])));
  const all = series.flat();
  const [start, end] = extent(all.map(([step]) => step)) ?? [0, 1];
  const x = scaleLinear([start, Math.max(end, start + 1)], [MARGIN.left, WIDTH - MARGIN.right]);
  const vertical: [number, number] = [HEIGHT - MARGIN.bottom, MARGIN.top];
  const domain = verticalDomain(kind, all.map(([, value]) => value).filter(visible));
  const y =
    kind === "log" ? scaleLog(domain, vertical).nice() : kind === "share" ? scaleLinear(domain, vertical) : scaleLinear(domain, vertical).nice(4);
  const allTicks = y.ticks(4);
  // A log axis over many decades offers too many ticks; its powers of ten are enough.
  const powers = allTicks.filter((tick) => Number.isInteger(Math.round(1e9 * Math.log10(tick)) / 1e9));
  const yTicks = kind === "log" && allTicks.length > 6 && powers.length > 1 ? powers : allTicks;
  const yFormat = kind === "share" ? y.tickFormat(4, ".0%") : kind === "log" ? y.tickFormat(10, "~g") : y.tickFormat(4);
  const path = line<Point>()
    .defined(([, value]) => visible(value))
    .x(([step]) => x(step))
    .y(([, value]) => y(value))
    .digits(1);
  const body = html`<g class="grid">${yTicks.map((tick) => html`<path d="M${MARGIN.left} ${y(tick).toFixed(1)}H${WIDTH - MARGIN.right}"/>`)}</g>
<g class="ticks end">${yTicks.map((tick) => html`<text x="${MARGIN.left - 8}" y="${(y(tick) + 4).toFixed(1)}">${yFormat(tick)}</text>`)}</g>
<g class="ticks mid">${x
    .ticks(5)
    .filter(Number.isInteger)
    .map((tick) => html`<text x="${x(tick).toFixed(1)}" y="${HEIGHT - 10}">${integer(tick)}</text>`)}</g>
${series.map((points, i) => html`<path class="line s${i % MAX_SERIES}" d="${path([...points]) ?? ""}"/>`)}`;
  const view = html`<figure class="panel" data-panel="${id}">
<figcaption><h3>${title}${kind === "log" ? html` <small>log scale</small>` : undefined}</h3>
<ul class="legend">${curves.map(({ name }, i) => html`<li><i class="s${i % MAX_SERIES}"></i>${name} <output></output></li>`)}</ul></figcaption>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${title} over training steps">
${body}
<path class="cursor" d="M0 ${MARGIN.top}V${HEIGHT - MARGIN.bottom}"/>
</svg></figure>`;
  const [first, last] = x.domain();
  return {
    view,
    picture: legended(title, curves, body),
    data: {
      domain: [first, last],
      range: [MARGIN.left / WIDTH, (WIDTH - MARGIN.right) / WIDTH],
      share: kind === "share",
      series: series.map((points) => points.map(([step, value]) => [step, Number.isFinite(value) ? Number(value.toPrecision(5)) : null])),
    },
  };
};

/** Curves by panel, in order of first mention. */
export const groupCurves = (curves: readonly Curve[]): ReadonlyMap<string, readonly Curve[]> => {
  const panels = new Map<string, Curve[]>();
  for (const curve of curves) panels.set(curve.panel, [...(panels.get(curve.panel) ?? []), curve]);
  return panels;
};
