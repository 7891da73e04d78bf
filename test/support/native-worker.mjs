/** Starts native-child.ts in a worker, where `--import` does not reach. */
import { tsImport } from "tsx/esm/api";

await tsImport("./native-child.ts", import.meta.url);
