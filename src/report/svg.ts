/** Every picture of a report as a file of its own. */
import { join } from "node:path";
import escapeHtml from "escape-html";
import { analysisPictures, equivariancePicture } from "./analysis.ts";
import { groupCurves, renderPanel } from "./curves.ts";
import { signedRange, thin, toScale } from "./encode.ts";
import { elementLabels } from "./labels.ts";
import { layerCurves } from "./layer.ts";
import { type Picture, tilesPicture } from "./pictures.ts";
import { PICTURE_STYLE } from "./style.ts";
import type { Curve, DiscoverReport, LayerReport, Snapshot } from "./types.ts";
import { writePage } from "./write.ts";

/** Columns of a picture of training. */
const MOMENTS = 6;
const TITLE = 34;
const EDGE = 12;

/** What a file holds: the picture under its title, light or dark by the reader's preference, in need of nothing else. */
export const svgFile = ({ title, width, height, body }: Picture): string => {
  const [w, h] = [Math.max(width, 9.2 * title.length) + 2 * EDGE, height + TITLE + EDGE];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${Math.ceil(w)}" height="${h}" viewBox="0 0 ${Math.ceil(w)} ${h}">
<title>${escapeHtml(title)}</title><style>${PICTURE_STYLE}</style><rect class="back" width="100%" height="100%"/>
<text class="title" x="${EDGE}" y="22">${escapeHtml(title)}</text><g transform="translate(${EDGE} ${TITLE})">${body.html}</g></svg>
`;
};

export interface TrainingPictureOptions {
  /** Positions in the stack; default all. */
  readonly elements?: readonly number[];
  /** Default: some, evenly chosen. */
  readonly snapshots?: readonly Snapshot[];
}

/** A stack at some steps of the training, then what was planted. */
export const trainingPicture = (
  layer: LayerReport,
  { elements, snapshots = thin(layer.snapshots, MOMENTS) }: TrainingPictureOptions = {},
): Picture => {
  const { d, planted, result } = layer;
  const shown = elements ?? result.elements.map(({ index }) => index);
  const labels = elementLabels(layer);
  const columns = [...snapshots.map(({ step }) => `step ${step}`), ...(planted ? ["planted"] : [])];
  const size = d > 40 ? 150 : shown.length > 8 ? 64 : 96;
  const range = signedRange(snapshots);
  return tilesPicture(
    "Matrices over training",
    shown.map((i) => labels[i]),
    columns,
    (row, j) => {
      const i = shown[row];
      const partner = result.elements[i].planted;
      const matrix = snapshots[j]?.matrices.slice(i * d * d, (i + 1) * d * d) ?? new Float32Array(d * d);
      if (j === snapshots.length && planted && partner !== undefined) for (let n = 0; n < d; n++) matrix[n * d + planted.elements[partner][n]] = 1;
      return { shares: matrix.map((value) => toScale(value, range)), h: d, w: d };
    },
    { size, scale: range === undefined ? "q" : "r" },
  );
};

/** Each kernel, a row, has its own range of colours; undefined where the layer has none to show. */
export const kernelPicture = (layer: LayerReport, most = Number.POSITIVE_INFINITY): Picture | undefined => {
  const { kernels } = layer;
  if (!kernels || kernels.shape[0] === 0) return undefined;
  const { values, shape } = kernels;
  const [o, g, h, w] = shape;
  const tile = (i: number, j: number): Float32Array => values.subarray((i * g + j) * h * w, (i * g + j + 1) * h * w);
  const rows = Array.from({ length: Math.min(o, most) }, (_, i) => `kernel ${i + 1}`);
  return tilesPicture(
    "Kernels, as each matrix turns them",
    rows,
    elementLabels(layer),
    (i, j) => {
      const largest = values.subarray(i * g * h * w, (i + 1) * g * h * w).reduce((so, value) => Math.max(so, Math.abs(value)), 0) || 1;
      return { shares: tile(i, j).map((value) => 0.5 + value / largest / 2), h, w };
    },
    { size: 64, scale: "r" },
  );
};

export const curvePicture = (curves: readonly Curve[]): Picture => renderPanel("", `${curves[0].panel} by training step`, curves).picture;

const layerPictures = (layer: LayerReport): Picture[] => {
  const kernels = kernelPicture(layer);
  const pictures = [trainingPicture(layer), ...(kernels ? [kernels] : []), ...layerCurves(layer).map(curvePicture), ...analysisPictures(layer)];
  return pictures.map((picture) => ({ ...picture, title: `${layer.name} · ${picture.title}` }));
};

/** All pictures in the order of the page. */
export const reportPictures = (report: DiscoverReport): Picture[] => [
  ...report.layers.flatMap(layerPictures),
  ...[...groupCurves(report.curves).values()].map(curvePicture),
  ...(report.equivariance?.length ? [equivariancePicture(report.equivariance, report.layers)] : []),
];

/**
 * Writes every picture of a report into a folder, made as needed: `lifting-cayley-table-….svg` by their titles.
 *
 * @returns the names of the files
 * @throws FileError when one cannot be written
 */
export const writePictures = (folder: string, report: DiscoverReport): string[] =>
  reportPictures(report).map((picture) => {
    const name = `${picture.title
      .split(",")[0]
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, "-")}.svg`;
    writePage(join(folder, name), svgFile(picture));
    return name;
  });
