/** A process that ends in the way its argument names while a webgpu device is at work: `node test/support/webgpu-child.mjs <ending>`. */
import { once } from "node:events";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { add, openDevice } from "birkhoff";
import { create } from "webgpu";

const busy = async () => {
  const device = await openDevice({ device: "webgpu" });
  return { device, y: add(device.tensor([1, 2, 3]), 1) };
};

/** Does `after` to a worker once its device is in the state, and says how the worker ended. */
const inWorker = async (state, after) => {
  const worker = new Worker(new URL(import.meta.url), { workerData: state });
  let error = "";
  worker.on("error", ({ message }) => {
    error = ` ${message}`;
  });
  await once(worker, "message");
  const ended = new Promise((resolve) => worker.once("exit", resolve));
  await after(worker);
  const code = await ended;
  console.log(`worker ${code}${error}`);
};

/** What a worker does with its device before it says so, and how it ends when it is told to. */
const states = {
  idle: ({ y }) => y.read(),
  pending: ({ y }) => void y.read().catch(() => {}),
  closed: async ({ device, y }) => {
    void y.read().catch(() => {});
    // Long enough for pipelines to be under way.
    await new Promise(setImmediate);
    await device.close();
  },
};
const ends = {
  return: () => {},
  throw: () => {
    throw new Error("on purpose");
  },
  rejection: () => void Promise.reject(new Error("on purpose")),
  exit: () => process.exit(4),
};

const read = async (y) => console.log(`read ${(await y.read()).join()}`);

const endings = {
  /** An idle device does not keep the process alive. */
  return: async () => read((await busy()).y),
  /** Work that nobody waits for is dropped. */
  unawaited: async () => void (await busy()),
  /** A pending read keeps the process alive. */
  pending: async () => void read((await busy()).y),
  throw: async () => {
    const { y } = await busy();
    void y.read();
    setTimeout(() => {
      throw new Error("on purpose");
    });
  },
  rejection: async () => {
    const { y } = await busy();
    void y.read();
    void Promise.reject(new Error("on purpose"));
  },
  exit: async () => {
    const { y } = await busy();
    void y.read();
    process.exit(3);
  },
  close: async () => {
    const { device, y } = await busy();
    await read(y);
    await Promise.all([device.close(), device.close()]);
  },
  /** The program's own device, ended behind our back with a read pending. */
  destroy: async () => {
    const gpu = create([]);
    const gpuDevice = await (await gpu.requestAdapter()).requestDevice();
    const device = await openDevice({ gpuDevice });
    const reading = add(device.tensor([1, 2, 3]), 1).read();
    gpuDevice.destroy();
    await reading.catch(({ code }) => console.log(code));
  },
  workerReturn: () => inWorker("pending", (worker) => worker.postMessage("return")),
  workerThrow: () => inWorker("pending", (worker) => worker.postMessage("throw")),
  workerRejection: () => inWorker("pending", (worker) => worker.postMessage("rejection")),
  workerExit: () => inWorker("pending", (worker) => worker.postMessage("exit")),
  /** From outside, which runs nothing in the worker: with work in flight Dawn's binding ends the whole process. */
  terminateIdle: () => inWorker("idle", (worker) => worker.terminate()),
  terminateClosed: () => inWorker("closed", (worker) => worker.terminate()),
  exitWithWorker: () => inWorker("idle", () => process.exit(3)),
  /** Without an addon that can be loaded, which `BIRKHOFF_ADDON` names. */
  addon: async () => {
    await openDevice({ device: "native" }).catch(({ code, message }) => console.log(code, message.split("\n").length, "line"));
    for (const kind of ["reference", "webgpu"]) {
      const device = await openDevice({ device: kind });
      console.log(kind, await add(device.tensor([1]), 1).item());
      await device.close();
    }
    const device = await openDevice();
    console.log(
      device.kind,
      device.rejected.some((reason) => reason.startsWith("native: ")),
    );
  },
};

if (isMainThread) {
  await endings[process.argv[2]]();
} else {
  await states[workerData](await busy());
  parentPort.once("message", (ending) => ends[ending]());
  parentPort.postMessage("ready");
}
