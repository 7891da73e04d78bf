/** Tables of networks, for people at a terminal. */
import type { Difference, NetworkSummary } from "../discover/results.ts";
import type { SampleSummary } from "../relative/statistics.ts";
import { points, probability } from "../report/stitch.ts";
import type { NetworkReport } from "../report/types.ts";

export const percent = (share: number): string => (100 * share).toFixed(1);

/** mean ± deviation. */
const spread = (summary: SampleSummary | undefined, show: (value: number) => string): string =>
  summary === undefined ? "–" : summary.count > 1 ? `${show(summary.mean)} ± ${show(summary.deviation)}` : show(summary.mean);

/** Cells as lines of equal columns: the first to the left, the others to the right. */
const aligned = (rows: readonly (readonly string[])[]): string[] => {
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  return rows.map((row) =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column])))
      .join("  ")
      .trimEnd(),
  );
};

const percentDifference = (difference: Difference | undefined): string =>
  difference === undefined
    ? ""
    : difference.mean === 0 && difference.detectable === 0
      ? "0"
      : `${points(difference.mean)} (p ${probability(difference.p)}, detectable ${percent(difference.detectable)})`;

const COLUMNS: readonly (readonly [head: string, cell: (summary: NetworkSummary) => string])[] = [
  ["network", ({ network }) => network],
  ["parameters", ({ parameters }) => `${parameters}`],
  ["seeds", ({ seeds }) => `${seeds}`],
  ["held-out %", ({ measures }) => spread(measures.heldOutAccuracy, percent)],
  ["difference", ({ differences }) => percentDifference(differences.heldOutAccuracy)],
  ["recovered", ({ recovered }) => `${recovered ?? ""}`],
  ["agreement %", ({ measures }) => spread(measures.agreement, percent)],
  ["difference", ({ differences }) => percentDifference(differences.agreement)],
  ["own coefficients %", ({ measures }) => spread(measures.own, percent)],
  ["difference", ({ differences }) => percentDifference(differences.own)],
  ["equivariance error", ({ measures }) => spread(measures.equivarianceError, (value) => value.toExponential(1))],
  ["seconds", ({ measures }) => spread(measures.seconds, (value) => value.toFixed(1))],
];

/** Heads, then one row per network: mean ± deviation over seeds, and differences to the first one, paired by seed. Columns that nobody fills are left out. */
export const networkRows = (networks: readonly NetworkSummary[]): string[][] => {
  const filled = COLUMNS.filter(([, cell]) => networks.some((network) => !["", "–"].includes(cell(network))));
  return [filled.map(([head]) => head), ...networks.map((network) => filled.map(([, cell]) => cell(network)))];
};

export const networkTable = (networks: readonly NetworkSummary[]): string[] => aligned(networkRows(networks));

/** What is known of networks whose training is not finished. */
export const comparisonTable = (networks: readonly NetworkReport[]): string[] =>
  aligned([
    ["network", "parameters", "held-out %", "equivariance error"],
    ...networks.map(({ name, parameters, heldOutAccuracy, equivarianceError }) => [
      name,
      `${parameters}`,
      heldOutAccuracy === undefined ? "–" : percent(heldOutAccuracy),
      equivarianceError?.toExponential(1) ?? "–",
    ]),
  ]);
