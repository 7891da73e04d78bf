/** A process that ends in the way its argument names: `node --import tsx test/support/native-child.ts <ending>`. */
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import type { Backend, Buffer } from "../../src/backend.ts";
import { openNative } from "../../src/backends/native/index.ts";
import { enqueue, slow, upload } from "./native-ops.ts";

const busy = async (milliseconds = 100): Promise<{ backend: Backend; y: Buffer }> => {
  const backend = await openNative({ threads: 2 });
  const x = upload(backend, [1, 2, 3]);
  for (let i = 0; i < 2; i++) enqueue(backend, slow, [x], { milliseconds });
  const [y] = enqueue(backend, slow, [x], { milliseconds });
  return { backend, y };
};

const inWorker = async (after: (worker: Worker) => unknown): Promise<void> => {
  const worker = new Worker(new URL("./native-worker.mjs", import.meta.url));
  await new Promise((resolve) => worker.once("message", resolve));
  await after(worker);
};

const endings: Readonly<Record<string, () => Promise<void>>> = {
  /** An idle device does not keep the process alive. */
  return: async () => {
    const { backend, y } = await busy(1);
    await backend.read(y);
  },
  /** Work that nobody waits for is dropped. */
  unawaited: async () => {
    await busy();
  },
  /** A pending read keeps the process alive. */
  pending: async () => {
    const { backend, y } = await busy();
    void backend.read(y).then((values) => console.log(`read ${values.join()}`));
  },
  throw: async () => {
    const { backend, y } = await busy();
    void backend.read(y);
    setTimeout(() => {
      throw new Error("on purpose");
    }, 5);
  },
  exit: async () => {
    const { backend, y } = await busy();
    void backend.read(y);
    process.exit(3);
  },
  exitLater: async () => {
    const { backend, y } = await busy();
    void backend.read(y);
    setTimeout(() => process.exit(3), 5);
  },
  close: async () => {
    const { backend, y } = await busy();
    const values = backend.read(y);
    await Promise.all([backend.close(), backend.close()]);
    console.log(`read ${(await values).join()}`);
  },
  exitWhileClosing: async () => {
    const { backend } = await busy();
    void backend.close();
    process.exit(3);
  },
  signal: async () => {
    await busy();
    process.kill(process.pid, "SIGINT");
  },
  /** The worker's environment goes down with reads pending and work queued. */
  terminate: () => inWorker((worker) => worker.terminate()),
  workerExit: () => inWorker((worker) => new Promise((resolve) => worker.once("exit", resolve).postMessage("exit"))),
  exitWithWorker: () => inWorker(() => process.exit(3)),
};

if (isMainThread) {
  await endings[process.argv[2]]();
} else {
  const { backend, y } = await busy();
  void backend.read(y);
  parentPort?.on("message", () => process.exit());
  parentPort?.postMessage("busy");
}
