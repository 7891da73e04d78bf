/** Autograd and lifetimes, on the reference device. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { apply } from "../src/apply.ts";
import type { Device } from "../src/device.ts";
import { ArgumentError, StateError } from "../src/errors.ts";
import { valueAndGrad, zeroGrad } from "../src/grad.ts";
import { noGrad } from "../src/gradMode.ts";
import { defineOp } from "../src/op.ts";
import { openDevice } from "../src/open.ts";
import { add, exp, mul, relu, square } from "../src/ops/elementwise/index.ts";
import { scope } from "../src/scope.ts";
import type { Tensor } from "../src/tensor.ts";

let device: Device;
beforeEach(async () => {
  device = await openDevice({ device: "reference" });
});
afterEach(async () => {
  expect(device.counters.liveBuffers, "buffers left alive").toBe(0);
  await device.close();
});

const leaf = (values: number | number[]): Tensor => {
  const tensor = device.tensor(values);
  tensor.requiresGrad = true;
  return tensor;
};
const gradientOf = async (tensor: Tensor): Promise<number[]> => [...((await tensor.grad?.read()) ?? [])];

describe("backward", () => {
  test("accumulates where a tensor is used more than once, and over calls", async () => {
    const x = leaf(3);
    for (const total of [7, 14]) {
      scope(() => add(square(x), x).backward());
      expect(await gradientOf(x)).toEqual([total]);
    }
    x.dispose();
  });

  test("of x·x, where both inputs are the same tensor", async () => {
    const x = leaf([2, -1]);
    scope(() => mul(x, x).backward(device.tensor([1, 10])));
    expect(await gradientOf(x)).toEqual([4, -20]);
    x.dispose();
  });

  test("walks deep graphs without recursion", async () => {
    const x = leaf(1);
    scope(() => {
      let y = x;
      for (let i = 0; i < 20000; i++) y = add(y, 1e-3);
      y.backward();
    });
    expect(await gradientOf(x)).toEqual([1]);
    x.dispose();
  });

  test("a dropped deep graph is freed without recursion", () => {
    const x = leaf(1);
    scope(() => {
      let y = x;
      for (let i = 0; i < 20000; i++) y = exp(mul(y, 1e-3));
    });
    x.dispose();
  });

  test("runs once", () => {
    const x = leaf(2);
    const y = square(x);
    y.backward();
    expect(() => y.backward()).toThrow(StateError);
    expect(() => y.backward()).toThrow(/already differentiated and freed by an earlier backward/);
    for (const tensor of [x, y]) tensor.dispose();
  });

  test("needs a scalar, or a gradient of the same shape", () => {
    const x = leaf([1, 2]);
    const y = square(x);
    const wrong = device.tensor([1]);
    expect(() => y.backward()).toThrow(/expected a tensor with one element, but received shape \[2\]; pass a gradient/);
    expect(() => y.backward(wrong)).toThrow(/expected a gradient of shape \[2\], but received shape \[1\]/);
    for (const tensor of [x, y, wrong]) tensor.dispose();
  });

  test("says when nothing was recorded", () => {
    const x = device.tensor(2);
    const y = square(x);
    expect(() => y.backward()).toThrow(/expected a result computed from a leaf with requiresGrad/);
    for (const tensor of [x, y]) tensor.dispose();
  });

  test("notices a saved tensor that was changed in place", () => {
    const x = leaf([1, 2]);
    const y = mul(x, x);
    device.write(x, [5, 6]);
    const one = device.ones([2]);
    expect(() => y.backward(one)).toThrow(/changed in place/);
    for (const tensor of [x, y, one]) tensor.dispose();
  });

  test("works after the intermediate results and the inputs were disposed of", async () => {
    const x = leaf(2);
    const h = square(x);
    const y = exp(h);
    h.dispose();
    y.backward();
    expect((await gradientOf(x))[0]).toBeCloseTo(4 * Math.exp(4), 4);
    for (const tensor of [x, y]) tensor.dispose();
  });

  test("a rule of the wrong shape is caught", () => {
    const bad = defineOp({
      name: "test.bad",
      arity: 1,
      attributes: {},
      outputs: ([x]) => [x],
      reference: () => {},
      plan: () => ({ passes: [] }),
      gradient: { saves: {}, vjp: () => [device.zeros([7])] },
    });
    const x = leaf([1, 2]);
    scope(() => {
      const [y] = apply(bad, [x], {});
      expect(() => y.backward(device.ones([2]))).toThrow(/its backward rule gave shape \[7\] for input 0 of shape \[2\]/);
    });
    x.dispose();
  });

  test("an op without gradient refuses inputs that want one, with its reason", () => {
    const hard = defineOp({
      name: "test.hard",
      arity: 1,
      attributes: {},
      outputs: ([x]) => [x],
      reference: () => {},
      plan: () => ({ passes: [] }),
      gradient: { none: "it rounds" },
    });
    const x = leaf([1, 2]);
    expect(() => apply(hard, [x], {})).toThrow(/because it rounds; use detach\(\) or noGrad\(\)/);
    noGrad(() => apply(hard, [x], {})).forEach((tensor) => {
      tensor.dispose();
    });
    x.dispose();
  });
});

describe("what is recorded", () => {
  test("nothing in noGrad, behind detach, or of a frozen parameter", () => {
    const x = leaf(2);
    scope(() => {
      expect(noGrad(() => square(x)).requiresGrad).toBe(false);
      expect(square(x.detach()).requiresGrad).toBe(false);
      x.requiresGrad = false;
      expect(square(x).requiresGrad).toBe(false);
      x.requiresGrad = true;
      expect(square(x).requiresGrad).toBe(true);
    });
    x.dispose();
  });

  test("requiresGrad belongs to float32 leaves", () => {
    const x = leaf(2);
    const y = square(x);
    const labels = device.tensor(Int32Array.of(1));
    expect(() => {
      y.requiresGrad = false;
    }).toThrow(StateError);
    expect(() => {
      labels.requiresGrad = true;
    }).toThrow(ArgumentError);
    for (const tensor of [x, y, labels]) tensor.dispose();
  });

  test("tensors of two devices do not mix", async () => {
    const other = await openDevice({ device: "reference" });
    const [a, b] = [device.tensor(1), other.tensor(1)];
    expect(() => add(a, b)).toThrow(/expected tensors of one device/);
    const x = leaf(2);
    const y = square(x);
    expect(() => y.backward(b)).toThrow(/expected a gradient of the same reference device/);
    expect(() => y.backward(1 as never)).toThrow(/expected a tensor for `gradient`, but received 1/);
    expect(x.grad).toBeUndefined();
    for (const tensor of [a, x, y]) tensor.dispose();
    await other.close();
  });
});

describe("valueAndGrad", () => {
  test("gives value and gradients, touches no grad, frees the rest", async () => {
    const [w, b] = [leaf([1, 2]), leaf(3)];
    const { value, gradients } = valueAndGrad(() => {
      const y = square(add(w, b));
      return mul(apply(sumOf, [y], {})[0], 0.5);
    }, [w, b]);
    expect(await value.item()).toBeCloseTo((16 + 25) / 2, 6);
    expect([...(await gradients[0].read())]).toEqual([4, 5]);
    expect([...(await gradients[1].read())]).toEqual([9]);
    expect(w.grad).toBeUndefined();
    expect(device.counters.liveBuffers).toBe(5);
    for (const tensor of [w, b, value, ...gradients]) tensor.dispose();
  });

  test("names the parameter that no gradient reached", () => {
    const [w, unused] = [leaf(1), leaf(1)];
    expect(() => valueAndGrad(() => square(w), [w, unused])).toThrow(/depend on `parameters\[1\]`/);
    unused.requiresGrad = false;
    expect(() => valueAndGrad(() => square(w), [w, unused])).toThrow(/expected a leaf tensor with requiresGrad for `parameters\[1\]`/);
    for (const tensor of [w, unused]) tensor.dispose();
  });
});

/** Σ x, for these tests alone. */
const sumOf = defineOp({
  name: "test.sum",
  arity: 1,
  attributes: {},
  outputs: () => [{ shape: [], dtype: "float32" as const }],
  reference: ({ inputs: [x], outputs: [y] }) => {
    y[0] = Float64Array.from(x).reduce((a, b) => a + b, 0);
  },
  plan: () => ({ passes: [] }),
  gradient: {
    saves: {},
    vjp: (context) => [mul(device.ones(context.call.inputs[0].shape), context.gradient(0))],
  },
});

