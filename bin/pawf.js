#!/usr/bin/env node
// `npx pawf` puts the packages' Node first, as npm does for `npm start`. Called in another way, by a link or by its path, this file may run
// on an older one: then it looks for that Node itself. Plain JavaScript, because an old Node has to understand it.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

const nodeMajorMin = 24;
const entry = new URL("../src/cli/pawf.ts", import.meta.url);
if (Number(process.versions.node.split(".")[0]) >= nodeMajorMin) {
  await import(entry.href);
} else {
  const node = fileURLToPath(new URL(`../node_modules/node-${process.platform}-${process.arch}/bin/node`, import.meta.url));
  if (existsSync(node)) {
    const child = spawn(node, [fileURLToPath(entry), ...process.argv.slice(2)], { stdio: "inherit" });
    // A terminal sends Ctrl-C to both of them: the child decides, this process only waits for it.
    process.on("SIGINT", () => undefined);
    process.on("SIGTERM", () => child.kill("SIGTERM"));
    child.on("exit", (code, signal) => process.exit(code ?? 128 + (constants.signals[signal] ?? 0)));
  } else {
    process.stderr.write(`pawf needs Node ${nodeMajorMin} or later, this is ${process.version}; on Linux "npm ci" installs it.\n`);
    process.exit(1);
  }
}
