/** What a layer's matrices say of a group: which it is and how that was decided, products, mixtures, agreement with the layers before. */
import { cayleyTable } from "../data/permutations.ts";
import type { EquivarianceRow } from "../symmetry/equivariance.ts";
import { number, percent } from "./format.ts";
import { type Html, html } from "./html.ts";
import { figure, gridPicture, type Picture } from "./pictures.ts";
import type { KnownMatch, LayerReport } from "./types.ts";

const brief = (value: number): string => (value < 0.0005 ? "0" : number(Number(value.toFixed(value < 0.1 ? 3 : 2))));

/** Cayley table of the nearest permutations, and how far the products of the matrices themselves are from the set. */
const productPictures = ({ closure, result }: LayerReport, labels: readonly string[]): Picture[] => {
  const { g, errors } = closure;
  const table = cayleyTable(result.elements.map(({ nearest }) => nearest));
  return [
    gridPicture("Cayley table of the nearest permutations, row after column", labels, labels, (i, j) => {
      const k = table[i * g + j];
      return k < 0 ? { share: undefined } : { share: g > 1 ? (0.9 * k) / (g - 1) : 0, text: labels[k] };
    }),
    gridPicture("Relative distance of products from the nearest matrix", labels, labels, (i, j) => ({
      share: errors[i * g + j],
      text: brief(errors[i * g + j]),
    })),
  ];
};

/** Matrices in rows, candidates in columns. */
const coefficientPicture = ({ coefficients }: LayerReport, labels: readonly string[]): Picture | undefined => {
  if (!coefficients) return undefined;
  const G = coefficients.labels.length;
  return gridPicture(`Coefficients on the elements of ${coefficients.name}`, labels, coefficients.labels, (i, k) => {
    const share = coefficients.fit.coefficients[i * G + k];
    return { share, text: brief(share) };
  });
};

/** Of one layer, in the order of the page. */
export const analysisPictures = (layer: LayerReport, labels: readonly string[]): Picture[] => {
  const coefficients = coefficientPicture(layer, labels);
  return [...productPictures(layer, labels), ...(coefficients ? [coefficients] : [])];
};

/** Nearest permutations beside a known group, in one sentence. */
export const relationText = ({ group, symmetries, symmetry, labels, missing, relation }: KnownMatch): string => {
  const known = labels.filter((label) => label !== undefined).length;
  const seen = symmetry > 0 && symmetries ? `, as seen from ${symmetries.labels[symmetry]}` : "";
  const sentence = {
    same: `all elements of ${group.name}, each at its place`,
    inverse: `all elements of ${group.name}, the other way round`,
    relabelled: `all elements of ${group.name}, in another order`,
    partial: `${group.labels.length - missing.length} of the ${group.labels.length} elements of ${group.name}, and nothing else`,
    different: `${known} of ${labels.length} are elements of ${group.name}`,
  }[relation];
  return sentence + seen;
};

const groupFacts = ({ group, match, closure, coefficients, consistency }: LayerReport): readonly (readonly [string, string])[] => {
  const order = group && `${group.order}`;
  return [
    ...(group && order
      ? ([
          ["generated group", group.description],
          [
            "order",
            `${group.exact ? "" : "at least "}${order.length > 15 ? number(Number(order)) : order}${group.abelian ? ", abelian" : ", not abelian"}`,
          ],
          ...(group.elementOrders
            ? [
                [
                  "orders of its elements",
                  group.elementOrders.map((one) => `${one.order}${one.count > 1 ? ` (${one.count}×)` : ""}`).join(", "),
                ] as const,
              ]
            : []),
          ...(group.invariantFactors?.length ? [["invariant factors", group.invariantFactors.join(" | ")] as const] : []),
          ["orbits of positions", counted(group.orbits)],
        ] as const)
      : []),
    [
      "nearest permutations",
      closure.table === undefined ? "are not closed under multiplication" : "are closed under multiplication: they form a group",
    ],
    ...(match ? [["beside a known group", relationText(match)] as const] : []),
    ["closure error", `mean ${number(closure.mean)}, largest ${number(closure.max)}, relative`],
    ...(coefficients
      ? [
          [
            `mixtures of ${coefficients.name}`,
            `distance ${number(Math.min(...coefficients.fit.distances))} to ${number(Math.max(...coefficients.fit.distances))}${coefficients.fit.unique ? "" : "; other coefficients are as near"}`,
          ] as const,
        ]
      : []),
    ...(consistency
      ? [
          ["with the lifting layer", consistency.consistent ? "consistent: every element acts as there" : "not consistent"] as const,
          ["agreement on the pixels", consistency.spaceAgreements.map(percent).join(", ")] as const,
          [
            "agreement on the group axis",
            consistency.groupAgreements.map((share) => (share === undefined ? "–" : percent(share))).join(", "),
          ] as const,
          ["distance from products", consistency.productErrors.map((error) => number(error)).join(", ")] as const,
        ]
      : []),
  ];
};

/** "4 (6×), 1": sizes and how often. */
const counted = (sizes: readonly number[]): string => {
  const counts = new Map<number, number>();
  for (const size of sizes) counts.set(size, (counts.get(size) ?? 0) + 1);
  return Array.from(counts, ([size, count]) => (count > 1 ? `${size} (${count}×)` : `${size}`)).join(", ");
};

export const analysisView = (layer: LayerReport, labels: readonly string[]): Html =>
  html`<div class="block"><h3>The group that the nearest permutations generate</h3>
<dl class="facts">${groupFacts(layer).map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></div>
<div class="block pictures">${analysisPictures(layer, labels).map(figure)}</div>`;

/** Angles in rows; layers, and last the answers, in columns. */
export const equivariancePicture = (rows: readonly EquivarianceRow[], layers: readonly LayerReport[]): Picture => {
  const depth = rows[0].layers.length;
  const names = Array.from({ length: depth }, (_, i) => (layers.length === depth ? layers[i].name : `layer ${i + 1}`));
  return gridPicture(
    "Equivariance errors",
    rows.map(({ degrees, onGroup }) => `${degrees}°${onGroup ? " on the group" : ""}`),
    [...names, "answers"],
    (i, j) => {
      const error = [...rows[i].layers, rows[i].network][j];
      return { share: error, text: number(Number(error.toPrecision(2))) };
    },
  );
};
