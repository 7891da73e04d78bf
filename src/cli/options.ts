import type { DeviceKind } from "../backend.ts";
import type { OpenDeviceOptions } from "../open.ts";
import type { Flags } from "./args.ts";

/** The device that `--device` and `--threads` ask for. */
export const openOptions = (flags: Flags): OpenDeviceOptions => {
  const device = flags.text("device") as DeviceKind | undefined;
  const threads = flags.number("threads");
  return { ...(device && { device }), ...(threads !== undefined && { threads }) };
};
