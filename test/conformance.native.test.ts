import { openNative } from "../src/backends/native/index.ts";
import { conformance } from "./support/suite.ts";

conformance(() => openNative());
