import { expected, StateError } from "./errors.ts";
import { showShape } from "./op.ts";
import { checkFunction, scope } from "./scope.ts";
import { differentiate } from "./tape.ts";
import { checkTensors, type Tensor } from "./tensor.ts";

export interface ValueAndGrad {
  /** The loss, cut off from the tape. */
  readonly value: Tensor;
  /** d(value)/d(parameter), in the order of the parameters. */
  readonly gradients: readonly Tensor[];
}

/**
 * Evaluates a scalar function and its gradient; frees everything else that `fn` made. No `grad` is touched.
 *
 * @param fn synchronous, gives a float32 tensor with one element
 * @param parameters leaves with `requiresGrad`
 * @throws ArgumentError for a parameter that is no leaf with `requiresGrad`, and when `fn` returns a promise or no scalar; StateError
 * for a parameter that the loss does not depend on.
 * @example
 * ```ts
 * const w = device.tensor([1, 2]);
 * w.requiresGrad = true;
 * const { value, gradients } = valueAndGrad(() => sum(mul(w, w)), [w]);
 * await value.item(); // => 5
 * await gradients[0].read(); // => [2, 4]
 * ```
 */
export const valueAndGrad = (fn: () => Tensor, parameters: readonly Tensor[]): ValueAndGrad =>
  scope(() => {
    checkFunction("valueAndGrad", fn);
    checkTensors("valueAndGrad", "parameters", parameters);
    for (const [i, parameter] of parameters.entries()) {
      if (!parameter.requiresGrad || parameter.node)
        throw expected("valueAndGrad", "a leaf tensor with requiresGrad", `parameters[${i}]`, "one without");
    }
    const loss = fn();
    if (typeof loss?.backward !== "function") throw expected("valueAndGrad", "a function that gives a scalar tensor", "fn", loss);
    if (loss.size !== 1) throw expected("valueAndGrad", "a function that gives a tensor with one element", "fn", `shape ${showShape(loss.shape)}`);
    const value = loss.detach();
    const all = differentiate([{ output: loss, cotangent: loss.device.full(loss.shape, 1) }], "valueAndGrad");
    const gradients = parameters.map((parameter, i) => {
      const gradient = all.get(parameter);
      if (!gradient) {
        throw new StateError(
          `valueAndGrad: expected the loss to depend on \`parameters[${i}]\` (shape ${showShape(parameter.shape)}), but no gradient reached it`,
        );
      }
      return gradient;
    });
    return { value, gradients };
  });

/**
 * Frees the accumulated gradients of the tensors: their `grad` is undefined afterwards.
 *
 * @example
 * ```ts
 * const w = device.tensor([1, 2]);
 * w.requiresGrad = true;
 * sum(w).backward();
 * zeroGrad([w]);
 * w.grad; // => undefined
 * ```
 */
export const zeroGrad = (parameters: readonly Tensor[]): void => {
  checkTensors("zeroGrad", "parameters", parameters);
  for (const parameter of parameters) {
    parameter.grad?.dispose();
    parameter.grad = undefined;
  }
};
