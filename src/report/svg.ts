/** Every picture of a report as a file of its own. */
import { join } from "node:path";
import escapeHtml from "escape-html";
import { analysisPictures, equivariancePicture } from "./analysis.ts";
import { groupCurves, renderPanel } from "./curves.ts";
import { thin } from "./encode.ts";
import { elementLabel, layerCurves } from "./layer.ts";
import { type Picture, tilesPicture } from "./pictures.ts";
import { PICTURE_STYLE } from "./style.ts";
import type { Curve, DiscoverReport, LayerReport } from "./types.ts";
import { writePage } from "./write.ts";

/** Columns of a picture of training. */
const MOMENTS = 6;
const TITLE = 34;
const EDGE = 12;

/** What a file holds: the picture under its title, light, in need of nothing else. */
export const svgFile = ({ title, width, height, body }: Picture): string => {
  const [w, h] = [Math.max(width, 9.2 * title.length) + 2 * EDGE, height + TITLE + EDGE];
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${Math.ceil(w)}" height="${h}" viewBox="0 0 ${Math.ceil(w)} ${h}">
<title>${escapeHtml(title)}</title><style>${PICTURE_STYLE}</style><rect width="100%" height="100%" fill="#fff"/>
<text class="title" x="${EDGE}" y="22">${escapeHtml(title)}</text><g transform="translate(${EDGE} ${TITLE})">${body.html}</g></svg>
`;
};

/** A stack at some steps of the training, then what was planted. */
const trainingPicture = (layer: LayerReport, labels: readonly string[]): Picture => {
  const { d, planted, result } = layer;
  const snapshots = thin(layer.snapshots, MOMENTS);
  const columns = [...snapshots.map(({ step }) => `step ${step}`), ...(planted ? ["planted"] : [])];
  const size = d > 40 ? 150 : labels.length > 8 ? 64 : 96;
  return tilesPicture(
    "Matrices over training",
    labels,
    columns,
    (i, j) => {
      const shares = new Float32Array(d * d);
      const partner = result.elements[i].planted;
      if (j < snapshots.length) for (let at = 0; at < d * d; at++) shares[at] = Math.sqrt(Math.max(0, snapshots[j].matrices[i * d * d + at]));
      else if (planted && partner !== undefined) for (let n = 0; n < d; n++) shares[n * d + planted.elements[partner][n]] = 1;
      return { shares, h: d, w: d };
    },
    { size },
  );
};

/** Each kernel, a row, has its own range of colours. */
const kernelPicture = ({ kernels }: LayerReport, labels: readonly string[]): Picture | undefined => {
  if (!kernels || kernels.shape[0] === 0) return undefined;
  const { values, shape } = kernels;
  const [o, g, h, w] = shape;
  const tile = (i: number, j: number): Float32Array => values.subarray((i * g + j) * h * w, (i * g + j + 1) * h * w);
  const rows = Array.from({ length: o }, (_, i) => `kernel ${i + 1}`);
  return tilesPicture(
    "Kernels, as each matrix turns them",
    rows,
    labels,
    (i, j) => {
      const most = values.subarray(i * g * h * w, (i + 1) * g * h * w).reduce((largest, value) => Math.max(largest, Math.abs(value)), 0) || 1;
      return { shares: tile(i, j).map((value) => 0.5 + value / most / 2), h, w };
    },
    { size: 64, scale: "r" },
  );
};

const curvePicture = (curves: readonly Curve[]): Picture => renderPanel("", `${curves[0].panel} by training step`, curves).picture;

const layerPictures = (layer: LayerReport): Picture[] => {
  const labels = layer.result.elements.map((element) => elementLabel(layer, element));
  const kernels = kernelPicture(layer, labels);
  const pictures = [
    trainingPicture(layer, labels),
    ...(kernels ? [kernels] : []),
    ...layerCurves(layer).map(curvePicture),
    ...analysisPictures(layer, labels),
  ];
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
