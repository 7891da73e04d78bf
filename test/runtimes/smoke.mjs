/**
 * What a runtime must do with the built package: for each device named as an argument, open it, run some ops forward and backward, compare with numbers
 * known beforehand, refuse what is wrong, close. One line of JSON per device. Plain JavaScript over dist, so that it runs in any runtime.
 */
import { AdamW, ArgumentError, conv2d, cumsum, matmul, mean, openDevice, sinkhorn, square, sum, valueAndGrad } from "../../dist/index.js";

const close = (what, got, want) => {
  const off = [...got].findIndex((value, i) => !(Math.abs(value - want[i]) <= 1e-5 * Math.max(1, Math.abs(want[i]))));
  if (got.length !== want.length || off >= 0) throw new Error(`${what}: expected [${want}], but received [${[...got]}]`);
};

const smoke = async (kind) => {
  const device = await openDevice({ device: kind });
  const { description } = device.info;
  try {
    close(
      "matmul",
      await matmul(
        device.tensor([
          [1, 2],
          [3, 4],
        ]),
        device.tensor([
          [5, 6],
          [7, 8],
        ]),
      ).read(),
      [19, 22, 43, 50],
    );
    close("cumsum", await cumsum(device.tensor([1, 2, 3, 4]), 0).read(), [1, 3, 6, 10]);
    close("conv2d", await conv2d(device.ones([1, 1, 3, 3]), device.ones([1, 1, 3, 3]), { padding: 1 }).read(), [4, 6, 4, 6, 9, 6, 4, 6, 4]);
    // [[a, 0], [0, a]] scales to p = e^(a/2) / (e^(a/2) + 1) on the diagonal; d(sum of squares)/da of it by hand.
    const logits = device.tensor([
      [2, 0],
      [0, 2],
    ]);
    logits.requiresGrad = true;
    const p = Math.E ** 2 / (Math.E ** 2 + 1);
    const { value, gradients } = valueAndGrad(() => sum(square(sinkhorn(logits, { iterations: 30 }))), [logits]);
    close("sinkhorn", [await value.item()], [2 * p * p + 2 * (1 - p) * (1 - p)]);
    const slope = 2 * p * (1 - p) * (2 * p - 1);
    close("its gradient", await gradients[0].read(), [slope, -slope, -slope, slope]);
    const w = device.tensor([3]);
    w.requiresGrad = true;
    const optimizer = new AdamW([w], { lr: 0.1, weightDecay: 0 });
    for (let i = 0; i < 3; i++) optimizer.step(valueAndGrad(() => mean(square(w)), [w]).gradients);
    if (!((await w.read())[0] < 2.75)) throw new Error("AdamW: expected a step towards 0");
    let refused = false;
    try {
      matmul(device.ones([2, 3]), device.ones([2, 3]));
    } catch (error) {
      refused = error instanceof ArgumentError;
    }
    if (!refused) throw new Error("matmul: expected an ArgumentError for shapes that do not fit");
  } finally {
    await device.close();
  }
  return description;
};

const kinds = (globalThis.Deno?.args ?? process.argv.slice(2)).filter((argument) => !argument.startsWith("-"));
for (const kind of kinds) {
  try {
    console.log(JSON.stringify({ kind, ok: true, says: await smoke(kind) }));
  } catch (error) {
    console.log(JSON.stringify({ kind, ok: false, says: error.message }));
  }
}
