/** TensorFlow.js and birkhoff on one GPU device: its tensor's buffer is read where it lies, and our result becomes a tensor of its. */

import type { WebGPUBackend } from "@tensorflow/tfjs-backend-webgpu";
import * as tf from "@tensorflow/tfjs-core";
import { cumsum, openDevice } from "birkhoff";

/** Running sums along an axis of what TensorFlow.js computed. `navigator.gpu` must be there, in Node too. */
export const runningSquares = async (values: number[][]): Promise<Float32Array> => {
  await import("@tensorflow/tfjs-backend-webgpu");
  // Else small tensors stay on the processor.
  tf.env().set("WEBGPU_CPU_FORWARD", false);
  await tf.setBackend("webgpu");
  const backend = tf.backend() as WebGPUBackend;
  await using device = await openDevice({ gpuDevice: backend.device });

  const squares = tf.square(tf.tensor2d(values));
  // Submits what computes them, and keeps the memory until `tensorRef` is disposed of.
  const theirs = squares.dataToGPU();
  if (!theirs.buffer) throw new Error("expected a tensor on the GPU");
  using x = device.fromBuffer(theirs.buffer, squares.shape);
  using y = cumsum(x, 1);
  // Submits the sums; TensorFlow.js' work comes behind them in the same queue. Its tensor is our memory, so `y` outlives it.
  const { buffer } = y.buffer();
  const ours = tf.tensor({ buffer, zeroCopy: true }, [...y.shape], "float32");
  const result = (await tf.add(ours, 1).data()) as Float32Array;
  for (const tensor of [squares, ours, theirs.tensorRef]) tensor.dispose();
  return result;
};
