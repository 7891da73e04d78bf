import type { DeviceKind } from "./backend.ts";
import { openReference } from "./backends/reference/index.ts";
import { Device } from "./device.ts";
import { expected } from "./errors.ts";
import { add } from "./ops/elementwise/index.ts";
import type { Backend } from "./backend.ts";

/** Wraps any backend, also one of the caller's own, as a device. */
export const deviceOf = (backend: Backend, rejected: readonly string[] = []): Device => new Device(backend, add, rejected);

export interface OpenDeviceOptions {
  readonly device?: DeviceKind;
}

export const openDevice = async ({ device = "reference" }: OpenDeviceOptions = {}): Promise<Device> => {
  if (device !== "reference") throw expected("openDevice", "a known device", "device", device);
  return deviceOf(openReference());
};