describe("scope", () => {
  test("frees what is not returned, and hands the rest to the scope around it", () => {
    scope(() => {
      const { kept } = scope(() => {
        square(device.tensor(1));
        return { kept: [device.tensor(2)] };
      });
      expect(kept[0].disposed).toBe(false);
      expect(device.counters.liveBuffers).toBe(1);
    });
    expect(device.counters.liveBuffers).toBe(0);
  });

  test("frees everything when the function throws", () => {
    expect(() =>
      scope(() => {
        device.tensor(1);
        throw new Error("stop");
      }),
    ).toThrow("stop");
  });

  test.each([
    ["scope", () => scope(async () => device.tensor(1))],
    ["noGrad", () => noGrad(async () => 1)],
    ["valueAndGrad", () => valueAndGrad((async () => device.tensor(1)) as never, [])],
  ])("%s refuses a promise", (_, run) => {
    expect(run).toThrow(ArgumentError);
    // An async callback that already made a tensor in the scope has it freed.
    expect(device.counters.liveBuffers).toBe(0);
  });

  test("gradients outlive the scope they were made in; zeroGrad frees them", () => {
    const x = leaf(1);
    scope(() => relu(x).backward());
    expect(x.grad?.disposed).toBe(false);
    zeroGrad([x]);
    expect(x.grad).toBeUndefined();
    x.dispose();
  });

  test("`using` and double dispose", () => {
    {
      using x = device.tensor(1);
      expect(x.disposed).toBe(false);
    }
    const y = device.tensor(1);
    y.dispose();
    y.dispose();
    expect(() => square(y)).toThrow(/expected a live tensor, but received one of shape \[\] that was disposed/);
  });
});
