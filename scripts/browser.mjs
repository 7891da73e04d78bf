/** A real browser with WebGPU on a software GPU, and pages for it: what the tests in browsers and `npm run check:browser` share. */
import { existsSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { chromium, firefox, webkit } from "playwright-core";

const NAMES = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/** Which browser: BIRKHOFF_BROWSER=firefox and webkit take the one that Playwright installed, with the machine's own GPU; neither was tried yet. */
const other = { firefox, webkit }[process.env.BIRKHOFF_BROWSER ?? ""];

/** Where Chromium is: BIRKHOFF_CHROMIUM, else on the PATH, else as Playwright installed it; undefined when there is none. */
export const findChromium = () => {
  if (other) return other.executablePath();
  const named = process.env.BIRKHOFF_CHROMIUM;
  if (named) {
    if (!existsSync(named)) throw new Error(`browser: expected a file for BIRKHOFF_CHROMIUM, but received ${named}, which is not there`);
    return named;
  }
  const onPath = (process.env.PATH ?? "").split(delimiter).flatMap((folder) => NAMES.map((name) => join(folder, name)));
  return [...onPath, chromium.executablePath()].find((file) => file && existsSync(file));
};

/** The environment without the software GPU that tests in Node run on: a browser would load that driver in place of its own, and find no adapter. */
const ownEnvironment = () => {
  const { VK_DRIVER_FILES, LD_LIBRARY_PATH, ...rest } = process.env;
  const driver = VK_DRIVER_FILES && dirname(VK_DRIVER_FILES);
  const libraries = LD_LIBRARY_PATH?.split(delimiter).filter((folder) => folder !== driver);
  return libraries?.length ? { ...rest, LD_LIBRARY_PATH: libraries.join(delimiter) } : rest;
};

/** Opens Chromium. Its WebGPU is SwiftShader's, which it brings along, unless BIRKHOFF_BROWSER_GPU=hardware asks for the machine's. */
export const openBrowser = (executablePath) => {
  if (other) return other.launch({ executablePath, ...(other === firefox && { firefoxUserPrefs: { "dom.webgpu.enabled": true } }) });
  return chromium.launch({
    executablePath,
    ...(process.env.BIRKHOFF_BROWSER_GPU !== "hardware" && { env: ownEnvironment() }),
    // The sandbox needs what containers do not grant; pages here are our own.
    chromiumSandbox: false,
    args:
      process.env.BIRKHOFF_BROWSER_GPU === "hardware" ? ["--enable-unsafe-webgpu"] : ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
  });
};
