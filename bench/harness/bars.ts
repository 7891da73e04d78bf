/** Bars in groups, as SVG: times to the left, shares of a limit to the right. */
import { scaleLinear, scaleLog } from "d3-scale";
import { type Html, html } from "../../src/report/html.ts";
import type { Picture } from "../../src/report/pictures.ts";

export interface Bar {
  readonly value: number;
  /** Class that colours it. */
  readonly colour: string;
  /** What stands at its end, and what is said where a pointer rests on it. */
  readonly label: string;
  readonly title: string;
}

/** A case: its name, then a bar for each side. */
export interface Group {
  readonly name: string;
  readonly bars: readonly Bar[];
  /** Shares of a limit, 1 all of it, in the rows of their bars. */
  readonly shares: readonly (Bar | undefined)[];
  /** In place of bars. */
  readonly note?: string;
}

const [BAR, NAME, GAP, AXIS, EDGE] = [13, 19, 12, 36, 8];
const WIDTH = 960;
/** Behind the longest bars there is room for their labels. */
const TIMES = { width: 520 };
const SHARES = { left: 690, width: 210 };
/** Times that differ by more cannot be told from nothing on a linear axis. */
const LINEAR = 20;
/** Always on the axis of shares. */
const ALL = 1;

interface Axis {
  readonly at: (value: number) => number;
  readonly ticks: readonly (readonly [at: number, label: string])[];
}

const logAxis = (values: readonly number[], range: [number, number]): Axis => {
  // From a power of ten, so that the shortest bar is still one.
  const least = 10 ** Math.floor(Math.log10(Math.min(...values) / 1.5));
  const scale = scaleLog([least, Math.max(...values)], range);
  const ticks = scale.ticks().filter((tick) => Number.isInteger(Math.round(1e9 * Math.log10(tick)) / 1e9));
  return { at: scale, ticks: ticks.map((tick) => [scale(tick), scale.tickFormat(10, "~g")(tick)]) };
};

const linearAxis = (most: number, range: [number, number], count: number, format?: string): Axis => {
  const scale = scaleLinear([0, most], range);
  return { at: scale, ticks: scale.ticks(count).map((tick) => [scale(tick), scale.tickFormat(count, format)(tick)]) };
};

const drawAxis = ({ ticks }: Axis, height: number): Html =>
  html`${ticks.map(([at, label]) => {
    // The first one would be cut off.
    const anchor = at > 0 ? "mid" : "start";
    return html`<path d="M${at.toFixed(1)} ${AXIS - 4}V${height}"/><text class="${anchor}" x="${at.toFixed(1)}" y="${AXIS - 9}">${label}</text>`;
  })}`;

const drawBar = ({ colour, label, title }: Bar, left: number, end: number, y: number): Html =>
  html`<g><title>${title}</title><rect class="${colour}" x="${left}" y="${y}" width="${Math.max(1, end - left).toFixed(1)}" height="${BAR - 3}" rx="1.5"/><text x="${(end + 6).toFixed(1)}" y="${y + BAR - 4}">${label}</text></g>`;

/** Whether times of these groups need a logarithmic axis. */
export const isLog = (groups: readonly Group[]): boolean => {
  const values = groups.flatMap(({ bars }) => bars.map(({ value }) => value));
  return values.length > 0 && Math.max(...values) > LINEAR * Math.min(...values);
};

/** @param unit of the times, for the axis */
export const barPicture = (title: string, unit: string, groups: readonly Group[]): Picture => {
  const values = groups.flatMap(({ bars }) => bars.map(({ value }) => value));
  const shares = groups.flatMap((group) => group.shares.flatMap((share) => share?.value ?? []));
  const range: [number, number] = [0, TIMES.width];
  const times = values.length === 0 ? linearAxis(1, range, 5) : isLog(groups) ? logAxis(values, range) : linearAxis(Math.max(...values), range, 5);
  const limits = linearAxis(Math.max(ALL, ...shares), [SHARES.left, SHARES.left + SHARES.width], 3, ".0%");
  const rows: Html[] = [];
  let y = AXIS + EDGE;
  for (const { name, bars, shares: used, note } of groups) {
    const lines = Math.max(1, bars.length);
    const top = y + NAME;
    rows.push(html`<text class="name" x="0" y="${y + 13}">${name}</text>${note === undefined ? undefined : html`<text class="refused" x="0" y="${top + BAR - 4}">${note}</text>`}
${bars.map((bar, i) => drawBar(bar, 0, times.at(bar.value), top + BAR * i))}${used.map((bar, i) => bar && drawBar(bar, SHARES.left, limits.at(bar.value), top + BAR * i))}`);
    y = top + BAR * lines + GAP;
  }
  const height = y;
  const full = limits.at(ALL).toFixed(1);
  const body = html`<g class="grid">${drawAxis(times, height)}${shares.length > 0 ? drawAxis(limits, height) : undefined}</g>
<text x="0" y="11">${`${unit}${isLog(groups) ? ", logarithmic" : ""}`}</text>${
    shares.length > 0 ? html`<text x="${SHARES.left}" y="11">share of the limit</text><path class="all" d="M${full} ${AXIS}V${height}"/>` : undefined
  }
${rows}`;
  return { title, width: WIDTH, height, body };
};
