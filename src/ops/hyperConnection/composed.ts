import { scope } from "../../scope.ts";
import type { Tensor } from "../../tensor.ts";
import { add, div, exp, mul, sub } from "../elementwise/index.ts";
import { matmul } from "../matmul/index.ts";
import { logsumexp, sum } from "../reduce/index.ts";
import { reshape } from "../shape/index.ts";
import { checkOptions, type HyperConnectionOptions } from "./options.ts";

/**
 * The same function from elementary ops, for sides of any size: some 6 T dispatches forward, and every half-iterate is kept for the
 * backward pass. What `hyperConnection` is measured against and tested with.
 */
export const composed = (logits: Tensor, options: HyperConnectionOptions = {}): Tensor => {
  const { iterations, eps, temperature, scale, bias, streams } = checkOptions("hyperConnection", options);
  return scope(() => {
    const normalised = (x: Tensor, axis: -1 | -2): Tensor => div(x, add(sum(x, axis, { keepDims: true }), eps));
    let x = scale ? mul(reshape(scale, scale.shape.length > 0 ? [...scale.shape, 1, 1] : []), logits) : logits;
    if (bias) x = add(x, bias);
    if (temperature !== 1) x = div(x, temperature);
    let p = normalised(add(exp(sub(x, logsumexp(x, -1, { keepDims: true }))), eps), -2);
    for (let t = 1; t < iterations; t++) p = normalised(normalised(p, -1), -2);
    return streams ? matmul(p, streams) : p;
  });
};
