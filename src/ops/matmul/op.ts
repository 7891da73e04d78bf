import { apply } from "../../apply.ts";
import { ArgumentError, expected } from "../../errors.ts";
import { defineOp, type Op, showShape } from "../../op.ts";
import { broadcastShapes, MAX_AXES, requireFloat } from "../../shapes.ts";
import type { Tensor } from "../../tensor.ts";
import * as plan from "./plan.ts";
import * as reference from "./reference.ts";
import { type MatmulAttrs, matmulSizes } from "./reference.ts";

export const biasBackward = defineOp({
  name: "matmul.biasBackward",
  outputs: ([{ shape, dtype }]) => [{ shape: shape.slice(-1), dtype }],
  reference: reference.biasBackward,
  plan: plan.biasBackward,
  gradient: { none: "second derivatives are not provided" },
});

/** a and b, and optionally a bias that is added to every row of the result. Its gradients are products of the same kind. */
export const matmul: Op<MatmulAttrs> = defineOp<MatmulAttrs>({
  name: "matmul",
  outputs: ([a, b, bias], attrs) => {
    requireFloat("matmul", bias ? [a, b, bias] : [a, b], ["a", "b", "bias"]);
    for (const [name, { shape }] of [["a", a] as const, ["b", b] as const]) {
      if (shape.length < 2 || shape.length > MAX_AXES + 2) throw expected("matmul", `2 to ${MAX_AXES + 2} axes`, name, showShape(shape));
    }
    const { m, n, k, batch } = matmulSizes(a.shape, b.shape, attrs);
    const inner = b.shape[b.shape.length - (attrs.transposeB ? 1 : 2)];
    if (k !== inner) {
      const [of, and] = [attrs.transposeA ? "transposed " : "", attrs.transposeB ? "transposed " : ""];
      throw new ArgumentError(
        `matmul: expected equal inner sizes for \`a\` and \`b\`, but received ${k} of ${of}${showShape(a.shape)} and ${inner} of ${and}${showShape(b.shape)}`,
      );
    }
    if (showShape(broadcastShapes("matmul", batch, attrs.batch)) !== showShape(batch)) {
      throw expected("matmul", `batch axes that ${showShape(batch)} can be summed to`, "batch", attrs.batch);
    }
    if (bias && (bias.shape.length !== 1 || bias.shape[0] !== n)) throw expected("matmul", `shape [${n}]`, "bias", showShape(bias.shape));
    return [{ shape: [...attrs.batch, m, n], dtype: "float32" }];
  },
  reference: reference.matmul,
  plan: plan.matmul,
  gradient: {
    saves: { inputs: [0, 1] },
    vjp: (ctx) => {
      const { transposeA, transposeB } = ctx.call.attrs;
      const product = (x: Tensor, y: Tensor, flipX: boolean, flipY: boolean, input: number): Tensor =>
        apply(matmul, [x, y], { transposeA: flipX, transposeB: flipY, batch: ctx.call.inputs[input].shape.slice(0, -2) })[0];
      const g = ctx.gradient(0);
      const gradientA = (): Tensor => (transposeA ? product(ctx.input(1), g, transposeB, true, 0) : product(g, ctx.input(1), false, !transposeB, 0));
      const gradientB = (): Tensor => (transposeB ? product(g, ctx.input(0), true, transposeA, 1) : product(ctx.input(0), g, !transposeA, false, 1));
      return [
        ctx.needs(0) ? gradientA() : undefined,
        ctx.needs(1) ? gradientB() : undefined,
        ...(ctx.call.inputs.length > 2 ? [ctx.needs(2) ? apply(biasBackward, [g], {})[0] : undefined] : []),
      ];
    },
  },
});

export const ops: readonly Op[] = [matmul, biasBackward] as readonly Op[];
