/** WebGPU for rivals in Node: the globals of a browser, from the `webgpu` package of this one, with a count of what is asked of them. */
import { createRequire } from "node:module";

/** Wraps a method of a prototype; `before` sees the receiver and its arguments, `after` what it gave as well. */
const wrap = (Type, name, { before, after }) => {
  const original = Type.prototype[name];
  Type.prototype[name] = function (...args) {
    before?.(this, args);
    const result = original.apply(this, args);
    after?.(this, args, result);
    return result;
  };
};

/** Bytes of a binding, none of a uniform buffer. */
const bytesOf = ({ resource }) => {
  const { buffer = resource, offset = 0, size = buffer.size - offset } = resource;
  return buffer.usage & GPUBufferUsage.UNIFORM ? 0 : size;
};

/**
 * Opens WebGPU as `navigator.gpu`. What it gives counts from `reset` on: bytes are those of all buffers bound at a dispatch, uniform buffers
 * left out. The object that holds Dawn must outlive everything made of it, so the module keeps it.
 */
export const openGpu = () => {
  const { create, globals } = createRequire(import.meta.url)("webgpu");
  Object.assign(globalThis, globals);
  globalThis.birkhoffRivalGpu = create([]);
  const navigator = { gpu: globalThis.birkhoffRivalGpu, userAgent: "node", hardwareConcurrency: 2 };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true, writable: true });

  const zero = { dispatches: 0, submits: 0, newBuffers: 0, bytes: 0 };
  const counts = { ...zero };
  const groups = new WeakMap();
  const bound = new WeakMap();
  const dispatched = (pass) => {
    counts.dispatches++;
    for (const bytes of bound.get(pass)?.values() ?? []) counts.bytes += bytes;
  };
  wrap(GPUDevice, "createBuffer", { after: () => counts.newBuffers++ });
  wrap(GPUDevice, "createBindGroup", {
    after: (_, [{ entries }], group) => {
      let bytes = 0;
      for (const entry of entries) bytes += bytesOf(entry);
      groups.set(group, bytes);
    },
  });
  wrap(GPUComputePassEncoder, "setBindGroup", {
    before: (pass, [index, group]) => {
      const all = bound.get(pass) ?? new Map();
      bound.set(pass, all.set(index, groups.get(group) ?? 0));
    },
  });
  wrap(GPUComputePassEncoder, "dispatchWorkgroups", { before: dispatched });
  wrap(GPUComputePassEncoder, "dispatchWorkgroupsIndirect", { before: dispatched });
  wrap(GPUQueue, "submit", { before: () => counts.submits++ });
  return { reset: () => void Object.assign(counts, zero), counts: () => ({ ...counts }) };
};
