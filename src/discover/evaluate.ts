/** Looking at a network or its matrices: nothing is recorded, nothing stays on the device. */
import { noGrad } from "../gradMode.ts";
import type { Module } from "../nn/module.ts";
import type { Shape } from "../op.ts";
import { scope } from "../scope.ts";
import type { Tensor } from "../tensor.ts";

/** The values of what `make` computes. */
export const evaluate = async (make: () => Tensor): Promise<Float32Array> => {
  const tensor = noGrad(() => scope(make));
  const values = (await tensor.read()) as Float32Array;
  tensor.dispose();
  return values;
};

/** A network's output for inputs of the given shape. */
export const respond = (network: Module, inputs: Float32Array, shape: Shape): Promise<Float32Array> =>
  evaluate(() => network.forward(network.parameters()[0].device.tensor(inputs, shape)));
