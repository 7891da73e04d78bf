/** The addon built from the sources in the packed package, installed into an empty project without the one that was built beforehand. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

test("built where it was installed, the native device opens", () => {
  const script = fileURLToPath(new URL("../../scripts/check-install.mjs", import.meta.url));
  const output = execFileSync(process.execPath, [script, "--from-source"], { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
  expect(output).toContain("native addon: built in");
}, 1_800_000);
