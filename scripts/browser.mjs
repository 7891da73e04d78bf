/** A real browser with WebGPU on a software GPU, and pages for it: what the tests in browsers and `npm run check:browser` share. */
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
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

/** Opens Chromium. Its WebGPU is SwiftShader's, which it brings along, unless BIRKHOFF_BROWSER_GPU=hardware asks for the machine's. */
export const openBrowser = (executablePath) => {
  if (other) return other.launch({ executablePath, ...(other === firefox && { firefoxUserPrefs: { "dom.webgpu.enabled": true } }) });
  return chromium.launch({
    executablePath,
    // The sandbox needs what containers do not grant; pages here are our own.
    chromiumSandbox: false,
    args:
      process.env.BIRKHOFF_BROWSER_GPU === "hardware" ? ["--enable-unsafe-webgpu"] : ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
  });
};
