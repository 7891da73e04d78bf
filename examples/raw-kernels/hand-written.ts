/** A WebGPU program with a shader of its own: it makes costs, birkhoff makes assignments of them, in one pass on one device. */
import { prepareKernel, sinkhorn } from "birkhoff";

const COSTS = `
@group(0) @binding(0) var<storage, read> points: array<vec2f>;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;
@compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
  let n = arrayLength(&points) / 2u;
  if (id.x < n * n) { logits[id.x] = -distance(points[id.x / n], points[n + id.x % n]) / 0.05; }
}`;

/** Which of n points each of n others is matched with, softly: [n, n], rows and columns sum to 1. */
export const match = async (device: GPUDevice, from: readonly (readonly [number, number])[], to: readonly (readonly [number, number])[]) => {
  const n = from.length;
  const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
  const kernel = await prepareKernel(device, (z) => sinkhorn(z, { iterations: 50 }), [[n, n]]);
  const points = device.createBuffer({ size: 16 * n, usage: STORAGE | COPY_DST });
  const logits = device.createBuffer({ size: kernel.inputs[0].bytes, usage: STORAGE });
  const P = device.createBuffer({ size: kernel.outputs[0].bytes, usage: STORAGE | COPY_SRC });
  const staging = device.createBuffer({ size: P.size, usage: MAP_READ | COPY_DST });
  const scratch = kernel.createScratch();
  device.queue.writeBuffer(points, 0, Float32Array.from([...from, ...to].flat()));

  const module = device.createShaderModule({ code: COSTS });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
  const entries = [points, logits].map((buffer, binding) => ({ binding, resource: { buffer } }));

  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(Math.ceil((n * n) / 64));
  // No pass ends between the program's own dispatch and these.
  kernel.encode(pass, { inputs: [logits], outputs: [P], scratch });
  pass.end();
  encoder.copyBufferToBuffer(P, 0, staging, 0, P.size);
  device.queue.submit([encoder.finish()]);

  await staging.mapAsync(GPUMapMode.READ);
  const result = new Float32Array(staging.getMappedRange().slice(0));
  for (const buffer of [points, logits, P, staging, ...scratch]) buffer.destroy();
  kernel.destroy();
  return result;
};
