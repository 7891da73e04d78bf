/** Shaders and their layouts as another program gets them: by the package's subpaths, without the rest of it. */
import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { affine } from "birkhoff/shaders/elementwise";
import { expect, test } from "vitest";
import type { Shader } from "../src/op.ts";
import { foreignDevice } from "./support/webgpu.ts";

const { resolve } = createRequire(import.meta.url);
const textOf = (name: string): string => readFileSync(resolve(`birkhoff/shaders/${name}.wgsl`), "utf8");
/** What a compiler sees. */
const code = (text: string): string =>
  text
    .replace(/\/\/.*$/gm, "")
    .replace(/\s+/g, " ")
    .trim();

test("every layout has its text, whole", async () => {
  const rooms = readdirSync(new URL("../shaders", import.meta.url)).filter((name) => name !== "lib");
  let count = 0;
  for (const room of rooms) {
    for (const shader of Object.values((await import(resolve(`birkhoff/shaders/${room}`))) as Record<string, Shader>)) {
      const text = textOf(shader.name);
      expect(code(text), shader.name).toBe(code(shader.source));
      expect(text).not.toContain("//#");
      count++;
    }
  }
  expect(count).toBeGreaterThan(rooms.length);
  expect(textOf("lib/grid")).toContain("fn linear_workgroup");
  expect(() => resolve("birkhoff/shaders/lib")).toThrow();
});

test("a program compiles a text and lays out its parameters by the offsets", async () => {
  const device = await foreignDevice();
  const errors: string[] = [];
  device.addEventListener("uncapturederror", ({ error }) => errors.push(error.message));
  const { params, entries } = affine;
  if (!params) throw new Error("expected a shader with parameters");
  const bytes = new DataView(new ArrayBuffer(params.size));
  for (const [name, value] of Object.entries({ count: 3, scale: -2, shift: 0.5 })) {
    const { offset, type } = params.fields[name];
    if (type === "f32") bytes.setFloat32(offset, value, true);
    else bytes.setUint32(offset, value, true);
  }
  // STORAGE | COPY_SRC | COPY_DST, and UNIFORM | COPY_DST.
  const make = (size: number, usage = 128 | 4 | 8): GPUBuffer => device.createBuffer({ size, usage });
  const buffers: Record<string, GPUBuffer> = { params: make(params.size, 64 | 8), x: make(16), y: make(16) };
  device.queue.writeBuffer(buffers.params, 0, bytes.buffer);
  device.queue.writeBuffer(buffers.x, 0, Float32Array.of(1, 2, 3, 4));
  const module = device.createShaderModule({ code: textOf(affine.name) });
  const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: "main" } });
  const group = device.createBindGroup({
    layout: pipeline.getBindGroupLayout(0),
    entries: entries.main.bindings.map(({ name, binding }) => ({ binding, resource: { buffer: buffers[name] } })),
  });
  const staging = make(16, 1 | 8);
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  pass.setBindGroup(0, group);
  pass.dispatchWorkgroups(1);
  pass.end();
  encoder.copyBufferToBuffer(buffers.y, 0, staging, 0, 16);
  device.queue.submit([encoder.finish()]);
  await staging.mapAsync(1);
  expect([...new Float32Array(staging.getMappedRange())]).toEqual([-1.5, -3.5, -5.5, 0]);
  expect(errors).toEqual([]);
  device.destroy();
});
