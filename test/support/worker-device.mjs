/** A device in a worker: opens it, computes, closes it, and says what came out. Started with { kind, value }. */
import { parentPort, workerData } from "node:worker_threads";
import { openDevice, sum } from "birkhoff";

const { kind, value } = workerData;
const device = await openDevice({ device: kind });
const answer = await sum(device.full([64], value)).item();
await device.close();
parentPort?.postMessage(answer);
