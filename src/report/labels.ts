/** What to call the elements of a layer. */
import type { ElementResult } from "../symmetry/elements.ts";
import type { LayerReport } from "./types.ts";

/** Whether an element is the identity by construction. */
export const isFixed = (layer: LayerReport, index: number): boolean => index === 0 && (layer.fixedIdentity ?? true);

/** A learned element: its planted partner's label when it has one. */
export const elementLabel = (layer: LayerReport, { index, planted }: ElementResult): string => {
  if (planted !== undefined && layer.planted !== undefined) return layer.planted.labels[planted];
  return isFixed(layer, index) ? "identity" : `element ${index}`;
};

export const elementLabels = (layer: LayerReport): string[] => layer.result.elements.map((element) => elementLabel(layer, element));
