/** What Node.js compiled before, types stripped, for threads: see `main.ts`. */
import nodeModule from "node:module";
import path from "node:path";

/** For a thread without the environment of this one that shall use its cache; empty where it has none. */
export function compileCacheVariables(): Record<string, string> {
  // Node.js 20 has no such cache. It tells the folder of its own version, inside of the one that is asked for.
  const folder = nodeModule.getCompileCacheDir?.();
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: path.dirname(folder) };
}

/** To be called when a thread has loaded its modules: one that is ended would leave nothing behind. */
export function keepCompiled(): void {
  nodeModule.flushCompileCache?.();
}
