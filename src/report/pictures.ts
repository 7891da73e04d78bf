/** Pictures of numbers in squares, as SVG: tables with a colour for each cell, and tiles that are images of matrices. */
import { type Html, html } from "./html.ts";
import { LEVELS } from "./style.ts";

export interface Picture {
  /** Words for the file's name, the caption, and readers who do not see it. */
  readonly title: string;
  readonly width: number;
  readonly height: number;
  /** What stands in the SVG element. */
  readonly body: Html;
}

const CHARACTER = 6.6;
const LONGEST = 24;

const short = (label: string): string => (label.length > LONGEST ? `${label.slice(0, LONGEST - 1)}…` : label);

/** Names of rows to the left, of columns on top, turned where they are wider than their column. */
const axes = (
  rows: readonly string[],
  columns: readonly string[],
  [width, height]: readonly [number, number],
): { readonly left: number; readonly top: number; readonly view: Html } => {
  const longest = (labels: readonly string[]): number => CHARACTER * Math.max(0, ...labels.map((label) => short(label).length));
  const left = longest(rows) + 10;
  const turned = longest(columns) > width;
  const top = turned ? longest(columns) + 10 : 22;
  const view = html`${rows.map(
    (label, i) => html`<text class="end name" x="${(left - 8).toFixed(1)}" y="${(top + (i + 0.5) * height + 4).toFixed(1)}">${short(label)}</text>`,
  )}${columns.map((label, j) => {
    const x = left + (j + 0.5) * width;
    return turned
      ? html`<text class="name" transform="translate(${(x + 4).toFixed(1)} ${(top - 6).toFixed(1)}) rotate(-90)">${short(label)}</text>`
      : html`<text class="mid name" x="${x.toFixed(1)}" y="${top - 7}">${short(label)}</text>`;
  })}`;
  return { left, top, view };
};

const levelOf = (share: number): number => Math.round(LEVELS * Math.min(1, Math.max(0, share)));

export interface Cell {
  /** 0 … 1 along the colour scale; undefined: an empty frame. */
  readonly share: number | undefined;
  readonly text?: string;
}

/** A table whose cells are coloured; what they say is left out where it would not fit. */
export const gridPicture = (title: string, rows: readonly string[], columns: readonly string[], cell: (i: number, j: number) => Cell): Picture => {
  const cells = rows.map((_, i) => columns.map((__, j) => cell(i, j)));
  const words = Math.max(0, ...cells.flat().map(({ text = "" }) => text.length));
  const many = Math.max(rows.length, columns.length) > 12;
  const height = many ? 16 : 34;
  // Names of columns stand upright where that makes no cell very wide.
  const named = Math.max(...columns.map(({ length }) => length));
  const width = many ? 16 : Math.max(height, CHARACTER * Math.max(words, named <= 10 ? named : 0) + 12);
  const { left, top, view } = axes(rows, columns, [width, height]);
  const draw = ({ share, text }: Cell, i: number, j: number): Html => {
    const [x, y] = [left + j * width, top + i * height];
    const box = `M${(x + 0.5).toFixed(1)} ${(y + 0.5).toFixed(1)}h${(width - 1).toFixed(1)}v${height - 1}h-${(width - 1).toFixed(1)}z`;
    return html`<path class="${share === undefined ? "none" : `q${levelOf(share)}`}" d="${box}"/>${
      many || text === undefined
        ? undefined
        : html`<text class="mid${(share ?? 0) > 0.5 ? " dark" : " name"}" x="${(x + width / 2).toFixed(1)}" y="${(y + height / 2 + 4).toFixed(1)}">${text}</text>`
    }`;
  };
  return {
    title,
    width: Math.ceil(left + columns.length * width + 2),
    height: Math.ceil(top + rows.length * height + 2),
    body: html`${view}<g class="cells">${cells.map((line, i) => line.map((one, j) => draw(one, i, j)))}</g>`,
  };
};

export interface Tile {
  /** 0 … 1 along the colour scale, row-major. */
  readonly shares: ArrayLike<number>;
  readonly h: number;
  readonly w: number;
}

/** Runs of one colour as one path, strokes through the middles of rows; the colour of the background is left out. */
const tilePaths = ({ shares, h, w }: Tile, scale: "q" | "r"): readonly Html[] => {
  const background = scale === "q" ? 0 : LEVELS / 2;
  const runs = new Map<number, { path: string; x: number; y: number }>();
  for (let row = 0; row < h; row++) {
    for (let from = 0, to = 0; from < w; from = to) {
      const level = levelOf(shares[row * w + from]);
      while (to < w && levelOf(shares[row * w + to]) === level) to++;
      if (level === background) continue;
      const { path, x, y } = runs.get(level) ?? { path: "", x: 0, y: 0 };
      runs.set(level, { path: `${path}m${from - x} ${row - y}h${to - from}`, x: to, y: row });
    }
  }
  return Array.from(runs, ([level, { path }]) => html`<path class="${scale}${level}" d="${path}"/>`);
};

/** Images in rows and columns, all of one size. `scale`: q from nothing to all, r from negative to positive. */
export const tilesPicture = (
  title: string,
  rows: readonly string[],
  columns: readonly string[],
  tile: (i: number, j: number) => Tile,
  { size, scale = "q" }: { readonly size: number; readonly scale?: "q" | "r" },
): Picture => {
  const { h, w } = tile(0, 0);
  const unit = size / Math.max(h, w);
  const [width, height] = [unit * w + 8, unit * h + 8];
  const { left, top, view } = axes(rows, columns, [width, height]);
  return {
    title,
    width: Math.ceil(left + columns.length * width),
    height: Math.ceil(top + rows.length * height),
    body: html`${view}<g class="tiles">${rows.map((_, i) =>
      columns.map((__, j) => {
        const at = `translate(${(left + j * width + 4).toFixed(2)} ${(top + i * height + 4 + unit / 2).toFixed(2)}) scale(${unit.toFixed(4)})`;
        return html`<g transform="${at}"><rect class="${scale}${scale === "q" ? 0 : LEVELS / 2}" y="-.5" width="${w}" height="${h}"/>${tilePaths(tile(i, j), scale)}</g>`;
      }),
    )}</g>`,
  };
};

const GAP = 28;
const HEAD = 26;

/** Pictures in rows of so many, each under its own title. */
export const arranged = (title: string, pictures: readonly Picture[], columns = pictures.length): Picture => {
  const widths = pictures.map((picture) => Math.ceil(Math.max(picture.width, CHARACTER * picture.title.length)));
  const parts: Html[] = [];
  let [right, bottom] = [0, 0];
  for (let first = 0; first < pictures.length; first += columns) {
    let left = 0;
    const row = pictures.slice(first, first + columns);
    for (const [i, picture] of row.entries()) {
      parts.push(
        html`<g transform="translate(${left} ${bottom})"><text class="name" y="14">${picture.title}</text><g transform="translate(0 ${HEAD})">${picture.body}</g></g>`,
      );
      left += widths[first + i] + GAP;
    }
    right = Math.max(right, left - GAP);
    bottom += HEAD + Math.max(...row.map(({ height }) => height)) + GAP;
  }
  return { title, width: right, height: bottom - GAP, body: html`${parts}` };
};

/** A picture in the page. */
export const figure = ({ title, width, height, body }: Picture): Html =>
  html`<figure class="picture"><figcaption>${title}</figcaption><svg width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${title}">${body}</svg></figure>`;
