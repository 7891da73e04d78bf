/** `npm run docs`: the public interface as pages, out of its doc comments, into build/docs; a warning is an error. */
import { register } from "node:module";
import { join } from "node:path";
import { main, root } from "./run.mjs";

// typedoc reads programs with the compiler's JavaScript interface, which ends with TypeScript 6.
const hook = 'export const resolve = (name, context, next) => next(name.replace(/^typescript(?=$|\\/)/, "docs-typescript"), context);';
register(`data:text/javascript,${encodeURIComponent(hook)}`);

await main(import.meta, async () => {
  const { Application } = await import("typedoc");
  const app = await Application.bootstrap({
    name: "birkhoff",
    entryPoints: ["src/index.ts", "src/files.ts", "src/symmetry/index.ts", "src/testing/index.ts"].map((file) => join(root, file)),
    tsconfig: join(root, "tsconfig.build.json"),
    out: join(root, "build/docs"),
    readme: join(root, "README.md"),
    plugin: [],
    excludeInternal: true,
    excludePrivate: true,
    githubPages: false,
    disableSources: true,
    treatWarningsAsErrors: true,
    // Types that a signature mentions and nobody needs by name stay where they are.
    validation: { notExported: false, invalidLink: true, invalidPath: false, notDocumented: false, rewrittenLink: true },
  });
  const project = await app.convert();
  if (!project) return 1;
  app.validate(project);
  await app.generateDocs(project, join(root, "build/docs"));
  const pages = Object.keys(project.reflections).length;
  console.log(`${pages} symbols in build/docs`);
  return app.logger.hasErrors() || app.logger.hasWarnings() ? 1 : 0;
});
