/** Tables of networks, for people at a terminal. */
import type { NetworkSummary } from "../discover/results.ts";
import type { SampleSummary } from "../relative/statistics.ts";
import type { NetworkReport } from "../report/types.ts";

const percent = (share: number): string => (100 * share).toFixed(1);

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

/** One line per network: mean ± deviation over seeds, and the difference in accuracy to the first one, paired by seed. */
export const networkTable = (networks: readonly NetworkSummary[]): string[] => {
  const rows = networks.map(({ network, parameters, seeds, measures, recovered, against }) => [
    network,
    `${parameters}`,
    `${seeds}`,
    spread(measures.heldOutAccuracy, percent),
    against ? `${against.mean < 0 ? "−" : "+"}${percent(Math.abs(against.mean))}` : "",
    against ? against.p.toPrecision(2) : "",
    against ? percent(against.detectable) : "",
    spread(measures.agreement, percent),
    recovered === undefined ? "" : `${recovered}`,
    spread(measures.equivarianceError, (value) => value.toExponential(1)),
    spread(measures.seconds, (value) => value.toFixed(1)),
  ]);
  const heads = [
    "network",
    "parameters",
    "seeds",
    "held-out %",
    "difference",
    "p",
    "detectable",
    "agreement %",
    "recovered",
    "equivariance error",
    "seconds",
  ];
  const all = [heads, ...rows];
  const filled = heads.map((_, column) => rows.some((row) => row[column] !== "" && row[column] !== "–"));
  return aligned(all.map((row) => row.filter((_, column) => filled[column])));
};

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
