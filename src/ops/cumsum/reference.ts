/** Running sums along one axis, in float64. */
import { elements, type ReferenceRun, type Shape } from "../../op.ts";

export interface CumsumAttrs extends Record<string, number | boolean> {
  /** 0 or more. */
  readonly axis: number;
  /** From the last element to the first: the gradient of the other direction. */
  readonly reverse: boolean;
}

/** The shape seen as [outer, length, inner] with the sums along `length`. */
export const split = (shape: Shape, axis: number): { readonly outer: number; readonly length: number; readonly inner: number } => ({
  outer: elements(shape.slice(0, axis)),
  length: shape[axis],
  inner: elements(shape.slice(axis + 1)),
});

export const cumsum = ({ call, inputs: [x], outputs: [y] }: ReferenceRun<CumsumAttrs>): void => {
  const { axis, reverse } = call.attrs;
  const { outer, length, inner } = split(call.outputs[0].shape, axis);
  for (let a = 0; a < outer; a++) {
    for (let c = 0; c < inner; c++) {
      let total = 0;
      for (let k = 0; k < length; k++) {
        const i = (a * length + (reverse ? length - 1 - k : k)) * inner + c;
        total += x[i];
        y[i] = total;
      }
    }
  }
};
