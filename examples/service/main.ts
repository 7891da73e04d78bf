/** Starts the service; README.md lists the options. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { type Device, type DeviceKind, openDevice } from "birkhoff";
import { Engine } from "./engine.ts";
import { train } from "./model.ts";
import { createServer, DEFAULTS, type ServerOptions } from "./server.ts";

const { values } = parseArgs({
  options: {
    port: { type: "string", default: "8080" },
    host: { type: "string", default: "127.0.0.1" },
    device: { type: "string" },
    checkpoint: { type: "string" },
    "memory-limit": { type: "string", default: String(2 ** 28) },
    "max-batch": { type: "string", default: String(DEFAULTS.maxBatch) },
    "max-wait": { type: "string", default: String(DEFAULTS.maxWait) },
    "max-queue": { type: "string", default: String(DEFAULTS.maxQueue) },
    "body-limit": { type: "string", default: String(DEFAULTS.bodyLimit) },
  },
});
const number = (name: "port" | "memory-limit" | "max-batch" | "max-wait" | "max-queue" | "body-limit", least: number): number => {
  const value = Number(values[name]);
  if (values[name].trim() === "" || !Number.isInteger(value) || value < least) {
    console.error(`expected a whole number of at least ${least} for --${name}, but received ${values[name]}`);
    process.exit(2);
  }
  return value;
};
const options: ServerOptions = {
  maxBatch: number("max-batch", 1),
  maxWait: number("max-wait", 0),
  maxQueue: number("max-queue", 1),
  bodyLimit: number("body-limit", 1),
};
const memoryLimit = number("memory-limit", 1);
const open = (): Promise<Device> => openDevice({ memoryLimit, ...(values.device === undefined ? {} : { device: values.device as DeviceKind }) });

const trained = async (): Promise<Uint8Array> => {
  await using device = await open();
  return train(device);
};
const engine = new Engine(open, values.checkpoint === undefined ? await trained() : readFileSync(values.checkpoint));
const app = createServer(engine, options);
const { description } = (await engine.device()).info;
const address = await app.listen({ port: number("port", 0), host: values.host });
console.log(`listening on ${address} with ${description}`);

// No new requests, pending ones are answered, then the device closes; a second signal ends the process at once.
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => {
    void app.close().then(() => console.log("closed"));
  });
}
