/** onnxruntime's tensors in and out (onnxruntime-node and -web have the same ones): what a session computed goes through the program's own buffers. */
import { prepareKernel, sinkhorn } from "birkhoff";
import { Tensor } from "onnxruntime-common";

/** Scores of rows for columns, as a session gives them, made into soft assignments: rows sum to 1, columns alike. */
export const assign = async (device: GPUDevice, scores: Tensor): Promise<Tensor> => {
  if (!(scores.data instanceof Float32Array)) throw new Error(`expected scores of float32, but received ${scores.type}`);
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const kernel = await prepareKernel(device, (z) => sinkhorn(z, { iterations: 20 }), [[...scores.dims]]);
  const logits = device.createBuffer({ size: kernel.inputs[0].bytes, usage: STORAGE | COPY_DST });
  const P = device.createBuffer({ size: kernel.outputs[0].bytes, usage: STORAGE | COPY_SRC });
  const staging = device.createBuffer({ size: P.size, usage: MAP_READ | COPY_DST });
  const scratch = kernel.createScratch();

  device.queue.writeBuffer(logits, 0, Float32Array.from(scores.data));
  const encoder = device.createCommandEncoder();
  kernel.encode(encoder, { inputs: [logits], outputs: [P], scratch });
  encoder.copyBufferToBuffer(P, 0, staging, 0, P.size);
  device.queue.submit([encoder.finish()]);

  await staging.mapAsync(GPUMapMode.READ);
  const result = new Tensor("float32", new Float32Array(staging.getMappedRange().slice(0)), scores.dims);
  for (const buffer of [logits, P, staging, ...scratch]) buffer.destroy();
  kernel.destroy();
  return result;
};
